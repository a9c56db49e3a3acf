package pubsub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newHub(t *testing.T, change ...func(*Options)) *Hub {
	t.Helper()
	var o Options
	for _, c := range change {
		c(&o)
	}
	h, err := NewHub(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// drain returns what waits for l, "kind pattern channel payload" each.
func drain(t *testing.T, l *Listener) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what is there comes all the same
	msgs, err := l.Next(ctx, nil)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var out []string
	for _, m := range msgs {
		out = append(out, strings.TrimSpace(fmt.Sprint(m.Pattern, " ", m.Channel, " ", string(m.Payload))))
	}
	return out
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// The numbers are those that a Tile38 server answers.
func TestSubscriptionCount(t *testing.T) {
	l := newHub(t).NewListener()
	defer l.Close()
	for i, step := range []struct {
		line string
		want int
	}{
		{"sub a", 1}, {"sub a", 1}, {"sub b", 2}, {"sub a", 2}, {"psub a*", 3}, {"psub *", 4}, {"psub a", 5},
		{"psub a*", 5}, {"unsub a", 4}, {"unsub a", 4}, {"sub a", 5}, {"punsub zzz", 5}, {"unsub a*", 5},
		{"punsub b", 5}, {"punsub a*", 4}, {"unsub b", 3}, {"unsub a", 2}, {"punsub a", 1}, {"punsub *", 0},
	} {
		verb, name, _ := strings.Cut(step.line, " ")
		var got int
		var err error
		switch verb {
		case "sub":
			got, err = l.Subscribe(name)
		case "psub":
			got, err = l.PSubscribe(name)
		case "unsub":
			got = l.Unsubscribe(name)
		case "punsub":
			got = l.PUnsubscribe(name)
		}
		if err != nil || got != step.want {
			t.Errorf("step %d, %s: %d, %v, want %d", i, step.line, got, err, step.want)
		}
	}
}

func TestPublish(t *testing.T) {
	h := newHub(t)
	expect(t, "nobody", h.Publish("news", []byte("x")), 0)
	a, b := h.NewListener(), h.NewListener()
	defer a.Close()
	defer b.Close()
	for _, p := range []string{"n*", "*", "news", "z*"} {
		if _, err := a.PSubscribe(p); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []*Listener{a, b} {
		if _, err := l.Subscribe("news"); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "receivers", h.Publish("news", []byte("1")), 5)
	expect(t, "case", h.Publish("News", nil), 1)
	a.Push(Message{Payload: []byte("live")})
	b.Unsubscribe("news")
	expect(t, "after unsubscribe", h.Publish("news", []byte("2")), 4)
	expect(t, "a", strings.Join(drain(t, a), "|"),
		"news 1|n* news 1|* news 1|news news 1|* News|live|news 2|n* news 2|* news 2|news news 2")
	expect(t, "b", strings.Join(drain(t, b), "|"), "news 1")
	s := h.Stats()
	expect(t, "stats", s, Stats{Listeners: 2, Channels: 1, Patterns: 4, Published: 4, Delivered: 10, Waiting: s.Waiting})
}

func TestNextWaits(t *testing.T) {
	h := newHub(t)
	l := h.NewListener()
	defer l.Close()
	if _, err := l.Subscribe("c"); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer close(got)
		var buf []Message
		var err error
		for {
			if buf, err = l.Next(ctx, buf); err != nil {
				got <- err.Error()
				return
			}
			for _, m := range buf {
				got <- string(m.Payload)
			}
		}
	}()
	for i := range 100 {
		h.Publish("c", []byte(fmt.Sprint(i)))
		expect(t, "message", <-got, i)
	}
	cancel()
	expect(t, "cancelled", <-got, context.Canceled)
	l.Close()
	if _, err := l.Next(context.Background(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	expect(t, "waiting", h.Stats().Waiting, 0)
}

func TestSlow(t *testing.T) {
	for _, c := range []struct {
		name     string
		set      func(*Options)
		payload  int
		messages int // that fit
	}{
		{"messages", func(o *Options) { o.MaxMessages = 10 }, 1, 10},
		{"bytes", func(o *Options) { o.MaxBytes = 1000 }, 104, 5},
		{"one too large", func(o *Options) { o.MaxBytes = 1000 }, 1000, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHub(t, c.set)
			l, other := h.NewListener(), h.NewListener()
			defer l.Close()
			defer other.Close()
			if _, err := l.Subscribe("c"); err != nil {
				t.Fatal(err)
			}
			for i := range c.messages {
				expect(t, fmt.Sprint("message ", i), h.Publish("c", make([]byte, c.payload)), 1)
			}
			select {
			case <-l.Gone():
				t.Fatal("gone within its bounds")
			default:
			}
			expect(t, "one more", h.Publish("c", make([]byte, c.payload)), 0)
			<-l.Gone()
			_, err := l.Next(context.Background(), nil)
			se, ok := errors.AsType[*SlowError](err)
			if !ok || !errors.Is(err, ErrSlow) || se.Messages != c.messages || se.Total {
				t.Fatalf("error %v", err)
			}
			s := h.Stats()
			expect(t, "slow and waiting", []any{s.Slow, s.Waiting}, []any{1, 0})
			if !other.Push(Message{}) {
				t.Error("another listener is concerned")
			}
		})
	}
}

// What was taken counts until the owner comes back.
func TestHeldCounts(t *testing.T) {
	h := newHub(t, func(o *Options) { o.MaxMessages = 1 << 20; o.MaxBytes = 10 * (messageCost + 4) })
	l := h.NewListener()
	defer l.Close()
	push := func() bool { return l.Push(Message{Payload: []byte("1234")}) }
	var buf []Message
	for range 3 {
		for range 5 {
			expect(t, "fits", push(), true)
		}
		var err error
		if buf, err = l.Next(context.Background(), buf); err != nil || len(buf) != 5 {
			t.Fatal(len(buf), err)
		}
		expect(t, "waiting", h.Stats().Waiting, 5*(messageCost+4))
	}
	for range 5 {
		expect(t, "fits", push(), true)
	}
	expect(t, "too much", push(), false)
}

// When all together are too many, the largest backlog goes.
func TestTotal(t *testing.T) {
	const size = 1000 - messageCost
	h := newHub(t, func(o *Options) { o.MaxTotal = 10_000 })
	var ls []*Listener
	for i := range 4 {
		l := h.NewListener()
		t.Cleanup(l.Close)
		ls = append(ls, l)
		for range i + 1 {
			l.Push(Message{Payload: make([]byte, size)})
		}
	}
	expect(t, "waiting", h.Stats().Waiting, 10_000)
	ls[0].Push(Message{Payload: make([]byte, size)})
	_, err := ls[3].Next(context.Background(), nil)
	if se, ok := errors.AsType[*SlowError](err); !ok || !se.Total || se.Bytes != 4000 {
		t.Errorf("the largest: %v", err)
	}
	expect(t, "waiting", h.Stats().Waiting, 7000)
	// Publish sheds, too.
	for _, l := range ls[:3] {
		if _, err := l.Subscribe("c"); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "receivers", h.Publish("c", make([]byte, size)), 3)
	expect(t, "waiting", h.Stats().Waiting, 10_000)
	h.Publish("c", make([]byte, size))
	expect(t, "after", []any{h.Stats().Slow, h.Stats().Waiting}, []any{2, 8000})
}

func TestNames(t *testing.T) {
	h := newHub(t, func(o *Options) { o.MaxNames = 2*subscriptionCost + 10; o.MaxTotalNames = 3*subscriptionCost + 15 })
	a, b := h.NewListener(), h.NewListener()
	defer a.Close()
	defer b.Close()
	sub := func(l *Listener, name string) error {
		_, err := l.Subscribe(name)
		return err
	}
	expect(t, "fit", errors.Join(sub(a, "12345"), sub(a, "12346"), sub(a, "12346")), nil)
	if err := sub(a, "x"); !errors.Is(err, ErrTooManyNames) {
		t.Errorf("listener's bound: %v", err)
	}
	expect(t, "fits", sub(b, "12345"), nil)
	if err := sub(b, "x"); !errors.Is(err, ErrTooManyNames) {
		t.Errorf("bound of all: %v", err)
	}
	a.Close()
	expect(t, "after close", sub(b, "x"), nil)
	b.Close()
	s := h.Stats()
	expect(t, "empty", []any{s.Listeners, s.Channels, s.Patterns, h.names}, []any{0, 0, 0, 0})
}

func TestMany(t *testing.T) {
	h := newHub(t)
	l := h.NewListener()
	patterns := 0
	for i := range 100_000 {
		if n, err := l.Subscribe(fmt.Sprint("channel:", i)); n != i+1+patterns || err != nil {
			t.Fatal(n, err)
		}
		if patterns < 20_000 {
			if _, err := l.PSubscribe(fmt.Sprint("pattern:", i, ":*")); err != nil {
				t.Fatal(err)
			}
			patterns++
		}
	}
	expect(t, "published", h.Publish("channel:777", nil), 1)
	expect(t, "published", h.Publish("pattern:777:x", nil), 1)
	expect(t, "stats", h.Stats().Channels+h.Stats().Patterns, 120_000)
	l.Close()
	expect(t, "stats", h.Stats().Channels+h.Stats().Patterns, 0)
	expect(t, "published", h.Publish("channel:777", nil), 0)
}

func TestPublishToNobodyAllocatesNothing(t *testing.T) {
	h := newHub(t)
	l := h.NewListener()
	defer l.Close()
	if _, err := l.PSubscribe("other*"); err != nil {
		t.Fatal(err)
	}
	msg := []byte("x")
	if n := testing.AllocsPerRun(100, func() { h.Publish("nobody", msg) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Many publish while listeners come, take and go. Each sees the messages of one
// publisher in order and without a gap from the first one on.
func TestConcurrent(t *testing.T) {
	h := newHub(t)
	const publishers, messages, listeners = 4, 500, 8
	var wg, ready sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ready.Add(listeners)
	for i := range listeners {
		wg.Go(func() {
			l := h.NewListener()
			defer l.Close()
			names := []func() (int, error){
				func() (int, error) { return l.Subscribe("c") },
				func() (int, error) { return l.PSubscribe("?") },
			}
			_, err := names[i%2]()
			ready.Done()
			next := make([]int, publishers)
			var buf []Message
			for got := 0; got < publishers*messages && err == nil; {
				buf, err = l.Next(ctx, buf)
				for _, m := range buf {
					var p, n int
					if _, serr := fmt.Sscanf(string(m.Payload), "%d %d", &p, &n); serr != nil || next[p] != n {
						t.Errorf("publisher %d: %d, want %d, %v", p, n, next[p], serr)
						return
					}
					next[p] = n + 1
					got++
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	ready.Wait()
	for p := range publishers {
		wg.Go(func() {
			for n := range messages {
				if got := h.Publish("c", fmt.Appendf(nil, "%d %d", p, n)); got > listeners {
					t.Errorf("%d receivers", got)
				}
				x := h.NewListener()
				_, _ = x.Subscribe("other")
				h.Publish("other", nil)
				x.Close()
			}
		})
	}
	wg.Wait()
	s := h.Stats()
	expect(t, "rest", []any{s.Listeners, s.Channels, s.Patterns, s.Waiting, s.Slow}, []any{0, 0, 0, 0, 0})
}

func TestOptions(t *testing.T) {
	_, err := NewHub(Options{MaxBytes: -1, MaxMessages: -1, MaxTotal: -1, MaxNames: -1, MaxTotalNames: -1, MaxMatchSteps: -1})
	if err == nil || strings.Count(err.Error(), "must be positive") != 6 {
		t.Errorf("faults: %v", err)
	}
}

func BenchmarkPublishNobody(b *testing.B) {
	h, err := NewHub(Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		h.Publish("nobody", nil)
	}
}
