package main

import "evenkeel/internal/load"

// collectionName is where all objects go.
const collectionName = "fleet"

func operations() []load.Op {
	var all []load.Op
	for _, op := range []func(string) load.Op{load.Set, load.Get, load.Nearby, load.Within, load.Intersects} {
		all = append(all, op(collectionName))
	}
	return all
}

// filling is how the collection is loaded.
func (o options) filling() load.Filling {
	return load.Filling{Key: collectionName, Points: o.points, Rounds: o.rounds, Conns: o.conns, Pipeline: o.pipeline}
}

// closed is how throughput is measured.
func (o options) closed(what load.Op, inFlight int) load.Closed {
	return load.Closed{Op: what, Points: o.points, Conns: o.conns, InFlight: inFlight, Duration: o.duration}
}
