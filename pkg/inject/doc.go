// Package inject puts a sidecar into other people's manifests of a Tile38, and takes
// it out again. It is a function from text to text: no cluster, no disk, no clock.
//
// What is done to a pod, in the manifest of whatever makes it:
//
//   - the sidecar takes the port that the Tile38 had, so Services, by number or by
//     name, and clients need no change; the Tile38 listens on 127.0.0.1 at another one;
//   - its data directory is mounted into the sidecar, if the sidecar may read it;
//   - probes of the port are asked of the sidecar: readiness is the sidecar's own,
//     startup and liveness are passed on to the Tile38 (/enginez);
//   - an annotation keeps what was there, for Restore.
//
// What cannot be understood is refused with what to do about it, never guessed: a pod
// that is not injected goes on as it was, one that is injected wrongly does not start.
// A Tile38 that follows somebody, which no manifest tells, is not promoted
// (--promote=false): its pod does not become ready, so a rollout stops there.
//
// Manifests are read as YAML nodes rather than as types of k8s.io/api: types would
// drop fields that they do not know, comments, order, and write nulls that nobody
// wrote. Documents that are not changed pass byte by byte; in those that are changed
// comments, order and styles stay, blank lines do not. What is written is read again and
// compared with what was meant before anybody gets it. JSON stays JSON.
//
//	options.go   Options, Settings and the annotations that override them
//	stream.go    documents of a stream, kinds, lists
//	nodes.go     YAML nodes: look up, change, aliases, compare
//	encode.go    nodes as YAML and JSON
//	command.go   how a container starts its Tile38
//	shell.go     … through a shell
//	pod.go       the pod
//	sidecar.go   the container that is added
//	probes.go    probes
//	record.go    what was there, and its restoration
//	patch.go     the same for a webhook: JSON patches of pods
//
// May import YAML; nothing of the project.
package inject
