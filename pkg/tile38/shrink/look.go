package shrink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"evenkeel/pkg/tile38"
)

// LookOptions say how closely a follower is looked at.
type LookOptions struct {
	// Times is how often what does not look fine is looked at. Default 3.
	Times int
	// Pause is the time between. Default 300 ms.
	Pause time.Duration
	// Slack is by how many bytes the logs of leader and follower may differ. Default
	// 4096, -1 is none.
	Slack int64
	// Timeout is how long a server may take to say what it has. Default 10 s.
	Timeout time.Duration
	// File returns the size of a follower's file, below 0 when it is unknown; nil: it
	// always is.
	File func(addr string) int64
}

// EnsureDefaults fills in what is missing and has a default.
func (o *LookOptions) EnsureDefaults() {
	preset(&o.Times, 3)
	preset(&o.Pause, 300*time.Millisecond)
	preset(&o.Slack, 4096)
	preset(&o.Timeout, 10*time.Second)
	if o.File == nil {
		o.File = func(string) int64 { return -1 }
	}
}

// Validate lists every fault.
func (o *LookOptions) Validate() error {
	var faults []error
	if o.Times < 1 {
		faults = append(faults, fmt.Errorf("looks: %d is below 1", o.Times))
	}
	if o.Slack < -1 {
		faults = append(faults, fmt.Errorf("slack: %d is below -1", o.Slack))
	}
	return errors.Join(append(faults, positive(map[string]time.Duration{"pause of looks": o.Pause, "timeout of looks": o.Timeout}))...)
}

// Looker judges followers of one leader. One goroutine at a time may use it.
type Looker struct {
	opt     LookOptions
	key     string // reserved
	reach   func(addr string) tile38.Options
	bridged func(addr, following string) bool
	lead    *link
	beat    func(context.Context) // writes a heartbeat to the leader
	links   map[string]*link
	last    map[string]Seen
	leader  Seen // the last look at it
}

// newLooker returns one; nothing is dialled.
func newLooker(o Options) *Looker {
	return &Looker{
		opt: o.Look, key: o.Key, reach: o.Reach, bridged: o.Bridged, beat: o.Target.beat,
		lead: newLink(o.Target.opt.Engine), links: map[string]*link{}, last: map[string]Seen{},
	}
}

// Close ends the connections.
func (l *Looker) Close() {
	l.lead.close()
	for _, f := range l.links {
		f.close()
	}
}

// follower returns the connection to one.
func (l *Looker) follower(addr string) *link {
	if l.links[addr] == nil {
		l.links[addr] = newLink(l.reach(addr))
	}
	return l.links[addr]
}

// Patients judges followers: those that do not look fine at once, several times.
func (l *Looker) Patients(ctx context.Context, addrs []string) []Patient {
	looks := make(map[string][]Look, len(addrs))
	ps := make([]Patient, len(addrs))
	for i := range l.opt.Times {
		if i > 0 && !pause(ctx, l.opt.Pause) {
			break
		}
		l.round(ctx, addrs, looks)
		fine := true
		for i, addr := range addrs {
			f := looks[addr][len(looks[addr])-1].Follower
			ps[i] = Patient{Addr: addr, Bridged: l.bridged(addr, f.Following)}
			ps[i].Judgement = Judge(looks[addr], Rules{Slack: max(0, l.opt.Slack), Bridged: ps[i].Bridged})
			fine = fine && ps[i].Judgement.Condition == Fine
		}
		if fine {
			break
		}
	}
	return ps
}

// round looks at all followers between two looks at the leader.
func (l *Looker) round(ctx context.Context, addrs []string, looks map[string][]Look) {
	l.beat(ctx)
	before := l.see(ctx, l.lead)
	found := make([]Look, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		f := l.follower(addr)
		wg.Go(func() {
			found[i] = Look{Before: before, Follower: l.see(ctx, f), File: l.opt.File(addr)}
		})
	}
	wg.Wait()
	after := l.see(ctx, l.lead)
	l.leader = after
	for i, addr := range addrs {
		found[i].After = after
		looks[addr] = append(looks[addr], found[i])
		l.last[addr] = found[i].Follower
	}
}

// stranger says why the leader is not one whose equal a follower should become: it is
// another server than id, or has nothing of what the follower has. Then the follower
// may be the last to have the objects.
func (l *Looker) stranger(id string, sick []string) string {
	if id != "" && l.leader.ID != "" && l.leader.ID != id {
		return fmt.Sprintf("the leader is another server now, with the id %s and not %s", l.leader.ID, id)
	}
	if l.leader.Err != "" {
		return ""
	}
	for _, addr := range sick {
		has, common := l.last[addr].Collections, false
		for key := range has {
			_, ok := l.leader.Collections[key]
			common = common || ok
		}
		if len(has) > 0 && !common {
			return fmt.Sprintf("the leader has none of the %d collections of %s: make sure that it is the right one", len(has), addr)
		}
	}
	return ""
}

// see asks a server what it has.
func (l *Looker) see(ctx context.Context, c *link) Seen {
	ctx, cancel := context.WithTimeout(ctx, l.opt.Timeout)
	defer cancel()
	s := Seen{At: time.Now()}
	m, err := c.server(ctx)
	if err == nil {
		s.Beat, err = c.beat(ctx, l.key)
	}
	if err == nil {
		s.Collections, err = c.counts(ctx, l.key)
	}
	switch {
	case err != nil && answered(err) && strings.Contains(err.Error(), "catching up"):
		s.Refused = true
		return s
	case err != nil:
		s.Err = err.Error()
		return s
	}
	s.ID, s.Following, s.CaughtUp = m["id"], m["following"], m["caught_up"] == "true"
	s.AOFSize, s.Hooks = number(m, "aof_size"), number(m, "num_hooks")
	return s
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
