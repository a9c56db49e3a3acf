package hooks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evenkeel/pkg/aof"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

// patience bounds everything that is waited for.
const patience = time.Minute

type change = func(*Options)

func tryOpen(dir string, changes ...change) (*Queue, error) {
	o := Options{Dir: dir, Fsync: aof.FsyncNo, RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond, AckInterval: time.Millisecond}
	for _, c := range changes {
		c(&o)
	}
	return Open(o)
}

// open opens a queue that the end of the test stops.
func open(t *testing.T, dir string, changes ...change) *Queue {
	t.Helper()
	q, err := tryOpen(dir, changes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, q) })
	return q
}

func stop(t *testing.T, q *Queue) {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, patience)
	defer cancel()
	if err := q.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func start(t *testing.T, q *Queue) {
	t.Helper()
	if err := q.Start(); err != nil {
		t.Fatal(err)
	}
}

func commit(t *testing.T, q *Queue) {
	t.Helper()
	if err := q.Commit(bg); err != nil {
		t.Fatal(err)
	}
}

// add appends and commits messages.
func add(t *testing.T, q *Queue, hook string, msgs ...string) {
	t.Helper()
	for _, m := range msgs {
		q.Append(hook, []byte(m))
	}
	commit(t, q)
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// eventually waits for something that has no event of its own.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(time.Millisecond)
	}
}

func drained(t *testing.T, q *Queue) {
	t.Helper()
	eventually(t, "nothing waits", func() bool { return q.Stats().Waiting == 0 })
}

// inbox is where messages arrive: a Local, and what a web server got.
type inbox struct {
	mu   sync.Mutex
	got  map[string][]string // by channel or path
	more chan struct{}
}

func newInbox() *inbox { return &inbox{got: map[string][]string{}, more: make(chan struct{}, 1)} }

func (b *inbox) Publish(channel string, msg []byte) int {
	b.mu.Lock()
	b.got[channel] = append(b.got[channel], string(msg))
	b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
	return 0
}

func (b *inbox) list(channel string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.got[channel]...)
}

// wait returns the first n messages of a channel.
func (b *inbox) wait(t *testing.T, channel string, n int) []string {
	t.Helper()
	timeout := time.After(patience)
	for {
		if got := b.list(channel); len(got) >= n {
			return got
		}
		select {
		case <-b.more:
		case <-timeout:
			t.Fatalf("%d messages for %s, want %d", len(b.list(channel)), channel, n)
		}
	}
}

// web is a receiver that answers with the statuses one by one, then with 200.
func web(t *testing.T, box *inbox, statuses ...int) string {
	t.Helper()
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		status := http.StatusOK
		if len(statuses) > 0 {
			status, statuses = statuses[0], statuses[1:]
		}
		if status == http.StatusOK || status == http.StatusCreated || status == http.StatusAccepted {
			box.Publish(r.URL.Path, body)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func withLocal(b *inbox) change { return func(o *Options) { o.Local = b } }

// logTo collects what is logged.
func logTo(b *logBuffer) change {
	return func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(b, nil)) }
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// clone copies the files of a queue as they are: what the next process would find
// if this one was killed now.
func clone(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	names, err := filepath.Glob(filepath.Join(dir, filePrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue // removed meanwhile, as it was the oldest
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(name)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}
