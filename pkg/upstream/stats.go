package upstream

import "sync/atomic"

// Stats are counters since the Backend was made, except Links and Guests.
type Stats struct {
	Links          int64 `json:"connections"`      // connections to engines now
	Dials          int64 `json:"dialled"`          // connections to engines that were made
	DialFailures   int64 `json:"dial_failures"`    // attempts that failed
	Refused        int64 `json:"commands_refused"` // commands answered with an error because no engine could be reached
	Lost           int64 `json:"connections_lost"` // connections that the network broke, or an engine ended without a reason
	LostCommands   int64 `json:"commands_lost"`    // commands that were under way on those whose engine was gone
	Kept           int64 `json:"clients_kept"`     // connections of clients that outlived the loss of their engine
	Opaque         int64 `json:"opaque"`           // connections whose bytes just pass, whatever the reason
	Forwarded      int64 `json:"forwarded_writes"` // writes sent to the leader
	LeaderReads    int64 `json:"leader_reads"`     // reads sent to the leader
	OwnWriteWaits  int64 `json:"own_write_waits"`  // reads that waited for a write of their connection
	OwnWriteMisses int64 `json:"own_write_misses"` // those that waited in vain, and went to the leader
	Guests         int64 `json:"shared_clients"`   // clients on shared connections now
	Moved          int64 `json:"searches_moved"`   // searches that were taken off shared connections, behind one that takes long
	Slow           int64 `json:"slow_clients"`     // clients on shared connections that were disconnected because they did not take their replies
}

type counters struct {
	links, dials, dialFailures, refused, lost, lostCommands, kept, opaque      atomic.Int64
	forwarded, leaderReads, ownWriteWaits, ownWriteMisses, guests, slow, moved atomic.Int64
}

// Stats returns the counters now.
func (b *Backend) Stats() Stats {
	n := &b.count
	return Stats{
		Links: n.links.Load(), Dials: n.dials.Load(), DialFailures: n.dialFailures.Load(), Refused: n.refused.Load(),
		Lost: n.lost.Load(), LostCommands: n.lostCommands.Load(), Kept: n.kept.Load(), Opaque: n.opaque.Load(),
		Forwarded: n.forwarded.Load(), LeaderReads: n.leaderReads.Load(),
		Guests: n.guests.Load(), Moved: n.moved.Load(), Slow: n.slow.Load(),
		OwnWriteWaits: n.ownWriteWaits.Load(), OwnWriteMisses: n.ownWriteMisses.Load(),
	}
}
