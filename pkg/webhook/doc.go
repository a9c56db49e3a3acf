// Package webhook is the mutating admission webhook that injects sidecars: it answers
// AdmissionReviews with the patches of pkg/inject, over TLS with a certificate that it
// makes and renews by itself, unless files have one.
//
// It never keeps a pod from being made: whatever it cannot do is a warning in the
// answer and a line in the log.
//
// Certificates are kept in one place (Store, a Secret) that all replicas share. One that
// finds them missing, nearly over or for other names makes new ones and writes them on
// the condition that nobody has written meanwhile; who loses takes what the winner
// wrote. The order is: kept, then trusted (the API server is told the authority), then
// shown; an authority that is replaced stays trusted until it ends, so that there is no
// moment in which a replica shows what is not trusted.
//
//	admit.go   AdmissionReview in, AdmissionReview out
//	serve.go   the HTTPS server
//	certs.go   an authority and what it signs
//	rotate.go  when, and in which order
package webhook
