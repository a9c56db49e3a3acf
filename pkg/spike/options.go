package spike

import (
	"errors"
	"fmt"
	"time"

	"evenkeel/internal/load"
)

// DefaultKey is the collection that is written and dropped.
const DefaultKey = "evenkeel:spike"

// Options say what is measured. Zero fields mean the default.
type Options struct {
	Leader   load.Server
	Follower load.Server // Addr "": the leader alone
	// Key is the collection that is made. Default DefaultKey.
	Key string
	// Points is how many objects are written before, each Rounds times: a log with
	// something to compact. Defaults 100,000 and 3.
	Points, Rounds int
	// Rate is requests a second of each operation. Default 500.
	Rate int
	// Phase is how long is measured before the compaction, and after. Default 20 s.
	Phase time.Duration
	// Limit bounds the compaction and the time until the follower is level.
	// Default 10 minutes.
	Limit time.Duration
	// Keep leaves the collection there at the end.
	Keep bool
	// Progress is told what goes on; total 0: it is not known how long.
	Progress func(stage string, done, total int64)
}

// EnsureDefaults replaces zero fields by their defaults.
func (o *Options) EnsureDefaults() {
	if o.Key == "" {
		o.Key = DefaultKey
	}
	if o.Points == 0 {
		o.Points = 100_000
	}
	if o.Rounds == 0 {
		o.Rounds = 3
	}
	if o.Rate == 0 {
		o.Rate = 500
	}
	if o.Phase == 0 {
		o.Phase = 20 * time.Second
	}
	if o.Limit == 0 {
		o.Limit = 10 * time.Minute
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
}

// Validate lists every fault.
func (o Options) Validate() error {
	var faults []error
	if o.Leader.Addr == "" {
		faults = append(faults, errors.New("no leader"))
	}
	if o.Leader.Addr == o.Follower.Addr {
		faults = append(faults, fmt.Errorf("%s is both leader and follower", o.Leader.Addr))
	}
	const mostPoints, mostRate = 100_000_000, 100_000
	for _, n := range []struct {
		name        string
		value, most int
	}{{"points", o.Points, mostPoints}, {"rounds", o.Rounds, 1000}, {"rate", o.Rate, mostRate}} {
		if n.value < 1 || n.value > n.most {
			faults = append(faults, fmt.Errorf("%s %d: want 1 to %d", n.name, n.value, n.most))
		}
	}
	if o.Phase < time.Second {
		faults = append(faults, fmt.Errorf("phase %s: want 1s or more", o.Phase))
	}
	if o.Limit < time.Second {
		faults = append(faults, fmt.Errorf("limit %s: want 1s or more", o.Limit))
	}
	return errors.Join(faults...)
}
