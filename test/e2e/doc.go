// Package e2e tests the real binary, over real sockets, on real files: it
// builds cmd/sidecar once, starts and kills it, cuts its network, fills its
// disk. Everything is on loopback and on free ports.
package e2e
