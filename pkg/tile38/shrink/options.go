package shrink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/tile38"
)

// DefaultKey is the reserved collection, which is in no count.
//
// Collections stand in a dump in the order of their names. A follower that a
// second rewrite is to mend must find the first 512 KiB of the file as they were, so
// what is written every second must stand behind everything else: a name that
// begins with ~ does.
const DefaultKey = tile38.DefaultHeartbeatKey

// TargetOptions say which engine is compacted.
type TargetOptions struct {
	Engine tile38.Options
	// FS and Dir are where the engine keeps appendonly.aof, when it is shared. Dir ""
	// leaves free space unknown, and the size to what the engine says.
	FS  fsx.FS
	Dir string
	// State is the file that remembers the last rewrite; "" keeps it in memory only.
	State string
	// Beat writes a heartbeat, right after AOFSHRINK begins and after it has ended;
	// nil: none.
	Beat func(ctx context.Context) error
	// Poll is the time between two looks at a rewrite. Default 100 ms.
	Poll time.Duration
	// Grace is for how long nothing may be in progress, and nothing have been swapped,
	// before AOFSHRINK counts as failed. Default 2 s.
	Grace time.Duration
	// Timeout is how long AOFSHRINK may take. Default 30 min.
	Timeout time.Duration
	// OnError is told of what goes wrong beside the way: a heartbeat, the state file,
	// a look at the sizes. nil: nobody.
	OnError func(error)
}

func preset[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// EnsureDefaults fills in what is missing and has a default.
func (o *TargetOptions) EnsureDefaults() {
	preset(&o.Poll, 100*time.Millisecond)
	preset(&o.Grace, 2*time.Second)
	preset(&o.Timeout, 30*time.Minute)
	preset(&o.Engine.Timeout, 5*time.Second)
	if o.FS == nil {
		o.FS = fsx.OS{}
	}
	if o.Beat == nil {
		o.Beat = func(context.Context) error { return nil }
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
}

// Validate lists every fault.
func (o *TargetOptions) Validate() error {
	var faults []error
	if _, _, err := net.SplitHostPort(o.Engine.Addr); err != nil {
		faults = append(faults, fmt.Errorf("engine: %w", err))
	}
	return errors.Join(append(faults, positive(map[string]time.Duration{
		"poll": o.Poll, "grace": o.Grace, "timeout": o.Timeout,
	}))...)
}

func positive(ds map[string]time.Duration) error {
	var faults []error
	for name, d := range ds {
		if d <= 0 {
			faults = append(faults, fmt.Errorf("%s: %v is not above 0", name, d))
		}
	}
	return errors.Join(faults...)
}

// Options say how followers are brought through a rewrite of their leader.
type Options struct {
	// Target is the leader's engine.
	Target *Target
	// Key is the reserved collection. Default DefaultKey.
	Key string
	// Followers are addresses beside those that the leader tells.
	Followers []string
	// Reach tells how a follower is reached that the leader or Followers name; nil: at
	// that address, with the password of the leader.
	Reach func(addr string) tile38.Options
	// Bridged says whether a follower's sidecar mends it by difference: then it is
	// waited for and never healed. following is the leader that the follower names.
	// nil: one on another machine whose leader is on its own, see LoopbackBridge.
	Bridged func(addr, following string) bool
	// MaxShrinks is how many rewrites more there may be to heal followers. Default 2,
	// -1 is none.
	MaxShrinks int
	// MaxUnavailable is how many followers may be unfit at once where that can be
	// chosen: a rewrite drops all that have no bridge, a reset one at a time. Default 1.
	MaxUnavailable int
	// Reset lets a follower that no rewrite has healed begin anew: FOLLOW no one,
	// FLUSHDB, AOFSHRINK, FOLLOW. With more unbridged followers than MaxUnavailable it
	// comes before a second rewrite, which would drop all of them at once.
	Reset bool
	// Block is how much of the beginning of a log a follower compares, in bytes: with
	// a shorter one no rewrite heals. Default 512 KiB, as Tile38's.
	Block int64

	Look    LookOptions
	Objects ObjectOptions
	// Stall is how long a follower may be unreachable, or catching up without getting
	// on. Default 2 min.
	Stall time.Duration
	// Pause is the time between two looks at all followers. Default 1 s.
	Pause time.Duration
	// Settle is how long after a rewrite followers of Options.Followers that the leader
	// does not tell by that address are not looked at: Tile38 takes a second to connect
	// again. Default 3 s.
	Settle time.Duration
	// OnStep is told what comes next, and why; nil: nobody.
	OnStep func(Step)
}

// EnsureDefaults fills in what is missing and has a default.
func (o *Options) EnsureDefaults() {
	preset(&o.Key, DefaultKey)
	preset(&o.MaxShrinks, 2)
	preset(&o.MaxUnavailable, 1)
	preset(&o.Block, 512<<10)
	preset(&o.Stall, 2*time.Minute)
	preset(&o.Pause, time.Second)
	preset(&o.Settle, 3*time.Second)
	o.Look.EnsureDefaults()
	o.Objects.EnsureDefaults()
	if o.Reach == nil && o.Target != nil {
		lead := o.Target.opt.Engine
		o.Reach = func(addr string) tile38.Options {
			lead.Addr = addr
			return lead
		}
	}
	if o.Bridged == nil {
		o.Bridged = LoopbackBridge
	}
	if o.OnStep == nil {
		o.OnStep = func(Step) {}
	}
}

// Validate lists every fault.
func (o *Options) Validate() error {
	var faults []error
	if o.Target == nil {
		faults = append(faults, errors.New("no target"))
	}
	for _, addr := range o.Followers {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			faults = append(faults, fmt.Errorf("followers: %w", err))
		}
	}
	if o.MaxShrinks < -1 {
		faults = append(faults, fmt.Errorf("max shrinks: %d is below -1", o.MaxShrinks))
	}
	if o.MaxUnavailable < 1 {
		faults = append(faults, fmt.Errorf("max unavailable: %d is below 1", o.MaxUnavailable))
	}
	faults = append(faults, o.Look.Validate(), o.Objects.Validate(), positive(map[string]time.Duration{"stall": o.Stall, "pause": o.Pause, "settle": o.Settle}))
	return errors.Join(faults...)
}

// LoopbackBridge says that a follower has a bridge when it follows its own machine,
// though it is on another.
func LoopbackBridge(addr, following string) bool { return !Loopback(addr) && Loopback(following) }

// Loopback says whether an address, host:port, is one of this machine alone.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
