package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"evenkeel/internal/testkit"
)

// TestFollowerForwards: a write to a follower comes to the leader, from each
// transport, and the same client reads it at once.
func TestFollowerForwards(t *testing.T) {
	t.Parallel()
	l := start(t, t.TempDir())
	f := start(t, t.TempDir(), "--follow", l.addr)
	level(t, l, f)
	conn := f.rdb.Conn()
	defer func() { _ = conn.Close() }()
	for i := range 200 {
		if err := conn.Do(t.Context(), "SET", "fleet", i, "STRING", i).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := conn.Do(t.Context(), "GET", "fleet", i).Text(); err != nil || got != fmt.Sprint(i) {
			t.Fatalf("own write %d: %q %v", i, got, err)
		}
	}
	resp, err := http.Get("http://" + f.addr + "/" + url.QueryEscape("SET web a POINT 1 2"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	for _, send := range []string{"SET web b POINT 1 2\r\n", "$19 SET web c POINT 1 2\r\n"} {
		c, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write([]byte(send))
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(strings.ToLower(line), "ok") {
			t.Errorf("%q: %q %v", send, line, err)
		}
		_ = c.Close()
	}
	if got := fmt.Sprint(l.words("SCAN web IDS")); got != "[0 [a b c]]" {
		t.Errorf("the leader has %s", got)
	}
	f.words("SETCHAN zone NEARBY fleet FENCE POINT 1 1 100")
	if got := fmt.Sprint(l.words("CHANS *")); !strings.Contains(got, "zone") {
		t.Errorf("channels of the leader: %s", got)
	}
	if n := f.metric("evenkeel_upstream_forwarded_writes_total"); n != 204 {
		t.Errorf("%v writes were forwarded", n)
	}
	if n := f.metric(`evenkeel_upstream_dials_total{result="ok"}`); n > 4 {
		t.Errorf("%v connections to the leader were made", n)
	}
	// Not with a password that the leader does not know, nor when nothing is forwarded.
	g := start(t, t.TempDir(), "--follow", l.addr, "--write-forwarding=false")
	if got := g.said("SET web d POINT 1 2"); got != "ERR not the leader" {
		t.Errorf("with --write-forwarding=false: %s", got)
	}
}

// TestForwardingAcrossRestarts: the leader is stopped, killed and cut off while clients
// write through a follower in pipelines. The clients stay connected; what was answered
// with OK is there, what was answered as not run is not, and each other command was
// answered as unknown.
func TestForwardingAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, "--appendfsync", "always")
	via := newRelay(t, l.addr)
	f := start(t, t.TempDir(), "--follow", via.addr(), "--write-forwarding-timeout", "30s")
	level(t, l, f)
	const clients = 4
	type fate map[string]string // by id
	fates := make([]fate, clients)
	var stop atomic.Bool
	var rounds atomic.Int64
	var wg sync.WaitGroup
	for i := range clients {
		fates[i] = fate{}
		conn := f.rdb.Conn()
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.Do(context.Background(), "CLIENT", "SETNAME", fmt.Sprintf("writer%d", i)).Err(); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				p := conn.Pipeline()
				var cmds []*redis.Cmd
				for k := range 20 {
					cmds = append(cmds, p.Do(context.Background(), "SET", "k", fmt.Sprintf("c%d-%d-%d", i, n, k), "POINT", 1, 1))
				}
				_, _ = p.Exec(context.Background())
				for _, cmd := range cmds {
					text := "OK"
					if err := cmd.Err(); err != nil {
						text = err.Error()
					}
					fates[i][fmt.Sprint(cmd.Args()[2])] = text
				}
				rounds.Add(1)
			}
		})
	}
	progress := func() {
		t.Helper()
		at := rounds.Load()
		f.waitFor("writes", func() bool { return rounds.Load() > at+40 })
	}
	progress()
	for range 2 {
		l.kill()
		l = start(t, dir, "--listen", l.addr, "--appendfsync", "always")
		progress()
		via.cut()
		via.heal()
		progress()
		l.stop()
		l = start(t, dir, "--listen", l.addr, "--appendfsync", "always")
		progress()
	}
	stop.Store(true)
	wg.Wait()
	level(t, l, f)
	there := map[string]bool{}
	for _, id := range strings.Fields(strings.Trim(fmt.Sprint(l.words("SCAN k LIMIT 10000000 IDS")), "[]")) {
		there[strings.TrimLeft(id, "[")] = true
	}
	delete(there, "0") // the cursor
	ok, unknown := 0, 0
	for i := range clients {
		for id, text := range fates[i] {
			switch {
			case text == "OK":
				ok++
				if !there[id] {
					t.Errorf("%s was acknowledged and is not there", id)
				}
			case strings.HasSuffix(text, "the command may or may not have run"):
				unknown++
			case strings.HasSuffix(text, "the command has not run"):
				t.Errorf("%s was given up: %s", id, text)
			default:
				t.Errorf("%s: %q", id, text)
			}
			delete(there, id)
		}
	}
	for id := range there {
		t.Errorf("%s is there, and nobody was answered", id)
	}
	if ok == 0 || unknown > 6*clients*20 {
		t.Errorf("%d acknowledged, %d unknown", ok, unknown)
	}
	t.Logf("%d acknowledged, %d unknown", ok, unknown)
	// They are the connections from the beginning.
	if list := fmt.Sprint(f.words("CLIENT LIST")); strings.Count(list, "name=writer") != clients {
		t.Errorf("clients: %s", list)
	}
}

// TestForwardsToTile38: the leader is a Tile38, which knows nothing of that.
func TestForwardsToTile38(t *testing.T) {
	onTile38(t, func(t *testing.T, machine func() testkit.Machine) {
		m := machine()
		f := start(t, t.TempDir(), "--follow", m.Address(), "--read-your-writes-timeout", "30s")
		f.waitFor("readiness", f.ready)
		conn := f.rdb.Conn()
		defer func() { _ = conn.Close() }()
		for i := range 30 {
			if err := conn.Do(t.Context(), "SET", "fleet", i, "POINT", i, 2).Err(); err != nil {
				t.Fatal(err)
			}
			if got, err := conn.Do(t.Context(), "GET", "fleet", i, "POINT").Slice(); err != nil || len(got) != 2 || got[0] != fmt.Sprint(i) {
				t.Fatalf("own write %d: %v %v", i, got, err)
			}
		}
		if n := f.metric("evenkeel_upstream_leader_reads_total"); n != 0 {
			t.Errorf("%v reads went to the leader", n)
		}
		if n := f.metric(`evenkeel_upstream_own_write_waits_total{result="ok"}`); n != 30 {
			t.Errorf("%v reads waited", n)
		}
		if got := f.said("SET fleet"); got != "ERR wrong number of arguments for 'set' command" {
			t.Errorf("an error of the leader: %q", got)
		}
		rdb := redis.NewClient(&redis.Options{Addr: m.Address(), Protocol: 2, DisableIdentity: true})
		defer func() { _ = rdb.Close() }()
		if got := fmt.Sprint(rdb.Do(t.Context(), "SCAN", "fleet", "COUNT").Val()); got != "30" && got != "[0 30]" {
			t.Errorf("the leader has %s objects", got)
		}
	})
}

// TestForwardingToAStoppedLeader: a leader whose process is stopped keeps nobody
// waiting for ever, and a client is told what is known of its command.
func TestForwardingToAStoppedLeader(t *testing.T) {
	t.Parallel()
	l := start(t, t.TempDir())
	f := start(t, t.TempDir(), "--follow", l.addr, "--write-forwarding-timeout", "400ms")
	level(t, l, f)
	conn := f.rdb.Conn()
	defer func() { _ = conn.Close() }()
	said := func() string {
		if err := conn.Do(context.Background(), "SET", "k", "a", "POINT", 1, 1).Err(); err != nil {
			return err.Error()
		}
		return "OK"
	}
	if got := said(); got != "OK" {
		t.Fatal(got)
	}
	l.signal(syscall.SIGSTOP)
	l.waitFor("the process to stop", func() bool { // all of its threads
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", l.cmd.Process.Pid))
		if err != nil || len(threads) == 0 {
			t.Fatalf("its threads: %v", err)
		}
		return !slices.ContainsFunc(threads, func(name string) bool {
			text, err := os.ReadFile(name)
			return err == nil && !strings.Contains(string(text), ") T ")
		})
	})
	if got := said(); !strings.HasPrefix(got, "ERR leader "+l.addr+": the leader does not answer: ") || !strings.HasSuffix(got, ": the command may or may not have run") {
		t.Errorf("on a connection that there was: %s", got)
	}
	if got := said(); !strings.HasPrefix(got, "ERR leader "+l.addr+": ") || !strings.HasSuffix(got, ": the command has not run") {
		t.Errorf("on a new connection: %s", got)
	}
	l.signal(syscall.SIGCONT)
	if got := said(); got != "OK" {
		t.Errorf("afterwards: %s", got)
	}
}
