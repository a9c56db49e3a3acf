// Package local looks after the Tile38 in the same pod: asks it every second what
// it is and has, and keeps it in the role that it is meant to have.
//
// Invariants:
//
//   - What State says is an answer of the server, or that there is none.
//   - FOLLOW is sent only when the server follows somebody else than it should.
//   - A server that does not answer holds up nobody but Run.
//
// The package touches one connection that it dials.
package local
