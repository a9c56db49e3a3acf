// Package kubeapi plays the API server of a Kubernetes cluster, for tests of what
// speaks to it through client-go: leases, pods (and pods/status), stateful sets, secrets
// and the configurations of mutating webhooks, over real TLS and HTTP/2 on 127.0.0.1. client-go's own fake checks no resource
// version; this server does what the true one does:
//
//   - one revision counts the writes to all objects; a write that changes nothing
//     makes no revision and no event;
//   - create: 409 AlreadyExists; update: 409 Conflict on another resourceVersion or
//     uid; a lease is made by an update, but never updated without a resourceVersion;
//   - patch: JSON patch with tests, merge patch, strategic merge patch by the types'
//     own rules; a resourceVersion in the patch is a condition;
//   - watch: from nothing or "0" the state first, from a revision what came after it;
//     an object that no longer matches the selector is DELETED, one that begins to is
//     ADDED; 410 Expired, as an event, when the history is gone; bookmarks; lists as a
//     stream (sendInitialEvents);
//   - a pod's status changes through pods/status alone, its spec hardly; a pod that has
//     a node is deleted in two steps, and gone when it is deleted with no grace;
//   - errors are metav1.Status with the true reasons.
//
// Each user has a port and connections of its own, so that one of them can be cut
// off, refused, delayed or failed while the others go on.
//
// Not played: namespaces as objects (any name is one), authorization, admission,
// finalizers, server-side apply, pages of lists, controllers and nodes: a pod is what a
// test makes of it (AddPod).
//
//	server.go   Start, users, what a test sees and breaks
//	network.go  connections that hang, are reset and refused
//	route.go    paths, verbs and answers
//	store.go    objects, revisions, writes
//	watch.go    the history, and streams of it
//	patch.go    the three patches
//	kinds.go    what is particular to each kind
//
// With EVENKEEL_KUBECONFIG naming the kubeconfig of a cluster, the tests of objects
// and watches run on its API server as well.
//
// It is imported by tests only.
package kubeapi
