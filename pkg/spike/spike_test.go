package spike

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/redcon"
	"go.uber.org/goleak"

	"evenkeel/internal/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a server that answers what it is told to, "OK" else.
type fake struct {
	addr string

	mu      sync.Mutex // guards what follows
	answers map[string][]string
	asked   []string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{answers: map[string][]string{
		"KEYS": {}, "ROLE": {"slave", "127.0.0.1"},
		"SERVER": {"sys_bytes", "5000", "heap_released_bytes", "1000", "tile38_aof_size", "77", "tile38_num_objects", "3",
			"tile38_aof_rewrite_in_progress", "false"},
	}}
	srv := redcon.NewServer("127.0.0.1:0", f.serve, nil, nil)
	listens, done := make(chan error, 1), make(chan error, 1)
	go func() { done <- srv.ListenServeAndSignal(listens) }()
	if err := <-listens; err != nil {
		t.Fatal(err)
	}
	f.addr = srv.Addr().String()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return f
}

func (f *fake) serve(c redcon.Conn, cmd redcon.Command) {
	f.mu.Lock()
	defer f.mu.Unlock()
	words := make([]string, 0, len(cmd.Args))
	for _, a := range cmd.Args {
		words = append(words, string(a))
	}
	f.asked = append(f.asked, strings.Join(words[:min(len(words), 2)], " "))
	answer, ok := f.answers[words[0]]
	if !ok {
		c.WriteString("OK")
		return
	}
	c.WriteArray(len(answer))
	for _, a := range answer {
		c.WriteBulkString(a)
	}
}

func (f *fake) set(command string, answer ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[command] = answer
}

func (f *fake) count(asked string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.asked {
		if a == asked {
			n++
		}
	}
	return n
}

func small(l, f *fake) Options {
	return Options{
		Leader: load.Server{Addr: l.addr}, Follower: load.Server{Addr: f.addr},
		Points: 100, Rounds: 2, Rate: 200, Phase: time.Second, Limit: 5 * time.Second,
	}
}

// TestRun: all phases are gone through, and the collection is dropped.
func TestRun(t *testing.T) {
	l, f := newFake(t), newFake(t)
	o := small(l, f)
	var stages []string
	var mu sync.Mutex
	o.Progress = func(stage string, _, _ int64) {
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(stages, stage) {
			stages = append(stages, stage)
		}
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if n := l.count("SET " + DefaultKey); n < 200+300 {
		t.Errorf("%d SETs", n)
	}
	if l.count("AOFSHRINK") != 1 || f.count("AOFSHRINK") != 0 || l.count("DROP "+DefaultKey) != 1 {
		t.Errorf("AOFSHRINK %d times on the leader, %d on the follower, DROP %d times", l.count("AOFSHRINK"), f.count("AOFSHRINK"), l.count("DROP "+DefaultKey))
	}
	if !slices.IsSorted([]float64{0, r.Before, r.Compaction, r.Compacted, r.After, r.End}) || r.End < 2 {
		t.Errorf("phases %v %v %v %v %v", r.Before, r.Compaction, r.Compacted, r.After, r.End)
	}
	if len(r.Series) != 5 || r.Series[3].Name != "follower GET" {
		t.Fatalf("series %+v", r.Series)
	}
	for _, s := range r.Series {
		if s.Before.Requests < 50 || s.Before.P99 <= 0 || s.During.Requests == 0 || len(s.Windows) < 4 || s.Before.Max < s.Before.P99 || s.Before.P99 < s.Before.P50 {
			t.Errorf("%+v", s)
		}
	}
	if r.Leader.Memory != (Memory{4000, 4000, 4000}) || r.LogBefore != 77 || r.Ghosts != 0 || r.Reread != 0 {
		t.Errorf("%+v", r)
	}
	if want := []string{"writing points", "before", "during", "after"}; !contains(stages, want) {
		t.Errorf("stages %q, want %q", stages, want)
	}
}

func contains(all, want []string) bool {
	return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(all, w) })
}

// TestRefused: nothing is written or dropped where something is wrong.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(l, f *fake, o *Options)
		want   string
	}{
		{"the collection exists", func(l, _ *fake, _ *Options) { l.set("KEYS", DefaultKey) }, "exists already"},
		{"it follows nobody", func(_, f *fake, _ *Options) { f.set("ROLE", "master") }, "follows nobody"},
		{"no Tile38", func(l, _ *fake, _ *Options) { l.set("SERVER", "a", "b") }, "has no sys_bytes"},
		{"nonsense", func(l, _ *fake, _ *Options) { l.set("SERVER", "sys_bytes", "x") }, `sys_bytes is "x"`},
		{"one server", func(_, _ *fake, o *Options) { o.Follower = o.Leader }, "both leader and follower"},
		{"no points", func(_, _ *fake, o *Options) { o.Points = -1 }, "points -1: want 1"},
		{"nobody there", func(_, _ *fake, o *Options) { o.Leader.Addr = "127.0.0.1:1" }, "127.0.0.1:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, f := newFake(t), newFake(t)
			o := small(l, f)
			tt.change(l, f, &o)
			_, err := Run(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if l.count("SET "+DefaultKey) > 0 || l.count("DROP "+DefaultKey) > 0 {
				t.Error("something was changed")
			}
		})
	}
}

// TestInterrupted: the collection is dropped also when somebody ends the measurement.
func TestInterrupted(t *testing.T) {
	l, f := newFake(t), newFake(t)
	o := small(l, f)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Progress = func(stage string, _, _ int64) {
		if stage == "before" {
			cancel()
		}
	}
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if l.count("DROP "+DefaultKey) != 1 || l.count("AOFSHRINK") != 0 {
		t.Errorf("DROP %d times, AOFSHRINK %d times", l.count("DROP "+DefaultKey), l.count("AOFSHRINK"))
	}
}

// TestNeverLevel: a follower that stays behind is an error with both positions.
func TestNeverLevel(t *testing.T) {
	l, f := newFake(t), newFake(t)
	o := small(l, f)
	o.Limit = time.Second
	f.set("SERVER", "sys_bytes", "5000", "heap_released_bytes", "1000", "tile38_aof_size", "70", "tile38_num_objects", "3")
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "at 70 bytes, the leader at 77") {
		t.Errorf("error %v", err)
	}
}

// sample is a result with a follower that reads everything again.
func sample() *Result {
	r := &Result{
		Points: 1000, Rounds: 3, Rate: 500, Before: 2, Compaction: 12, Compacted: 14, After: 18, End: 28, LogBefore: 30e6, LogAfter: 10e6,
		Leader: Server{Addr: "a:1", Memory: Memory{100e6, 150e6, 120e6}}, Follower: &Server{Addr: "b:1", Memory: Memory{100e6, 200e6, 120e6}},
		Series: []Series{{Name: "leader SET", Before: Quantiles{500, 0.5, 1, 2}, During: Quantiles{500, 0.6, 50, 1234}, After: Quantiles{500, 0.5, 1.2, 3}, Ratio: 50}},
		Ghosts: 12, Counted: 0.9,
	}
	for i := range 28 * 4 {
		at := float64(i) / 4
		l, f := int64(20e6+at*1e5), int64(20e6+at*1e5)
		if at > 14 {
			l -= 15e6
			f += 9e6
		}
		r.Leader.Readings = append(r.Leader.Readings, Reading{Seconds: at, Log: l, Memory: 100e6})
		r.Follower.Readings = append(r.Follower.Readings, Reading{Seconds: at, Log: f, Memory: 100e6})
	}
	for i := range 56 {
		v := 1.0
		if i == 5 {
			v = -1
		}
		r.Series[0].Windows = append(r.Series[0].Windows, v)
	}
	r.Reread = r.reread()
	return r
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := sample().WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"AOFSHRINK took 2.0 s, log 30.0 MB → 10.0 MB", "leader SET 1.00 ms 50.0 ms 1.20 ms 50.00 1.23 s",
		"follower 100.0 MB 200.0 MB 120.0 MB 2.00", "level again 4.0 s after", "took in 9.0 MB of log", "+12 objects", "90 % of the requests count",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

func TestPage(t *testing.T) {
	r := sample()
	r.Leader.Addr = `<script>"a"</script>`
	var b strings.Builder
	if err := r.WritePage(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if strings.Contains(page, "<script>") {
		t.Error("an address became markup")
	}
	if n := strings.Count(page, "<svg "); n != 3 {
		t.Errorf("%d pictures", n)
	}
	// A half second without a request interrupts the line.
	c := r.latencyChart()
	if n := strings.Count(c.Lines[0].Path, "M"); n != 2 {
		t.Errorf("the line has %d parts: %s", n, c.Lines[0].Path)
	}
	if strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
		t.Error("a number that is none is on the page")
	}
	if err := (&Result{}).WritePage(&b); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}

func TestScales(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 1: 1, 1.5: 2, 3: 5, 7: 10, 0.03: 0.05, 2000: 2000} {
		if got := nice(v); math.Abs(got-want) > 1e-12 {
			t.Errorf("nice(%v) is %v, want %v", v, got, want)
		}
	}
	c := &chart{log: true, low: 0.7, high: 80, end: 10}
	c.scale()
	if c.low != 0.1 || c.high != 100 {
		t.Errorf("from %v to %v, want 0.1 to 100", c.low, c.high)
	}
	if top, bottom := c.yOf(100), c.yOf(0.1); top != plotTop || bottom != plotTop+plotHeight {
		t.Errorf("drawn from %v to %v", top, bottom)
	}
	if middle := c.yOf(math.Sqrt(0.1 * 100)); math.Abs(middle-(plotTop+plotHeight/2)) > 1e-9 {
		t.Errorf("the middle of the decades is at %v", middle)
	}
	c.Lines = []*line{{LabelY: 50}, {LabelY: 51}, {LabelY: 52}}
	c.spread()
	for i := 1; i < 3; i++ {
		if c.Lines[i].LabelY-c.Lines[i-1].LabelY < labelHeight {
			t.Errorf("labels at %v and %v", c.Lines[i-1].LabelY, c.Lines[i].LabelY)
		}
	}
}
