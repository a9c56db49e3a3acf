// Package store is the only writer of the engine and of the log. The way of a
// write:
//
//	command.Early        large operands are read
//	lock
//	  log.Begin          may the log be written? which time has the batch?
//	  engine.Prepare     check the command, record the change      ┐
//	  log.Add            the command as it was sent, to memory     │ per command
//	  engine.Apply       carry the change out                      │
//	  engine.Match       fences tell what they have to say         ┘
//	  log.End            the batch ends in this state digest
//	unlock
//	log.Commit           group commit: write (and sync) what all have added,
//	  events.Commit      after the messages of webhooks that belong to it
//	reply
//
// A read runs under the read lock for at most ReadSlice; a longer one is begun
// again on a snapshot, outside the lock, so that one slow search does not hold
// up the writers.
//
// Files:
//
//	store.go     opening
//	replay.go    from the log to the state
//	write.go     the path above
//	atomic.go    the same for several commands of a script
//	fences.go    what fences have to say, PUBLISH
//	read.go      reads, snapshots
//	expire.go    objects whose time is over: the leader deletes them, as DEL
//	compact.go   a snapshot becomes the new base of the log
//	pace.go      background work keeps to a share of a processor
//	follow.go    what a follower does with batches of its leader, and with its base
//	ranges.go    a snapshot in ranges, for a follower that has most of it
//	resync.go    such a follower takes what differs
//	offline.go   the state that batches lead to, for tools
//	stock.go     what it does with commands of a Tile38
//
// Lock order: Store.files, Store.mu, then the locks inside the log. Nothing is written to
// disk and nothing waits while Store.mu is held.
package store
