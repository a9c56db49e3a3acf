package shrink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/internal/testkit"
	"evenkeel/pkg/compactor"
)

// breakShrink lets AOFSHRINK of a machine fail until mend.
func breakShrink(w *world, m testkit.Machine) (mend func()) {
	if s, ok := m.(*testkit.Server); ok {
		s.FailShrinks(true)
		return func() { s.FailShrinks(false) }
	}
	dir := m.File() + "-shrink"
	if err := os.MkdirAll(filepath.Join(dir, "x"), 0o755); err != nil {
		w.Fatal(err)
	}
	return func() { _ = os.RemoveAll(dir) }
}

func TestRewrite(t *testing.T) {
	each(t, func(w *world) {
		w.n = 500
		lead := w.user(w.start())
		lead.fill(w.n)
		for range 3 {
			lead.fill(w.n)
		}
		var beats atomic.Int32
		state := stateFile(w.T)
		target := w.target(lead.m, func(o *TargetOptions) {
			o.State, o.Dir = state, filepath.Dir(lead.m.File())
			o.Beat = func(context.Context) error { beats.Add(1); return nil }
		})
		f := target.Facts()
		if f.LogBytes != number(lead.server(), "aof_size") || f.BaseBytes != f.LiveBytes || f.FreeBytes <= 0 || f.LiveBytes < f.LogBytes/8 || f.LiveBytes > f.LogBytes {
			w.Errorf("at first: %+v", f)
		}
		r, err := target.Compact(context.Background())
		if err != nil || r.BytesBefore != f.LogBytes || r.BytesAfter >= r.BytesBefore || r.Objects != 500 || beats.Load() != 2 {
			w.Fatalf("%+v, %v, %d heartbeats", r, err, beats.Load())
		}
		after := target.Facts()
		if after.BaseBytes != r.BytesAfter || after.LogBytes != r.BytesAfter || after.LiveBytes != r.BytesAfter {
			w.Errorf("afterwards: %+v", after)
		}
		lead.fill(w.n)
		if again := w.target(lead.m, func(o *TargetOptions) { o.State = state }).Facts(); again.BaseBytes != r.BytesAfter || again.LogBytes <= after.LogBytes {
			w.Errorf("another sidecar: %+v", again)
		}
		// Somebody else rewrites it.
		target.Facts()
		if _, err := w.target(lead.m, nil).Compact(context.Background()); err != nil {
			w.Fatal(err)
		}
		if f := target.Facts(); f.BaseBytes != f.LogBytes {
			w.Errorf("after another's rewrite: %+v", f)
		}
	})
}

// TestRewriteFails: OK proves nothing.
func TestRewriteFails(t *testing.T) {
	each(t, func(w *world) {
		w.n = 300
		lead := w.user(w.start())
		lead.fill(w.n)
		lead.fill(w.n)
		mend := breakShrink(w, lead.m)
		target := w.target(lead.m, nil)
		r, err := target.Compact(context.Background())
		if !errors.Is(err, ErrNoSwap) || !strings.Contains(err.Error(), "disk full") || r.BytesAfter != 0 {
			w.Errorf("%+v, %v", r, err)
		}
		if got := lead.do("AOFSHRINK"); got != "OK" {
			w.Errorf("the engine itself: %s", got)
		}
		mend()
		if _, err := target.Compact(context.Background()); err != nil {
			w.Error(err)
		}
	})
}

func TestHeld(t *testing.T) {
	srv := testkit.NewServer(t, testkit.ServerOptions{Block: testBlock})
	w := &world{T: t, n: 100}
	lead := w.user(srv)
	lead.fill(w.n)
	// It ends when ctx does.
	srv.HoldShrink()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := w.target(srv, nil).Compact(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	// One that runs is waited for.
	time.AfterFunc(50*time.Millisecond, srv.ReleaseShrink)
	target := w.target(srv, nil)
	if _, err := target.Compact(context.Background()); err != nil || srv.Shrinks() != 1 {
		t.Errorf("joined: %v, %d rewrites", err, srv.Shrinks())
	}
	// It takes too long.
	srv.HoldShrink()
	if _, err := w.target(srv, func(o *TargetOptions) { o.Timeout = 100 * time.Millisecond }).Compact(context.Background()); !errors.Is(err, ErrTimeout) {
		t.Errorf("too long: %v", err)
	}
	// Facts are there meanwhile.
	done := make(chan error)
	go func() {
		_, err := target.Compact(context.Background())
		done <- err
	}()
	if f := target.Facts(); f.LogBytes == 0 {
		t.Errorf("during a rewrite: %+v", f)
	}
	srv.ReleaseShrink()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRestartedMeanwhile(t *testing.T) {
	srv := testkit.NewServer(t, testkit.ServerOptions{Block: testBlock})
	w := &world{T: t, n: 100}
	lead := w.user(srv)
	lead.fill(w.n)
	time.Sleep(restartSlack + 100*time.Millisecond) // so that its age tells it from another
	srv.HoldShrink()
	done := make(chan error)
	go func() {
		_, err := w.target(srv, nil).Compact(context.Background())
		done <- err
	}()
	w.until("begun", func() bool {
		m, err := lead.l.table(context.Background(), "SERVER", "EXT")
		return err == nil && m["tile38_aof_rewrite_in_progress"] == "true"
	})
	srv.Restart()
	if err := <-done; !errors.Is(err, ErrRestarted) {
		t.Errorf("%v", err)
	}
	srv.Stop()
	told := 0
	target := w.target(srv, func(o *TargetOptions) { o.OnError = func(error) { told++ } })
	if f := target.Facts(); f.LogBytes != 0 || f.FreeBytes != -1 || told != 1 {
		t.Errorf("without an engine: %+v, told %d", f, told)
	}
	if _, err := target.Compact(context.Background()); err == nil {
		t.Error("a rewrite without an engine")
	}
}

// TestOfACompactor: policy, back-off and score are the compactor's.
func TestOfACompactor(t *testing.T) {
	srv := testkit.NewServer(t, testkit.ServerOptions{Block: testBlock})
	w := &world{T: t, n: 300}
	lead := w.user(srv)
	for range 6 {
		lead.fill(w.n)
	}
	reports := make(chan compactor.Report, 10)
	c, err := compactor.New(compactor.Options{
		Target:   w.coordinator(w.target(srv, nil), nil),
		Policy:   compactor.Policy{MinSize: 1000, Growth: 100, CheckEvery: 10 * time.Millisecond, BackoffMin: time.Millisecond},
		OnFinish: func(r compactor.Report) { reports <- r },
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.FailShrinks(true)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	if r := <-reports; r.Outcome != compactor.Failed || !errors.Is(r.Err, ErrNoSwap) {
		t.Errorf("%+v", r)
	}
	srv.FailShrinks(false)
	var r compactor.Report
	for r = <-reports; r.Outcome == compactor.Failed; r = <-reports {
	}
	if r.Outcome != compactor.OK || r.Origin != compactor.Auto || r.Result.BytesAfter >= r.Result.BytesBefore {
		t.Errorf("%+v", r)
	}
	w.until("nothing to do", func() bool {
		return c.Stats().Decision.Cause == compactor.CauseGrowth || c.Stats().Decision.Cause == compactor.CauseCooldown
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestState(t *testing.T) {
	srv := testkit.NewServer(t, testkit.ServerOptions{Block: testBlock})
	w := &world{T: t, n: 100}
	lead := w.user(srv)
	lead.fill(w.n)
	path := stateFile(t)
	for _, c := range []struct {
		name, content string
		base          func(f compactor.Facts) bool
		told          int
	}{
		{"rubbish", "{]", func(f compactor.Facts) bool { return f.BaseBytes == f.LiveBytes }, 1},
		{"another server", `{"id":"x","bytes":10,"objects":1}`, func(f compactor.Facts) bool { return f.BaseBytes == f.LiveBytes && f.LiveBytes > 1000 }, 0},
		{"this one", fmt.Sprintf(`{"id":%q,"bytes":777,"objects":7}`, srv.ID()), func(f compactor.Facts) bool { return f.BaseBytes == 777 && f.LiveBytes == 11100 }, 0},
		{"smaller than it was", fmt.Sprintf(`{"id":%q,"bytes":99999999,"objects":7}`, srv.ID()), func(f compactor.Facts) bool { return f.BaseBytes == f.LogBytes }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			told := 0
			f := w.target(srv, func(o *TargetOptions) { o.State, o.OnError = path, func(error) { told++ } }).Facts()
			if !c.base(f) || told != c.told {
				t.Errorf("%+v, told %d", f, told)
			}
		})
	}
}
