package shrink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evenkeel/internal/testkit"
	"evenkeel/pkg/tile38"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testBlock = 4 << 10 // of played followers
	realBlock = 512 << 10
)

// world is what a test runs in: played servers with small blocks, or real ones with
// as many objects as make their logs longer than a block.
type world struct {
	*testing.T
	start func() testkit.Machine
	n     int // objects
	block int64
	real  bool
}

func each(t *testing.T, test func(w *world)) {
	t.Helper()
	t.Run("played", func(t *testing.T) {
		test(&world{T: t, n: 400, block: testBlock, start: func() testkit.Machine {
			return testkit.NewServer(t, testkit.ServerOptions{Block: testBlock})
		}})
	})
	t.Run("real", func(t *testing.T) {
		testkit.Binary(t)
		test(&world{T: t, n: 12_000, block: realBlock, real: true, start: func() testkit.Machine { return testkit.NewProcess(t) }})
	})
}

// user is a client.
type user struct {
	*world
	m testkit.Machine
	l *link
}

func (w *world) user(m testkit.Machine) user {
	l := newLink(tile38.Options{Addr: m.Address()})
	w.Cleanup(l.close)
	return user{w, m, l}
}

func (u user) do(args ...string) string {
	u.Helper()
	v, err := u.l.do(context.Background(), args...)
	if err != nil && !answered(err) {
		u.Fatalf("%q: %v", args, err)
	}
	if err != nil {
		return err.Error()
	}
	return v.String()
}

func (u user) fill(n int) {
	u.Helper()
	for i := range n {
		u.do("SET", "fleet", fmt.Sprintf("truck%06d", i), "FIELD", "speed", fmt.Sprint(i%90), "POINT", fmt.Sprint(i%80), fmt.Sprint(i%170))
	}
}

func (u user) follow(m testkit.Machine) {
	u.Helper()
	host, port, _ := net.SplitHostPort(m.Address())
	if got := u.do("FOLLOW", host, port); got != "OK" {
		u.Fatalf("FOLLOW: %s", got)
	}
}

func (u user) server() map[string]string {
	m, err := u.l.server(context.Background())
	if err != nil {
		return map[string]string{}
	}
	return m
}

func (w *world) until(what string, ok func() bool) {
	w.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("not %s", what)
		}
	}
}

// objects returns all of the collection fleet, as SCAN shows it.
func (u user) objects() string {
	var b strings.Builder
	for at := 0; ; at += 500 {
		page := u.do("SCAN", "fleet", "CURSOR", strconv.Itoa(at), "LIMIT", "500")
		_, items, ok := strings.Cut(page, "\r\n")
		if !ok || strings.HasPrefix(items, "*0") {
			return b.String()
		}
		b.WriteString(items)
	}
}

// level waits until a follower has what its leader has.
func (u user) level(lead user) {
	u.Helper()
	u.until("level", func() bool {
		f, l := u.server(), lead.server()
		return f["caught_up"] == "true" && number(f, "aof_size") >= number(l, "aof_size")
	})
}

// target is one with short waits.
func (w *world) target(m testkit.Machine, change func(*TargetOptions)) *Target {
	w.Helper()
	o := TargetOptions{
		Engine: tile38.Options{Addr: m.Address()}, Poll: 10 * time.Millisecond, Grace: 200 * time.Millisecond, Timeout: 20 * time.Second,
		OnError: func(err error) { w.Logf("told: %v", err) },
	}
	if change != nil {
		change(&o)
	}
	t, err := NewTarget(o)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(t.Close)
	return t
}

// coordinator is one with short waits.
func (w *world) coordinator(t *Target, change func(*Options)) *Coordinator {
	w.Helper()
	o := Options{
		Target: t, Block: w.block, Stall: 15 * time.Second, Pause: 50 * time.Millisecond, Settle: 100 * time.Millisecond,
		Look:   LookOptions{Pause: 60 * time.Millisecond, Slack: -1},
		OnStep: func(s Step) { w.Log(s) },
	}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// pair is a leader and a follower that has what it has.
func (w *world) pair() (lead, fol user) {
	w.Helper()
	lead, fol = w.user(w.start()), w.user(w.start())
	lead.fill(w.n)
	fol.follow(lead.m)
	fol.level(lead)
	return lead, fol
}

// haunt deletes the last objects while the follower is away, and rewrites the log:
// the follower keeps them.
func (w *world) haunt(lead, fol user, ghosts int) {
	w.Helper()
	fol.m.Stop()
	for i := w.n - ghosts; i < w.n; i++ {
		lead.do("DEL", "fleet", fmt.Sprintf("truck%06d", i))
	}
	if _, err := w.target(lead.m, nil).Compact(context.Background()); err != nil {
		w.Fatal(err)
	}
	fol.m.Start()
	fol.level(lead)
}

// same fails unless the follower is its leader's equal, in file and counts.
func (w *world) same(lead, fol user) {
	w.Helper()
	l, f := lead.server(), fol.server()
	for _, name := range []string{"aof_size", "num_objects", "num_points", "num_strings", "num_hooks", "num_collections"} {
		if l[name] != f[name] {
			w.Errorf("%s: %s, the leader has %s", name, f[name], l[name])
		}
	}
	a, err1 := os.ReadFile(lead.m.File())
	b, err2 := os.ReadFile(fol.m.File())
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(a, b) {
		w.Errorf("the logs have %d and %d bytes and differ (%v)", len(b), len(a), err)
	}
}

func stateFile(t *testing.T) string { return filepath.Join(t.TempDir(), "shrink.json") }
