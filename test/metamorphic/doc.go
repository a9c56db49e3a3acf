// Package metamorphic carries out the same random commands twice: once on a
// plain pod, and once with random options while the pod compacts, restarts, dies
// and is followed over a network that is cut. Every answer and every dump must be
// the same.
//
//	go test ./test/metamorphic                            some hundred seeds
//	go test ./test/metamorphic -metamorphic.seeds 20000   more
//	go test ./test/metamorphic -metamorphic.first 77 -metamorphic.seeds 1
package metamorphic
