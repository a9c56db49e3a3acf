package compactor

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evenkeel/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is a target whose compactions end when the test says so.
type log struct {
	mu      sync.Mutex
	facts   Facts
	began   chan struct{} // receives at each start
	outcome chan error    // what each compaction ends with
}

func newLog(f Facts) *log {
	return &log{facts: f, began: make(chan struct{}), outcome: make(chan error)}
}

func (l *log) Facts() Facts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.facts
}

func (l *log) set(f Facts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.facts = f
}

func (l *log) Compact(ctx context.Context) (Result, error) {
	l.began <- struct{}{}
	select {
	case err := <-l.outcome:
		return Result{BytesBefore: 100 * mb, BytesAfter: 10 * mb, Objects: 7}, err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// start runs a compactor on a fake clock until the test ends.
func start(t *testing.T, l *log, o Options) (*Compactor, *clock.Fake, context.CancelFunc) {
	t.Helper()
	fake := clock.NewFake(noon)
	o.Target, o.Clock = l, fake
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return c, fake, cancel
}

var due = Facts{LogBytes: 100 * mb, FreeBytes: -1}

func wait(t *testing.T, c *Compactor) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := c.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCompactsByItself(t *testing.T) {
	var started []Origin
	var finished []Report
	l := newLog(due)
	c, fake, _ := start(t, l, Options{
		Policy:   DefaultPolicy(),
		OnStart:  func(o Origin) { started = append(started, o) },
		OnFinish: func(r Report) { finished = append(finished, r) },
	})
	fake.BlockUntil(1)
	if next := c.Stats().NextCheck; !next.Equal(noon.Add(10 * time.Second)) {
		t.Errorf("next check at %v, want 10 s from the start", next)
	}
	fake.Advance(10 * time.Second)
	<-l.began
	if !c.Stats().Running {
		t.Error("Stats says that nothing runs")
	}
	fake.Advance(3 * time.Second)
	l.set(Facts{LogBytes: 10 * mb, BaseBytes: 10 * mb, FreeBytes: -1})
	l.outcome <- nil
	r := wait(t, c)
	want := Report{Origin: Auto, Outcome: OK, Start: noon.Add(10 * time.Second), Duration: 3 * time.Second,
		Result: Result{BytesBefore: 100 * mb, BytesAfter: 10 * mb, Objects: 7}}
	if *r != want {
		t.Errorf("report %+v, want %+v", *r, want)
	}
	if len(started) != 1 || started[0] != Auto || len(finished) != 1 || finished[0] != want {
		t.Errorf("callbacks: started %v, finished %+v", started, finished)
	}

	fake.BlockUntil(1)
	fake.Advance(10 * time.Second)
	fake.BlockUntil(1) // the next timer is set after the check
	if s := c.Stats(); s.Running || s.OK != 1 || s.Decision.Cause != CauseSize {
		t.Errorf("stats %+v, want one compaction and the size as the reason for no other", s)
	}
}

// The governor learns when a compaction begins and ends, and what was before.
func TestTellsGovernor(t *testing.T) {
	g := rule(t, GovernorOptions{Max: 25})
	l := newLog(due)
	c, fake, _ := start(t, l, Options{Policy: DefaultPolicy(), Governor: g.Governor})
	g.serve(1000, typical)
	fake.BlockUntil(1)
	fake.Advance(10 * time.Second)
	<-l.began
	g.serve(1000, 10*typical)
	if share, _ := g.Pace(fake.Now().Add(time.Second)); share != 15 {
		t.Errorf("share %v %% while requests are slow", share)
	}
	if p := c.Stats().Pace; p.Share != 15 || p.Baseline < typical || p.Baseline > 2*typical {
		t.Errorf("stats %+v", p)
	}
	l.outcome <- nil
	wait(t, c)
	if share, _ := g.Pace(fake.Now().Add(time.Hour)); share != 25 {
		t.Errorf("share %v %% after it", share)
	}
}

func TestBacksOffAfterFailures(t *testing.T) {
	l := newLog(due)
	c, fake, _ := start(t, l, Options{Policy: Policy{MinSize: 1, CheckEvery: time.Minute}})
	broken := errors.New("disk on fire")
	for n, rest := range []int{1, 2, 4} { // minutes of back-off before the next try
		fake.BlockUntil(1)
		fake.Advance(time.Minute)
		<-l.began
		l.outcome <- broken
		r := wait(t, c)
		if r.Outcome != Failed || !errors.Is(r.Err, broken) {
			t.Fatalf("report %+v, want the failure", r)
		}
		if b, err := json.Marshal(c.Stats()); err != nil || !strings.Contains(string(b), `"error":"disk on fire"`) {
			t.Fatalf("stats as JSON: %s, %v", b, err)
		}
		if s := c.Stats(); s.Failed != uint64(n+1) || s.Failures != n+1 {
			t.Fatalf("stats %+v, want %d failures", s, n+1)
		}
		for ; rest > 1; rest-- {
			fake.BlockUntil(1)
			fake.Advance(time.Minute)
			fake.BlockUntil(1)
			if d := c.Stats().Decision; d.Cause != CauseBackoff {
				t.Fatalf("decision %+v, want back-off", d)
			}
		}
	}
}

func TestTrigger(t *testing.T) {
	l := newLog(Facts{FreeBytes: -1}) // nothing to gain: only a person would
	c, _, cancel := start(t, l, Options{Policy: Policy{}})
	if r, err := c.Wait(t.Context()); r != nil || err != nil {
		t.Fatalf("Wait with nothing to wait for: %v, %v", r, err)
	}
	if err := c.Trigger(); err != nil {
		t.Fatal(err)
	}
	<-l.began
	if err := c.Trigger(); !errors.Is(err, ErrRunning) {
		t.Errorf("second Trigger: %v, want ErrRunning", err)
	}
	gone, giveUp := context.WithCancel(t.Context())
	giveUp()
	if _, err := c.Wait(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait with an ended context: %v", err)
	}
	l.outcome <- nil
	if r := wait(t, c); r.Origin != Hand || r.Outcome != OK {
		t.Errorf("report %+v", r)
	}

	l.set(Facts{LiveBytes: 2, FreeBytes: 1})
	if err := c.Trigger(); !errors.Is(err, ErrNoRoom) || !strings.Contains(err.Error(), "1 B free") {
		t.Errorf("Trigger with a full disk: %v", err)
	}

	l.set(Facts{FreeBytes: -1})
	if err := c.Trigger(); err != nil {
		t.Fatal(err)
	}
	<-l.began
	cancel()
	if r := wait(t, c); r.Outcome != Cancelled || c.Stats().Failures != 0 {
		t.Errorf("report %+v, want cancelled and no failure", r)
	}
}

func TestStopped(t *testing.T) {
	l := newLog(due)
	c, err := New(Options{Target: l, Policy: DefaultPolicy(), Clock: clock.NewFake(noon)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Trigger(); err != nil {
		t.Fatalf("Trigger before Run: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Run(ended); err != nil {
		t.Fatal(err)
	}
	if r := wait(t, c); r != nil {
		t.Errorf("a compaction ran: %+v", r)
	}
	if err := c.Trigger(); !errors.Is(err, ErrStopped) {
		t.Errorf("Trigger after Run: %v, want ErrStopped", err)
	}
	if s := c.Stats(); s.Running || !s.NextCheck.IsZero() {
		t.Errorf("stats after Run: %+v", s)
	}
	if err := c.Run(t.Context()); err == nil {
		t.Error("a second Run was accepted")
	}
}

func TestSetPolicyTakesEffectAtOnce(t *testing.T) {
	l := newLog(due)
	c, fake, _ := start(t, l, Options{Policy: Policy{CheckEvery: time.Hour}}) // off
	fake.BlockUntil(1)
	if err := c.SetPolicy(Policy{MinSize: -1}); err == nil {
		t.Error("a bad policy was accepted")
	}
	if err := c.SetPolicy(Policy{MinSize: 1, CheckEvery: time.Second}); err != nil {
		t.Fatal(err)
	}
	if p := c.Policy(); p.MinSize != 1 || p.Cooldown != time.Minute {
		t.Errorf("policy %+v", p)
	}
	// The loop swaps the timer of an hour for one of a second at its own pace.
	for c.Stats().NextCheck.After(noon.Add(time.Second)) {
		time.Sleep(time.Millisecond)
	}
	fake.BlockUntil(1)
	fake.Advance(time.Second)
	<-l.began
	l.outcome <- nil
	if r := wait(t, c); r.Origin != Auto {
		t.Errorf("report %+v", r)
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	_, err := New(Options{Policy: Policy{Growth: -1}})
	if err == nil || !strings.Contains(err.Error(), "no target") || !strings.Contains(err.Error(), "aofshrink-growth") {
		t.Errorf("error %v, want both faults", err)
	}
}
