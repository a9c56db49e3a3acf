// Package tlsfile keeps TLS configurations in step with the files that they are
// made of: certificates are renewed while a server runs.
//
// Files are looked at when a connection begins, at most once a second, through
// symbolic links: a mounted Kubernetes secret is changed by exchanging the link
// "..data". When what is there cannot be used, half a renewal above all, the last
// configuration that could stays in force, and OnError is told.
//
// Invariants:
//
//   - A configuration is made of files that were read together and fit.
//   - What was wrong is told once for each state of the files.
//
// The package touches the files that it is given and the connections it dials.
package tlsfile
