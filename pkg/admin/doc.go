// Package admin answers people and kubelets over HTTP.
//
//	probe.go  the probe listener: /livez, /readyz, /metrics
//	admin.go  the admin listener: /, /status, /debug/pprof/, actions
//	serve.go  an HTTP server with limits, that ends in bounded time
//
// The probe listener is for the cluster's network and gives nothing away. The
// admin listener can dump the heap, so its default address is 127.0.0.1, and
// on a loopback address it answers only requests whose Host is loopback too: a
// web page that has its name point at 127.0.0.1 gets nothing.
//
// Answers are text for people; JSON with "Accept: application/json" or
// "?format=json". /status is always JSON, and so is what an action answers.
//
// Invariants: only GET and HEAD, but for actions, which a web page of another origin
// cannot start; Serve returns after its goroutines.
//
// The package may touch the listeners that it is given, and nothing else.
package admin
