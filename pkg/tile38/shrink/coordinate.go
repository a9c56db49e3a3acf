package shrink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"evenkeel/pkg/compactor"
)

// ErrSick says that followers are not their leader's equals after all that may be
// done for them.
var ErrSick = errors.New("followers are not what their leader is")

// Coordinator compacts a leader and brings its followers through it. It is the
// compactor.Target of a leader's sidecar.
type Coordinator struct {
	opt    Options
	proofs *proofs

	busy sync.Mutex // held while followers are healed

	mu   sync.Mutex
	last *Report
}

var _ compactor.Target = (*Coordinator)(nil)

// New makes a coordinator; nothing is dialled.
func New(o Options) (*Coordinator, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("shrink: %w", err)
	}
	return &Coordinator{opt: o, proofs: newProofs(o.Objects)}, nil
}

// Facts are those of the leader's log.
func (c *Coordinator) Facts() compactor.Facts { return c.opt.Target.Facts() }

// Last returns what became of the followers the last time; nil: there was none.
func (c *Coordinator) Last() *Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		return nil
	}
	r := *c.last
	r.Followers, r.Steps = slices.Clone(r.Followers), slices.Clone(r.Steps)
	return &r
}

// Compact rewrites the leader's log and heals the followers. Its error is about the
// leader's log or the end of ctx: that followers are left sick is no reason to rewrite
// again and again, it stands in Last.
func (c *Coordinator) Compact(ctx context.Context) (compactor.Result, error) {
	known, _ := c.followers(ctx) // who is away now is not dropped by it
	c.proofs.dropped(c.unbridged()...)
	r, err := c.opt.Target.Compact(ctx)
	if err != nil {
		return r, err
	}
	c.proofs.dropped(c.unbridged()...)
	if _, err := c.heal(ctx, known); err != nil && ctx.Err() != nil {
		return r, err
	}
	// What healing did to the log is part of it.
	if f := c.Facts(); f.LogBytes > 0 {
		r.BytesAfter = f.LogBytes
	}
	return r, nil
}

// Heal looks at all followers and heals those that are not what the leader is, as
// after a rewrite. The error is ErrSick, with the reasons, or that of ctx.
func (c *Coordinator) Heal(ctx context.Context) (Report, error) { return c.heal(ctx, nil) }

// Judge looks at all followers, and does nothing.
func (c *Coordinator) Judge(ctx context.Context) ([]Patient, error) {
	addrs, err := c.followers(ctx)
	if err != nil {
		return nil, err
	}
	l := newLooker(c.opt)
	defer l.Close()
	ps := l.Patients(ctx, addrs)
	if ctx.Err() != nil {
		return ps, ctx.Err()
	}
	for i := range ps {
		c.proofs.saw(&ps[i], false)
	}
	c.proofs.absent(addrs)
	return ps, nil
}

// unbridged lists the followers that a rewrite drops, as far as they are known.
func (c *Coordinator) unbridged() (addrs []string) {
	c.proofs.mu.Lock()
	defer c.proofs.mu.Unlock()
	return slices.Collect(maps.Keys(c.proofs.of))
}

// followers lists those that the leader tells, and those of the options.
func (c *Coordinator) followers(ctx context.Context) ([]string, error) {
	l := newLink(c.opt.Target.opt.Engine)
	defer l.close()
	told, err := l.followers(ctx)
	addrs := slices.Concat(c.opt.Followers, told)
	slices.Sort(addrs)
	return slices.Compact(addrs), err
}

// healing is one Heal under way.
type healing struct {
	*Coordinator
	look   *Looker
	known  []string // followers that must be there, beside those that the leader tells
	since  map[string]progress
	resets map[string]int
	id     string // the leader's, at first
	// disturbed is how many comparisons have come to nothing.
	disturbed int
	head      string // checksum of the block that the leader's log begins with
	notes     []string
	report    Report
}

// progress is how far a follower had come when it last got on.
type progress struct {
	got       int64
	condition Condition
	at        time.Time
}

func (c *Coordinator) heal(ctx context.Context, known []string) (Report, error) {
	c.busy.Lock()
	defer c.busy.Unlock()
	h := &healing{
		Coordinator: c, look: newLooker(c.opt), known: known,
		since: map[string]progress{}, resets: map[string]int{}, report: Report{Start: time.Now()},
	}
	defer h.look.Close()
	c.proofs.again()
	err := h.run(ctx)
	h.report.Duration = time.Since(h.report.Start)
	if err != nil {
		h.report.Error = err.Error()
	}
	r := h.report
	c.mu.Lock()
	c.last = &r
	c.mu.Unlock()
	return r, err
}

// run does step after step.
func (h *healing) run(ctx context.Context) error {
	h.recover(ctx)
	h.head = h.checksum(ctx)
	if !h.settle(ctx) {
		return context.Cause(ctx)
	}
	for {
		if !pause(ctx, h.opt.Pause) {
			return context.Cause(ctx)
		}
		v := h.view(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s := Plan(v)
		if s.Kind == Done {
			sick, again := h.prove(ctx, &v)
			if again {
				continue
			}
			if sick {
				s = Plan(v)
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h.report.note(s)
		h.opt.OnStep(s)
		switch s.Kind {
		case Done:
			return nil
		case GiveUp:
			return h.sick(s)
		case Shrink:
			if err := h.shrink(ctx, s); err != nil {
				return fmt.Errorf("%w: the rewrite that was to heal them: %w", ErrSick, err)
			}
		case Reset:
			for _, addr := range s.Followers {
				h.resets[addr]++
				h.proofs.dropped(addr)
				if err := h.reset(ctx, addr); err != nil {
					h.note("reset of %s: %v", addr, err)
				}
				h.since[addr] = progress{at: time.Now()}
			}
		case Wait:
		}
	}
}

// view looks at all followers. One that was connected and is not told any more counts
// as catching up: it has yet to notice.
func (h *healing) view(ctx context.Context) View {
	told, err := h.look.lead.followers(ctx)
	addrs := slices.Concat(h.opt.Followers, told, h.known)
	slices.Sort(addrs)
	addrs = slices.Compact(addrs)
	h.known = addrs
	v := View{
		Stall: h.opt.Stall, Shrinks: h.report.Shrinks, MaxShrinks: max(0, h.opt.MaxShrinks),
		MaxUnavailable: h.opt.MaxUnavailable, Reset: h.opt.Reset, Block: h.opt.Block,
		Followers: h.look.Patients(ctx, addrs), Now: time.Now(),
	}
	v.LogBytes = h.look.leader.AOFSize
	if h.id == "" {
		h.id = h.look.leader.ID
	}
	var sick []string
	for i := range v.Followers {
		p := &v.Followers[i]
		named := slices.Contains(h.opt.Followers, p.Addr) // not by the leader, perhaps
		if err == nil && !named && !slices.Contains(told, p.Addr) && p.Judgement.Condition != Unreachable {
			p.Judgement.Condition, p.Judgement.Reasons = CatchingUp, []string{"it is not connected to the leader"}
		}
		h.proofs.saw(p, true)
		p.Since, p.Resets = h.track(p, v.Now), h.resets[p.Addr]
		f := h.report.follower(*p)
		if p.Judgement.Sick() {
			sick = append(sick, p.Addr)
		}
		f.Bridged, f.Judgement, f.Resets, f.Fine = p.Bridged, p.Judgement, p.Resets, p.Judgement.Condition == Fine
		f.Compared = p.Compared
	}
	v.Stranger = h.look.stranger(h.id, sick)
	return v
}

// maxDisturbed is how often a comparison may come to nothing because something happens
// to the follower, in one Heal.
const maxDisturbed = 3

// prove compares the objects of followers that were healed, and look fine. sick: one
// of them is not. again: something has happened to one meanwhile.
func (h *healing) prove(ctx context.Context, v *View) (sick, again bool) {
	for i := range v.Followers {
		p := &v.Followers[i]
		if p.Bridged || p.Judgement.Condition != Fine || !h.proofs.needs(p.Addr) {
			continue
		}
		found, ok := h.Coordinator.prove(ctx, p.Addr)
		if ctx.Err() != nil {
			return false, false
		}
		f := h.report.follower(*p)
		f.Compared = &found
		switch {
		case !ok:
			h.disturbed++
			again = again || h.disturbed <= maxDisturbed
			h.note("%s: something happened to it while its objects were compared", p.Addr)
		case found.Error != "":
			h.note("%s: its objects cannot be compared: %s", p.Addr, found.Error)
		case found.Differences > 0:
			h.proofs.saw(p, true)
			f.Judgement, f.Fine, sick = p.Judgement, false, true
		}
	}
	return sick, again
}

// track returns since when a follower has not got on.
func (h *healing) track(p *Patient, now time.Time) time.Time {
	was, ok := h.since[p.Addr]
	if !ok || was.got != p.Judgement.Got || was.condition != p.Judgement.Condition {
		was = progress{p.Judgement.Got, p.Judgement.Condition, now}
		h.since[p.Addr] = was
	}
	return was.at
}

// shrink rewrites the leader's log once more.
func (h *healing) shrink(ctx context.Context, s Step) error {
	h.report.Shrinks++
	for i := range h.report.Followers {
		if f := &h.report.Followers[i]; slices.Contains(s.Followers, f.Addr) {
			f.Shrinks++
		}
	}
	h.proofs.dropped(h.unbridged()...)
	if _, err := h.opt.Target.Compact(ctx); err != nil {
		return err
	}
	h.proofs.dropped(h.unbridged()...)
	if !h.settle(ctx) {
		return context.Cause(ctx)
	}
	if head := h.checksum(ctx); head != h.head {
		h.head = head
		h.note("the first %d bytes of the leader's log are others after rewrite %d: what stands there, collections and ids in their order, is written all the time or has a time to live, and a follower does not recognize the log",
			h.opt.Block, h.report.Shrinks)
	}
	return nil
}

// settle waits until followers have noticed a rewrite of whom the leader does not tell
// whether they are connected.
func (h *healing) settle(ctx context.Context) bool {
	if len(h.opt.Followers) == 0 {
		return true
	}
	return pause(ctx, h.opt.Settle)
}

// checksum is that of the block that a follower compares first; "" when there is
// none.
func (h *healing) checksum(ctx context.Context) string {
	v, err := h.look.lead.do(ctx, "AOFMD5", "0", strconv.FormatInt(h.opt.Block, 10))
	if err != nil {
		return ""
	}
	return v.String()
}

// note keeps what a reader of the report should know.
func (h *healing) note(format string, args ...any) {
	if len(h.notes) < maxSteps {
		h.notes = append(h.notes, fmt.Sprintf(format, args...))
	}
}

// sick is the error that names everyone, and why.
func (h *healing) sick(s Step) error {
	var lines []string
	for _, f := range h.report.Followers {
		if !f.Fine {
			lines = append(lines, fmt.Sprintf("%s is %s (%s)", f.Addr, f.Condition, strings.Join(f.Reasons, "; ")))
		}
	}
	lines = append(lines, h.notes...)
	return fmt.Errorf("%w: %s: %s", ErrSick, s.Why, strings.Join(lines, ". "))
}
