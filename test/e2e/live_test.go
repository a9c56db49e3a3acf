package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// wire is a connection that speaks RESP as it stands.
type wire struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (s *server) wire() *wire {
	s.t.Helper()
	c := s.dial()
	return &wire{t: s.t, Conn: c, r: bufio.NewReader(c)}
}

// send sends a command given as one line.
func (w *wire) send(line string) { w.sendArgs(strings.Fields(line)...) }

func (w *wire) sendArgs(args ...string) {
	w.t.Helper()
	text := fmt.Sprintf("*%d\r\n", len(args))
	for _, a := range args {
		text += fmt.Sprintf("$%d\r\n%s\r\n", len(a), a)
	}
	mustSend(w.t, w.Conn, text)
}

// next reads one reply: what is in it, with a blank between the members of an
// array, which begins with its type.
func (w *wire) next() string {
	w.t.Helper()
	text, err := w.read()
	if err != nil {
		w.t.Fatalf("read a reply: %v", err)
	}
	return text
}

func (w *wire) read() (string, error) {
	line, err := w.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	n, err := strconv.Atoi(line[1:])
	switch kind := line[0]; {
	case kind == '$' && err == nil && n >= 0:
		text := make([]byte, n+2)
		_, err := io.ReadFull(w.r, text)
		return string(text[:n]), err
	case strings.IndexByte("*>%", kind) >= 0 && err == nil && n >= 0:
		if kind == '%' {
			n *= 2
		}
		parts := []string{string(kind)}
		for range n {
			part, err := w.read()
			if err != nil {
				return "", err
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, " "), nil
	}
	return line, nil
}

// ask sends a command given as one line and expects an answer.
func (w *wire) ask(line, want string) {
	w.t.Helper()
	w.send(line)
	if got := w.next(); got != want {
		w.t.Fatalf("%s: %s, want %s", line, got, want)
	}
}

// until reads what comes up to and including one that contains mark.
func (w *wire) until(mark string) (got []string) {
	w.t.Helper()
	for {
		got = append(got, w.next())
		if strings.Contains(got[len(got)-1], mark) {
			return got
		}
	}
}

// told is somebody who listens to all channels, and to a live fence.
type told struct{ channels, fence *wire }

func (s *server) tell() told {
	s.t.Helper()
	w := told{s.wire(), s.wire()}
	w.channels.ask("PSUBSCRIBE *", "* psubscribe * :1")
	w.fence.ask("WITHIN k FENCE BOUNDS 0 0 10 10", "+OK")
	return w
}

// scene has things happen that fences have to tell of, and returns what the
// last message of each kind contains.
func scene(l *server, n int) (channels, fence string) {
	id := fmt.Sprintf("a%d", n)
	l.do("SET", "k", id, "FIELD", "n", n, "POINT", 5, 5)
	l.do("SET", "k", "stays", "POINT", 5+float64(n)/1e4, 5)
	l.do("FSET", "k", id, "n", n+1)
	l.do("SET", "k", id, "POINT", 20, 20)
	l.do("EVAL", "tile38.call('SET', 'k', ARGV[1], 'POINT', 6, 6); tile38.call('DEL', 'k', ARGV[1]); return 1", 0, fmt.Sprint("s", n))
	l.do("SET", "k", id, "EX", 0.1, "POINT", 7, 7)
	l.waitFor("an object to go", func() bool { return l.words("EXISTS k "+id) == int64(0) })
	fence = fmt.Sprintf("end%d", n)
	l.do("SET", "k", fence, "POINT", 1, 1)
	channels = fmt.Sprint("the end of scene ", n)
	l.do("PUBLISH", "any", channels)
	return channels, fence
}

var group = regexp.MustCompile(`"group":"[0-9a-f]{24}"`)

// same plays a scene on the leader and compares what is told there and on the
// follower: of channels every byte, of live fences all but the group, for which
// each server has its own numbers.
func same(t *testing.T, when string, n int, l *server, atLeader, atFollower told) {
	t.Helper()
	channels, fence := scene(l, n)
	want, got := atLeader.channels.until(channels), atFollower.channels.until(channels)
	if !slices.Equal(got, want) || len(want) < 10 {
		t.Errorf("%s: channels on the follower:\n%s\non the leader:\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if text := strings.Join(want, "\n"); !strings.Contains(text, `"detect":"roam"`) || !strings.Contains(text, `"detect":"exit"`) ||
		!strings.Contains(text, `"command":"del"`) {
		t.Errorf("%s: not everything happened:\n%s", when, text)
	}
	want, got = atLeader.fence.until(fence), atFollower.fence.until(fence)
	for _, list := range [][]string{want, got} {
		for i := range list {
			list[i] = group.ReplaceAllString(list[i], `"group":""`)
		}
	}
	if !slices.Equal(got, want) || len(want) < 8 {
		t.Errorf("%s: the live fence on the follower:\n%s\non the leader:\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// The second message of the entrance into the area comes before the mark's last.
	for _, w := range []*wire{atLeader.fence, atFollower.fence} {
		if rest := w.next(); !strings.Contains(rest, fence) {
			t.Errorf("%s: behind the entrance of %s comes %s", when, fence, rest)
		}
	}
}

// TestMessagesOnFollower: who listens on a follower is told the same as on the
// leader, through a compaction, a restart and a full resync.
func TestMessagesOnFollower(t *testing.T) {
	t.Parallel()
	l := start(t, t.TempDir(), "--repl-backlog-size", "0", "--segment-size", "64kb")
	via := newRelay(t, l.addr)
	dir := t.TempDir()
	f := start(t, dir, "--follow", via.addr())
	l.words("SETCHAN area WITHIN k FENCE DETECT enter,exit,inside,outside BOUNDS 0 0 10 10")
	l.words("SETCHAN near NEARBY k FENCE ROAM k * 2000000")
	l.words("SET k still POINT 5.5 5.5")
	level(t, l, f)
	atLeader, atFollower := l.tell(), f.tell()
	same(t, "at first", 1, l, atLeader, atFollower)

	l.words("AOFSHRINK")
	l.waitFor("the end of the compaction", func() bool { return strings.Contains(l.log.String(), "compaction done") })
	same(t, "after a compaction", 2, l, atLeader, atFollower)

	f.stop()
	l.words("SET k away POINT 5.6 5.6")
	f = start(t, dir, "--follow", via.addr())
	level(t, l, f)
	atLeader, atFollower = l.tell(), f.tell()
	same(t, "after a restart", 3, l, atLeader, atFollower)

	via.cut()
	l.fill("other", 3000)
	l.words("DEL k away")
	l.words("AOFSHRINK")
	l.waitFor("the end of the compaction", func() bool { return strings.Count(l.log.String(), "compaction done") == 2 })
	l.fill("other", 500)
	via.heal()
	level(t, l, f)
	if st := f.status().Follower; st.FullResyncs != 1 {
		t.Errorf("%d full resyncs, want 1", st.FullResyncs)
	}
	atLeader = l.tell() // the follower's keep their connections, and have missed some
	same(t, "after a full resync", 4, l, atLeader, atFollower)
}

// TestTakesNothing: a subscriber, a live fence and a monitor that read nothing
// are disconnected, counted and logged; writers go on, and memory is bounded.
func TestTakesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "--max-backlog", "4000000", "--aofshrink-min-size", "0")
	s.words("SETCHAN ch WITHIN k FENCE DETECT inside BOUNDS 0 0 10 10")
	text := strings.Repeat("x", 8000)
	s.do("SET", "k", "a", "FIELD", "text", text, "POINT", 5, 5)
	before := s.resident()
	var deaf []*wire
	for _, c := range [][2]string{
		{"SUBSCRIBE ch", "* subscribe ch :1"}, {"WITHIN k FENCE DETECT inside BOUNDS 0 0 10 10", "+OK"}, {"MONITOR", "+OK"},
	} {
		w := s.wire()
		if tcp, ok := w.Conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(64 << 10) // a smaller one of the system's is fine, too
		}
		w.ask(c[0], c[1])
		deaf = append(deaf, w)
	}
	if n := s.metric("evenkeel_listeners"); n != 3 {
		t.Errorf("%v listeners, want 3", n)
	}
	slowest, peak := s.push(text, 10_000)
	s.waitFor("three disconnected clients", func() bool { return s.metric("evenkeel_listeners_slow_total") == 3 })
	s.waitFor("no listeners", func() bool { return s.metric("evenkeel_listeners") == 0 })
	if n := strings.Count(s.log.String(), "a client that does not take its messages was disconnected"); n != 3 {
		t.Errorf("%d lines in the log, want 3", n)
	}
	for i, w := range deaf {
		_ = w.SetDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, w); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("client %d is still connected", i)
		}
	}
	t.Logf("slowest write %s, %d MiB resident, then %d", slowest, before>>20, peak>>20)
	if slowest > 2*time.Second {
		t.Errorf("a write took %s", slowest)
	}
	bound := int64(100 << 20) // without one, three times 80 MB would wait
	if len(buildFlags) > 0 {
		bound *= 5 // the race detector's own memory
	}
	if peak-before > bound {
		t.Errorf("%d MiB resident, %d before", peak>>20, before>>20)
	}
}

// push sets an object with a long text n times and returns how long the slowest
// write took, and the most memory that was resident.
func (s *server) push(text string, n int) (slowest time.Duration, peak int64) {
	s.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := range n / 2 {
				begun := time.Now()
				if err := s.rdb.Do(context.Background(), "SET", "k", w, "FIELD", "text", text, "POINT", 5, 5).Err(); err != nil {
					s.t.Error(err)
					return
				}
				took := time.Since(begun)
				mu.Lock()
				slowest = max(slowest, took)
				if i%500 == 0 {
					peak = max(peak, s.resident())
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return slowest, max(peak, s.resident())
}

// resident returns the process's resident memory in bytes.
func (s *server) resident() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		s.t.Error(err)
		return 0
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		s.t.Error(err)
	}
	return pages * int64(syscall.Getpagesize())
}

// TestStopWithListeners: SIGTERM ends a server whose listeners stay connected,
// and those get what came before.
func TestStopWithListeners(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	w := s.tell()
	m := s.wire()
	m.ask("MONITOR", "+OK")
	s.words("SET k last POINT 5 5")
	s.words("PUBLISH any last")
	begun := time.Now()
	s.stop()
	if took := time.Since(begun); took > 8*time.Second {
		t.Errorf("the shutdown took %s", took)
	}
	w.fence.until(`"id":"last"`)
	w.channels.until("any last")
	m.until(`"PUBLISH" "any" "last"`)
}
