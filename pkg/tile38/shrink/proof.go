package shrink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"evenkeel/pkg/tile38"
	"evenkeel/pkg/tile38/verify"
)

// ObjectOptions say how followers are compared with their leader object by object,
// which counts alone cannot replace: a follower that lacks one object and has one too
// many has as many as its leader. Times to live are left out: Tile38 begins them anew
// whenever it loads its file.
type ObjectOptions struct {
	// Off leaves it at counts.
	Off bool
	// Rate is how many objects are read per second of each server at most. Default:
	// each page is followed by a pause as long as it took.
	Rate int
	// Max is at how many differences a comparison ends. Default 1000.
	Max int64
	// Retry is the least time between two comparisons of a follower when one has failed
	// or found something; it is four times what the last one took, if that is longer.
	// Default 1 min.
	Retry time.Duration
	// Pauses are those before each further look at what differs. Default 0.2 s, 1 s and
	// 4 s: a follower may be behind by so much.
	Pauses []time.Duration
	// OnCompared is told what came of each comparison; nil: nobody.
	OnCompared func(addr string, c Comparison)
}

// EnsureDefaults fills in what is missing and has a default.
func (o *ObjectOptions) EnsureDefaults() {
	preset(&o.Max, 1000)
	preset(&o.Retry, time.Minute)
	if len(o.Pauses) == 0 {
		o.Pauses = []time.Duration{200 * time.Millisecond, time.Second, 4 * time.Second}
	}
	if o.OnCompared == nil {
		o.OnCompared = func(string, Comparison) {}
	}
}

// Validate lists every fault.
func (o *ObjectOptions) Validate() error {
	faults := []error{positive(map[string]time.Duration{"retry of comparisons": o.Retry})}
	if o.Rate < 0 {
		faults = append(faults, fmt.Errorf("rate of comparisons: %d is below 0", o.Rate))
	}
	if o.Max < 1 {
		faults = append(faults, fmt.Errorf("differences: %d is below 1", o.Max))
	}
	return errors.Join(faults...)
}

// Comparison is what comparing the objects of a follower with its leader's came to.
type Comparison struct {
	At          time.Time     `json:"at"` // its end
	Took        time.Duration `json:"took_ns"`
	Objects     int64         `json:"objects"`
	Differences int64         `json:"differences"`        // objects, hooks and channels; no more are counted than ObjectOptions.Max
	Examples    []string      `json:"examples,omitempty"` // of them, some
	Error       string        `json:"error,omitempty"`    // why it came to nothing
}

// ProofStats count comparisons.
type ProofStats struct {
	Compared  int64 `json:"compared"`  // came to an end
	Failed    int64 `json:"failed"`    // came to nothing
	Differing int64 `json:"differing"` // followers that differ, as of the last comparison of each
	Objects   int64 `json:"objects"`   // that differ in those
}

// need says whether a follower is to be compared.
type need uint8

const (
	needNothing need = iota
	needSoon         // its counts are right, but it may have come by them somehow
	needFirst        // it was healed: nobody is to be sent there before
)

const (
	// maxProofs is how many followers are remembered that are not there.
	maxProofs = 1000
	// maxExamples of differences are named.
	maxExamples = 8
)

// proof is what is known of one follower.
type proof struct {
	need   need
	fine   bool        // when it was last looked at
	last   *Comparison // that came to an end; nil: none since something has happened
	told   *Comparison // the last one
	next   time.Time   // not before
	gen    int         // grows when something happens
	cancel context.CancelFunc
}

// proofs remember of which followers it is known that they are their leader's equals.
type proofs struct {
	opt ObjectOptions
	one sync.Mutex // held while comparing

	mu    sync.Mutex
	of    map[string]*proof
	stats ProofStats
}

func newProofs(o ObjectOptions) *proofs { return &proofs{opt: o, of: map[string]*proof{}} }

// at returns the proof of a follower, which is to be made when it is new. mu is held.
func (ps *proofs) at(addr string) *proof {
	x := ps.of[addr]
	if x == nil {
		x = &proof{need: needSoon}
		ps.of[addr] = x
	}
	return x
}

// happened notes that something may have changed a follower. mu is held.
func (x *proof) happened(n need) {
	x.need, x.last, x.next = max(x.need, n), nil, time.Time{}
	x.gen++
	if x.cancel != nil {
		x.cancel()
	}
}

// dropped notes that followers begin to read their leader's log anew.
func (ps *proofs) dropped(addrs ...string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, addr := range addrs {
		ps.at(addr).happened(needFirst)
	}
}

// again lets followers be compared once more before they are healed for what was
// found: somebody may have mended them.
func (ps *proofs) again() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, x := range ps.of {
		if x.last != nil && x.last.Differences > 0 {
			x.happened(needFirst)
		}
	}
}

// saw takes note of a follower that was judged by its counts, and gives its objects
// the last word. While it is healed it may be fine and not proved.
func (ps *proofs) saw(p *Patient, healing bool) {
	if ps.opt.Off || p.Bridged {
		return
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	x := ps.at(p.Addr)
	x.fine = p.Judgement.Condition == Fine
	switch {
	case p.Judgement.Sick():
		x.happened(needFirst)
	case p.Judgement.Condition == Detached, p.Judgement.Condition == Unreachable:
		x.happened(needSoon) // it may come back by way of its leader's whole log
	}
	if x.told != nil {
		told := *x.told
		p.Compared = &told
	}
	switch {
	case !x.fine:
	case x.last != nil && x.last.Differences > 0:
		p.Judgement.Condition, p.Judgement.Reasons = Diverged, []string{x.last.text()}
	case x.need == needFirst && !healing:
		why := "it has read its leader's log anew, and its objects are yet to be compared with the leader's"
		if x.told != nil && x.told.Error != "" {
			why += "; the last attempt: " + x.told.Error
		}
		p.Judgement.Condition, p.Judgement.Reasons = Comparing, []string{why}
	}
}

// text says what was found.
func (c *Comparison) text() string {
	text := fmt.Sprintf("%d objects or hooks are not the leader's", c.Differences)
	for i, e := range c.Examples {
		if i == 0 {
			text += ", such as "
		} else {
			text += ", "
		}
		text += e
	}
	return text
}

// absent notes which followers are not there.
func (ps *proofs) absent(there []string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	is := make(map[string]bool, len(there))
	for _, addr := range there {
		is[addr] = true
	}
	for addr, x := range ps.of {
		if is[addr] {
			continue
		}
		x.fine = false
		x.happened(needSoon)
		if x.need != needFirst || len(ps.of) > maxProofs {
			delete(ps.of, addr)
		}
	}
}

// due lists followers that may be compared now.
func (ps *proofs) due(n need) (addrs []string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for addr, x := range ps.of {
		differs := x.last != nil && x.last.Differences > 0
		if x.fine && (x.need >= n || differs && n == needSoon) && !time.Now().Before(x.next) {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// needs says whether a follower that was healed has not been compared since.
func (ps *proofs) needs(addr string) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return !ps.opt.Off && ps.at(addr).need == needFirst
}

// begin makes ctx end when something happens to a follower, whose state is gen.
func (ps *proofs) begin(ctx context.Context, addr string) (_ context.Context, end func(), gen int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	x := ps.at(addr)
	ctx, x.cancel = context.WithCancel(ctx)
	return ctx, x.cancel, x.gen
}

// made takes note of a comparison, unless something has happened meanwhile.
func (ps *proofs) made(addr string, gen int, c Comparison) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	x := ps.of[addr]
	if x == nil || x.gen != gen {
		return false
	}
	x.cancel, x.told = nil, &c
	x.next = time.Now().Add(max(ps.opt.Retry, 4*c.Took))
	if c.Error != "" {
		ps.stats.Failed++
		return true
	}
	ps.stats.Compared++
	x.last, x.need = &c, needNothing
	return true
}

// Proofs counts comparisons of objects.
func (c *Coordinator) Proofs() ProofStats {
	ps := c.proofs
	ps.mu.Lock()
	defer ps.mu.Unlock()
	st := ps.stats
	for _, x := range ps.of {
		if x.last != nil && x.last.Differences > 0 {
			st.Differing++
			st.Objects += x.last.Differences
		}
	}
	return st
}

// Prove compares the objects of followers that look fine and have been away, were
// healed or are new with their leader's, one follower after the other, until ctx ends,
// whose cause it returns. Look, Judge and Watch go by what it finds.
func (c *Coordinator) Prove(ctx context.Context, every time.Duration) error {
	for pause(ctx, every) {
		for _, addr := range c.proofs.due(needSoon) {
			c.prove(ctx, addr)
		}
	}
	return context.Cause(ctx)
}

// prove compares one follower. ok: nothing happened to it meanwhile.
func (c *Coordinator) prove(ctx context.Context, addr string) (found Comparison, ok bool) {
	c.proofs.one.Lock()
	defer c.proofs.one.Unlock()
	during, end, gen := c.proofs.begin(ctx, addr)
	defer end()
	begun := time.Now()
	found, err := c.compare(during, addr)
	if err == nil && found.Differences > 0 {
		err = c.level(during, addr)
	}
	found.At, found.Took = time.Now(), time.Since(begun)
	if err != nil {
		found.Error = err.Error()
	}
	if ctx.Err() != nil || !c.proofs.made(addr, gen, found) {
		return found, false
	}
	c.opt.Objects.OnCompared(addr, found)
	return found, true
}

// level returns an error when a follower is not, by its counts and heartbeats, where
// its leader is: then what was found says nothing.
func (c *Coordinator) level(ctx context.Context, addr string) error {
	l := newLooker(c.opt)
	defer l.Close()
	if j := l.Patients(ctx, []string{addr})[0].Judgement; j.Condition != Fine && !j.Sick() {
		return fmt.Errorf("it was not level with its leader when the comparison ended: %s: %q", j.Condition, j.Reasons)
	}
	return nil
}

// errEnough ends a comparison.
var errEnough = errors.New("enough differences")

// compare reads both servers.
func (c *Coordinator) compare(ctx context.Context, addr string) (found Comparison, err error) {
	o := &c.opt.Objects
	want, err := live(c.opt.Target.opt.Engine, o.Rate)
	if err != nil {
		return found, err
	}
	defer want.Close()
	have, err := live(c.opt.Reach(addr), o.Rate)
	if err != nil {
		return found, err
	}
	defer have.Close()
	sum, err := verify.Compare(ctx, want, have, verify.Options{Exclude: []string{c.opt.Key}, Pauses: o.Pauses}, func(d verify.Difference) error {
		found.Differences++
		if len(found.Examples) < maxExamples {
			found.Examples = append(found.Examples, fmt.Sprintf("%.100q of %.100q (%s)", d.ID, d.Key, d.Why))
		}
		if found.Differences == o.Max {
			return errEnough
		}
		return nil
	})
	found.Objects = sum.Objects
	if errors.Is(err, errEnough) {
		err = nil
	}
	return found, err
}

// live reads a running server.
func live(o tile38.Options, rate int) (*verify.LiveSource, error) {
	o.Timeout = max(o.Timeout, 30*time.Second)
	return verify.Live(verify.LiveOptions{Options: o, Rate: rate, NoExpiry: true})
}
