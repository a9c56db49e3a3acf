package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// startTile38 runs a Tile38, as a server of which only the clients' side is used.
// Its directory is where its log is.
func startTile38(t *testing.T, dir string) *server {
	t.Helper()
	program := os.Getenv("TILE38_SERVER")
	if program == "" {
		t.Skip("SKIPPED, NOTHING TESTED: TILE38_SERVER does not name a Tile38 server")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	s := &server{t: t, dir: dir, addr: addr}
	s.again38(program)
	s.rdb = redis.NewClient(&redis.Options{
		Addr: addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1, PoolSize: 20, ReadTimeout: patience, WriteTimeout: patience,
	})
	t.Cleanup(func() {
		_ = s.rdb.Close()
		s.kill()
		if t.Failed() {
			t.Logf("Tile38 at %s printed:\n%s", addr, s.log)
		}
	})
	s.answers()
	return s
}

// again38 runs the program at the address, after kill.
func (s *server) again38(program string) {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.addr)
	s.log, s.ended = &syncBuffer{}, make(chan struct{})
	s.cmd = exec.Command(program, "-h", host, "-p", port, "-d", s.dir)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	cmd, ended := s.cmd, s.ended
	go func() { _ = cmd.Wait(); close(ended) }()
}

// revive runs a killed Tile38 again.
func (s *server) revive() {
	s.t.Helper()
	s.again38(os.Getenv("TILE38_SERVER"))
	s.answers()
}

func (s *server) answers() {
	s.t.Helper()
	s.waitFor("an answer to PING", func() bool {
		return s.rdb.Do(context.Background(), "PING").Err() == nil
	})
}

// content is everything that a client can see of a server's data, but times to
// live.
func (s *server) content() (string, error) {
	ctx := context.Background()
	var b strings.Builder
	keys, err := s.rdb.Do(ctx, "KEYS", "*").StringSlice()
	if err != nil {
		return "", err
	}
	for _, key := range keys {
		for cursor := int64(0); ; {
			v, err := s.rdb.Do(ctx, "SCAN", key, "CURSOR", cursor, "LIMIT", 5000).Slice()
			if err != nil {
				return "", err
			}
			fmt.Fprintln(&b, key, v[1])
			if cursor, _ = v[0].(int64); cursor == 0 {
				break
			}
		}
	}
	for _, list := range []string{"HOOKS", "CHANS"} {
		v, err := s.rdb.Do(ctx, list, "*").Slice()
		if err != nil {
			return "", err
		}
		for _, hook := range v { // but not for how long
			words, _ := hook.([]any)
			fmt.Fprintln(&b, words[:min(4, len(words))])
		}
	}
	return b.String(), nil
}

// member is a member of SERVER.
func (s *server) member(name string) string {
	all, err := s.rdb.Do(context.Background(), "SERVER").StringSlice()
	if i := slices.Index(all, name); err == nil && i >= 0 && i+1 < len(all) {
		return all[i+1]
	}
	return ""
}

// alike waits until the follower has what the leader has, and says that it has.
func alike(t *testing.T, leader, follower *server) {
	t.Helper()
	var want, got string
	var werr, gerr error
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		want, werr = leader.content()
		got, gerr = follower.content()
		if werr == nil && gerr == nil && want == got && follower.member("caught_up") == "true" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not alike after %s: %v, %v; %d bytes there, %d here; caught_up %q; leader %s objects, follower %s",
				patience, werr, gerr, len(want), len(got), follower.member("caught_up"), leader.member("num_objects"), follower.member("num_objects"))
		}
	}
}

// shrink38 has a Tile38 shrink its log and waits until the new one is in place.
func (s *server) shrink38() {
	s.t.Helper()
	name := filepath.Join(s.dir, "appendonly.aof")
	before, err := os.Stat(name)
	if err != nil {
		s.t.Fatal(err)
	}
	s.words("AOFSHRINK")
	s.waitFor("the new file", func() bool {
		now, err := os.Stat(name)
		return err == nil && !os.SameFile(before, now)
	})
}

// traffic writes to a server until the test says stop.
func (s *server) traffic(n int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			p := s.rdb.Pipeline()
			for range 20 {
				p.Do(ctx, "SET", "fleet", fmt.Sprintf("p%07d", rand.IntN(n)), "FIELD", "n", rand.IntN(90), "POINT", rand.Float64()*80, rand.Float64()*80)
			}
			p.Do(ctx, "DEL", "fleet", fmt.Sprintf("p%07d", rand.IntN(n)))
			_, _ = p.Exec(ctx) // deletes may find nothing
			time.Sleep(time.Millisecond)
		}
	})
	return func() { cancel(); wg.Wait() }
}

const (
	someHook = "SETHOOK h http://127.0.0.1:1/x NEARBY other FENCE POINT 1 2 100" // messages to nobody slow a Tile38 down
	someChan = "SETCHAN c META a b EX 1000 WITHIN other FENCE BOUNDS 1 1 2 2"
)

// TestFollowTile38Shrinks: AOFSHRINKs under load make the follower read little,
// and nothing is read anew.
func TestFollowTile38Shrinks(t *testing.T) {
	lead := startTile38(t, t.TempDir())
	lead.fill("fleet", 30000)
	lead.words(someHook)
	lead.words(someChan)
	f := start(t, t.TempDir(), "--follow", lead.addr)
	alike(t, lead, f)
	before := f.status().Follower.BytesReceived
	stop := lead.traffic(30000)
	for range 3 {
		time.Sleep(300 * time.Millisecond) // so that there is something to shrink
		lead.shrink38()
	}
	stop()
	alike(t, lead, f)
	st := f.status().Follower
	if st.FullResyncs != 0 || st.ContinueResyncs < 4 {
		t.Errorf("%d full resyncs, %d continued, want 0 and 4", st.FullResyncs, st.ContinueResyncs)
	}
	info, err := os.Stat(filepath.Join(lead.dir, "appendonly.aof"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("three shrinks under load: %d bytes read, the leader's file has %d", st.BytesReceived-before, info.Size())
	if !st.DigestEqual || !f.status().Ready {
		t.Errorf("%+v", f.status())
	}
}

// TestFollowTile38Away: whatever happens while the follower is away, or dead, it
// has the leader's data afterwards; no ghosts.
func TestFollowTile38Away(t *testing.T) {
	lead, dir := startTile38(t, t.TempDir()), t.TempDir()
	lead.fill("fleet", 20000)
	lead.words("SET other x EX 5000 POINT 1 1")
	lead.words(someHook)
	f := start(t, dir, "--listen", "127.0.0.1:0")
	f.words("SET ghost own POINT 1 1")
	host, port, _ := net.SplitHostPort(lead.addr)
	f.do("FOLLOW", host, port)
	alike(t, lead, f)
	f.kill()
	for i := range 5000 {
		lead.do("DEL", "fleet", fmt.Sprintf("p%07d", i))
	}
	lead.words("DELHOOK h")
	lead.words("DROP other")
	lead.words(someChan)
	lead.shrink38()
	size := f.logBytes()
	f = start(t, dir)
	alike(t, lead, f)
	if grown := f.logBytes() - size; grown > 400<<10 {
		t.Errorf("the own log grew by %d bytes for 5000 deletions", grown)
	}
	// The leader is killed in the middle of traffic, loses nothing of what it wrote,
	// and comes back with the same file.
	stop := lead.traffic(20000)
	time.Sleep(200 * time.Millisecond)
	lead.kill()
	stop()
	lead.revive()
	alike(t, lead, f)
	// Both die; the leader comes back with nothing.
	f.kill()
	lead.kill()
	if err := os.Remove(filepath.Join(lead.dir, "appendonly.aof")); err != nil {
		t.Fatal(err)
	}
	lead.revive()
	lead.words("SET new x POINT 1 1")
	f = start(t, dir)
	alike(t, lead, f)
	f.words("FOLLOW no one")
	f.words("SET new y POINT 1 1")
}

// logBytes is the size of the own log's files.
func (s *server) logBytes() (n int64) {
	files, _ := filepath.Glob(filepath.Join(s.dir, "*.aof"))
	for _, f := range files {
		if st, err := os.Stat(f); err == nil {
			n += st.Size()
		}
	}
	return n
}

// TestTile38FollowsUs: a real follower stays connected through our compactions, and
// has our data after every absence, though it keeps its old state when it begins
// anew.
func TestTile38FollowsUs(t *testing.T) {
	lead, dir := start(t, t.TempDir()), t.TempDir()
	lead.fill("fleet", 20000) // more than the 512 KiB that it compares
	lead.words(someHook)
	via := newRelay(t, lead.addr)
	host, port, _ := net.SplitHostPort(via.addr())
	f := startTile38(t, dir)
	f.words("SET ghost own POINT 1 1")
	f.do("FOLLOW", host, port)
	alike(t, lead, f)
	stop := lead.traffic(20000)
	for range 2 {
		time.Sleep(200 * time.Millisecond)
		lead.words("AOFSHRINK")
	}
	stop()
	alike(t, lead, f)
	if n := via.accepted(); n != 2 { // FOLLOW asks first
		t.Errorf("%d connections: a compaction was noticed", n)
	}
	away := func(what string, meanwhile func()) {
		t.Helper()
		t.Log(what)
		f.kill()
		meanwhile()
		f.revive()
		alike(t, lead, f)
	}
	compact := func() {
		t.Helper()
		lead.words("AOFSHRINK")
		lead.waitFor("the end of the compaction", func() bool {
			return !strings.Contains(fmt.Sprint(lead.words("INFO persistence")), "aof_rewrite_in_progress:1")
		})
	}
	away("a few writes", func() { lead.fill("fleet", 50) })
	away("deletes and a compaction", func() {
		for i := range 5000 {
			lead.do("DEL", "fleet", fmt.Sprintf("p%07d", i))
		}
		lead.words("DELHOOK h")
		compact()
	})
	away("nothing", func() {})
	away("everything", func() { lead.words("FLUSHDB"); lead.words("SET few x POINT 1 1"); compact() })
	away("a short log", func() { lead.words("SET few y POINT 1 1"); lead.words("DEL few x"); compact() })
}
