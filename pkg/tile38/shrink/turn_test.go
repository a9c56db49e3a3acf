package shrink

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"evenkeel/internal/testkit"
	"evenkeel/pkg/tile38"
)

func (w *world) turns(m testkit.Machine, pod string, change func(*TurnOptions)) *Turns {
	w.Helper()
	o := TurnOptions{Leader: tile38.Options{Addr: m.Address()}, Pod: pod, TTL: time.Second, Every: 10 * time.Millisecond, Wait: 20 * time.Second}
	if change != nil {
		change(&o)
	}
	t, err := NewTurns(o)
	if err != nil {
		w.Fatal(err)
	}
	return t
}

// TestTurns: as many at once as there are slots, and each gets its turn.
func TestTurns(t *testing.T) {
	each(t, func(w *world) {
		lead := w.start()
		const slots, pods = 2, 5
		var mu sync.Mutex
		now, most, served := 0, 0, 0
		var wg sync.WaitGroup
		for i := range pods {
			tu := w.turns(lead, string(rune('a'+i)), func(o *TurnOptions) { o.Slots = slots })
			wg.Go(func() {
				done, err := tu.Take(context.Background())
				if err != nil {
					w.Error(err)
					return
				}
				mu.Lock()
				now++
				served++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(50 * time.Millisecond)
				mu.Lock()
				now--
				mu.Unlock()
				done()
			})
		}
		wg.Wait()
		if most != slots || served != pods {
			w.Errorf("%d at once, %d served", most, served)
		}
		if got := w.user(lead).do("KEYS", "*"); strings.Contains(got, "evenkeel") {
			w.Errorf("left behind: %q", got)
		}
	})
}

// TestTurnRunsOut: one that is kept is renewed, one whose pod has died is given on.
func TestTurnRunsOut(t *testing.T) {
	each(t, func(w *world) {
		lead := w.start()
		u := w.user(lead)
		done, err := w.turns(lead, "a", nil).Take(context.Background())
		if err != nil {
			w.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2500*time.Millisecond)
		defer cancel()
		if _, err := w.turns(lead, "b", nil).Take(ctx); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("a second turn: %v", err)
		}
		done()
		u.do("SET", DefaultKey, "turn:0", "EX", "1", "STRING", "dead")
		begin := time.Now()
		if done, err = w.turns(lead, "b", nil).Take(context.Background()); err != nil || time.Since(begin) < 500*time.Millisecond {
			w.Errorf("a dead pod's turn after %v: %v", time.Since(begin), err)
		}
		// It is taken away.
		u.do("SET", DefaultKey, "turn:0", "STRING", "thief")
		done()
		if got := u.do("GET", DefaultKey, "turn:0"); got != "thief" {
			w.Errorf("another's turn was given back: %q", got)
		}
	})
}

// TestNoTurn: without a leader, or with one who keeps it for ever, one goes on alone.
func TestNoTurn(t *testing.T) {
	srv := testkit.NewServer(t, testkit.ServerOptions{})
	w := &world{T: t}
	srv.Do("SET " + DefaultKey + " turn:0 STRING x")
	for _, stop := range []bool{false, true} {
		if stop {
			srv.Stop()
		}
		var told []error
		done, err := w.turns(srv, "a", func(o *TurnOptions) {
			o.Wait, o.OnError = 100*time.Millisecond, func(err error) { told = append(told, err) }
		}).Take(context.Background())
		if err != nil || len(told) == 0 || !strings.Contains(told[len(told)-1].Error(), "alone") {
			t.Fatalf("%v, told %v", err, told)
		}
		done()
	}
}

func TestBeats(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	n, told := 0, 0
	Beats(ctx, time.Millisecond, func(context.Context) error {
		if n++; n == 3 {
			cancel()
		}
		if n == 2 {
			return errors.New("no")
		}
		return nil
	}, func(error) { told++ })
	if n != 3 || told != 1 {
		t.Errorf("%d heartbeats, told %d", n, told)
	}
}
