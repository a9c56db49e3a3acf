// Package kube decides through a Lease of Kubernetes which pod leads.
//
//	options.go   options and their defaults, each with its reason
//	position.go  how far a pod is; which of two is further
//	verdict.go   may this pod take the Lease? (pure)
//	candidate.go what the verdict is founded on: the other pods, asked directly
//	lease.go     the Lease as client-go's leaderelection sees it
//	fence.go     until when a leader may answer
//	failsafe.go  the other pods stand in for an API server that is away
//	elector.go   runs it all, and puts the engine in its role
//	pods.go      labels, annotations, the other pods
//	watch.go     list and watch of a few objects
//	handover.go  a planned change of the leader
//	message.go   what pods say to each other
//
// client-go's leaderelection renews, observes and expires the Lease. It asks the
// lock of this package for each access, which is where everything else hangs: a
// pod that must not lead is refused the write that would take the Lease, and a
// write that renews it moves the fence.
//
// Invariants:
//
//   - A pod answers as a leader only before the deadline of its fence, which is
//     the start of the last request that renewed the Lease and RenewDeadline;
//     nobody else takes a Lease that is held before LeaseDuration after that.
//     Both are measured on each pod's monotonic clock, which goes on while the
//     process is stopped.
//   - The fence opens only when the Lease names the epoch that this leader has
//     begun. So every leader that has ever answered a write is known by its
//     epoch to whoever is elected after it.
//   - A new leader takes the label from all other pods before it takes it itself.
//
// The package touches the API server and what it is handed.
package kube
