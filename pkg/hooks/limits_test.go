package hooks

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"evenkeel/internal/clock"
	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
)

// The hook that holds most loses its oldest messages.
func TestMaxBytes(t *testing.T) {
	box := newInbox()
	var log logBuffer
	q := open(t, t.TempDir(), withLocal(box), logTo(&log), func(o *Options) { o.MaxBytes = 100 * minWeight; o.SegmentBytes = 1000 })
	q.SetHook("much", []string{"local://much"})
	q.SetHook("little", []string{"local://little"})
	add(t, q, "little", numbers(0, 10)...)
	for i := range 300 {
		add(t, q, "much", fmt.Sprint(i))
		eventually(t, "room", func() bool { return q.Stats().Waiting <= 100 })
	}
	s := q.Stats()
	kept := int(s.Waiting) - 10
	expect(t, "dropped", s.Dropped["room"], 300-kept)
	if kept < 80 {
		t.Errorf("%d are kept", kept)
	}
	eventually(t, "logged", func() bool { return log.count("reason=room") > 0 })
	start(t, q)
	expect(t, "little", box.wait(t, "little", 10), numbers(0, 10))
	expect(t, "much", box.wait(t, "much", kept), numbers(300-kept, 300))
}

// A message that is dropped while it is sent takes no other one with it.
func TestDroppedWhileSent(t *testing.T) {
	box := newInbox()
	begun, end := make(chan struct{}, 1), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if string(b) == "0" {
			begun <- struct{}{}
			<-end
		}
		box.Publish("x", b)
	}))
	defer s.Close()
	q := open(t, t.TempDir(), func(o *Options) { o.MaxBytes = 100 * minWeight })
	q.SetHook("h", []string{s.URL})
	start(t, q)
	add(t, q, "h", "0")
	<-begun
	add(t, q, "h", numbers(1, 105)...)
	eventually(t, "room", func() bool { return q.Stats().Dropped["room"] > 0 })
	close(end)
	drained(t, q)
	dropped := int(q.Stats().Dropped["room"]) // with the one that was sent
	expect(t, "messages", box.list("x"), append([]string{"0"}, numbers(dropped, 105)...))
}

func TestLevel(t *testing.T) {
	for _, c := range []struct {
		weights string
		excess  int64
		want    string
	}{
		{"100 50 10", 30, "70 1"}, {"100 50 10", 50, "50 1"}, {"100 50 10", 60, "45 2"},
		{"100 100", 20, "90 2"}, {"100", 500, "0 1"}, {"", 5, "0 0"}, {"30 20 10", 59, "0 3"},
	} {
		var all []holder
		for _, w := range strings.Fields(c.weights) {
			var n int64
			if _, err := fmt.Sscan(w, &n); err != nil {
				t.Fatal(err)
			}
			all = append(all, holder{weight: n})
		}
		level, n := levelOf(all, c.excess)
		expect(t, c.weights, fmt.Sprint(level, " ", n), c.want)
	}
}

func TestMaxAge(t *testing.T) {
	box, fake := newInbox(), clock.NewFake(time.Unix(1_700_000_000, 0))
	q := open(t, t.TempDir(), withLocal(box), func(o *Options) { o.MaxAge = time.Minute; o.Clock = fake })
	q.SetHook("dead", []string{"http://127.0.0.1:1/"})
	q.SetHook("never", []string{"kafka://h/t"})
	for range 3 {
		add(t, q, "dead", "x")
		add(t, q, "never", "x")
		fake.Advance(25 * time.Second)
	}
	eventually(t, "the oldest are dropped", func() bool { return q.Stats().Dropped["age"] == 2 })
	s := q.Stats()
	expect(t, "rest", []any{s.Waiting, s.Oldest}, []any{4, 50 * time.Second})
	start(t, q)
	eventually(t, "it was tried", func() bool { return q.Stats().Retrying == 1 })
	fake.Advance(time.Hour)
	eventually(t, "all are dropped", func() bool { return q.Stats().Dropped["age"] == 6 })
	q.SetHook("dead", []string{"local://x"})
	add(t, q, "dead", "new")
	expect(t, "messages", box.wait(t, "x", 1), []string{"new"})
	q.clockRuns(fake, t)
}

// clockRuns lets a fake clock run until the queue is stopped.
func (q *Queue) clockRuns(fake *clock.Fake, t *testing.T) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(time.Millisecond):
				fake.Advance(time.Second)
			}
		}
	}()
	stop(t, q)
	close(end)
	<-ended
}

func TestMaxMessageAndPending(t *testing.T) {
	disk := fsxtest.New(fsx.OS{})
	q := open(t, t.TempDir(), func(o *Options) { o.FS = disk; o.MaxMessage = 100; o.MaxPending = 1000 })
	q.SetHook("a", nil)
	add(t, q, "a", strings.Repeat("x", 100), strings.Repeat("x", 101))
	expect(t, "large", q.Stats().Dropped["large"], 1)
	disk.FailOp(fsxtest.OpWrite, syscall.EIO)
	for range 20 {
		q.Append("a", make([]byte, 100))
		if err := q.Commit(bg); err == nil {
			t.Fatal("it was written")
		}
	}
	s := q.Stats()
	expect(t, "dropped", s.Dropped["pending"], 13) // a record has 126 bytes
	if s.Pending > 1000 || s.Writable {
		t.Errorf("%d pending, writable %v", s.Pending, s.Writable)
	}
	disk.FailOp("", nil)
	eventually(t, "healed", func() bool { return q.Stats().Writable })
	expect(t, "waiting and dropped", q.Stats().Waiting+int64(q.Stats().Dropped["pending"]), 21)
}

// A hook that is never delivered to does not keep the files of the others.
func TestFilesAreCleaned(t *testing.T) {
	dir, box := t.TempDir(), newInbox()
	set := func(o *Options) { o.Local = box; o.SegmentBytes = 4096 }
	q := open(t, dir, set)
	q.SetHook("dead", []string{"kafka://h/t"})
	q.SetHook("busy", []string{"local://busy"})
	start(t, q)
	n := 0
	for round := range 40 {
		add(t, q, "dead", fmt.Sprint(round))
		for range 20 {
			add(t, q, "busy", fmt.Sprint(n, strings.Repeat("x", 200)))
			n++
		}
		box.wait(t, "busy", n)
	}
	eventually(t, "cleaned", func() bool { return q.Stats().Disk < 12*4096 })
	s := q.Stats()
	if s.Moved == 0 || s.Waiting != 40 {
		t.Errorf("moved %d, waiting %d", s.Moved, s.Waiting)
	}
	check := func(dir string) {
		after := newInbox()
		p := open(t, dir, func(o *Options) { o.Local = after; o.SegmentBytes = 4096 })
		p.SetHook("dead", []string{"local://dead"})
		p.SetHook("busy", []string{"local://busy"})
		start(t, p)
		expect(t, "dead", after.wait(t, "dead", 40), numbers(0, 40))
		drained(t, p)
		stop(t, p)
	}
	eventually(t, "acks are written", q.quiet)
	check(clone(t, dir))
	stop(t, q)
	check(dir)
}

// Little memory: messages are read from the disk.
func TestMaxMemory(t *testing.T) {
	box := newInbox()
	q := open(t, t.TempDir(), withLocal(box), func(o *Options) { o.MaxMemory = 5000; o.SegmentBytes = 10_000 })
	hooks := numbers(0, 20)
	for i := range 50 {
		for _, h := range hooks {
			if i == 0 {
				q.SetHook(h, []string{"local://" + h})
			}
			q.Append(h, fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", 100)))
		}
		commit(t, q)
	}
	if m := q.Stats().Memory; m > 5000 {
		t.Errorf("%d bytes in memory", m)
	}
	start(t, q)
	for _, h := range hooks {
		for i, m := range box.wait(t, h, 50) {
			if n, _, _ := strings.Cut(m, " "); n != fmt.Sprint(i) {
				t.Fatalf("hook %s: message %d is %s", h, i, n)
			}
		}
	}
	drained(t, q)
	eventually(t, "nothing is held", func() bool { return q.Stats().Memory == 0 })
}

// Everything at once, for the race detector; each hook's messages in order.
func TestConcurrent(t *testing.T) {
	dir, box := t.TempDir(), newInbox()
	q := open(t, dir, withLocal(box), func(o *Options) { o.SegmentBytes = 2000; o.MaxMemory = 2000; o.MaxSenders = 3 })
	for _, h := range numbers(0, 8) {
		q.SetHook(h, []string{"http://127.0.0.1:1/", "local://" + h})
	}
	start(t, q)
	var wg sync.WaitGroup
	for h := range 8 {
		wg.Go(func() {
			for i := range 100 {
				q.Append(fmt.Sprint(h), []byte(fmt.Sprint(i)))
				if err := q.Commit(bg); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 50 {
			q.Pause()
			name := fmt.Sprint("temporary", i)
			q.SetHook(name, []string{"local://t"})
			q.Append(name, []byte("x"))
			q.Stats()
			q.Resume()
			q.RemoveHook(name)
		}
	})
	wg.Wait()
	for _, h := range numbers(0, 8) {
		expect(t, "hook "+h, box.wait(t, h, 100), numbers(0, 100))
	}
	drained(t, q)
	stop(t, q)
	q = open(t, dir)
	expect(t, "after", q.Stats().Waiting, 0)
}
