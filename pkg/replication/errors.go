package replication

import "errors"

// errWords says that a message has too few words.
var errWords = errors.New("too few words")

// What can be wrong with the other side. Test with errors.Is; the errors that
// are returned add the place.
var (
	// ErrProtocol says that the peer said something that the protocol does not know.
	ErrProtocol = errors.New("replication protocol error")
	// ErrVersion says that the peer speaks a version that this one does not.
	ErrVersion = errors.New("replication version not supported")
	// ErrCorrupt says that a batch arrived damaged (checksum, framing) or at a wrong offset.
	ErrCorrupt = errors.New("replication stream corrupt")
	// ErrTooLarge says that a batch is longer than BatchReader's limit.
	ErrTooLarge = errors.New("replication batch too large")
	// ErrRefused says that the leader answered with an error.
	ErrRefused = errors.New("the leader refused")
	// ErrNotEvenkeel says that the leader does not know REPLICATE.
	ErrNotEvenkeel = errors.New("the leader is not an Evenkeel (it does not know REPLICATE)")
	// ErrSelf says that leader and follower are the same server.
	ErrSelf = errors.New("a server cannot follow itself")
)
