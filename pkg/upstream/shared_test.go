package upstream

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/internal/testkit/certs"
	"evenkeel/pkg/proxy"
	"evenkeel/pkg/tlsfile"
)

// Many clients, one connection.
func TestShares(t *testing.T) {
	engine := newMimic(t)
	var seen sync.Map
	f := startSharing(t, Options{Engine: engine.addr, Observe: func(name string, took time.Duration, failed bool) {
		n, _ := seen.LoadOrStore(fmt.Sprint(name, failed), new(atomic.Int64))
		if took >= 0 {
			n.(*atomic.Int64).Add(1) //nolint:errcheck // it holds nothing else
		}
	}}, proxy.Options{})
	const clients, rounds = 20, 200
	var wg sync.WaitGroup
	for i := range clients {
		c := f.guest()
		wg.Go(func() {
			for n := range rounds {
				c.ask("GET", "k", fmt.Sprintf("%d.%d:%d", i, n, n))
			}
			c.ask("FGET", "k", "id", "f") // answered with an error
		})
	}
	wg.Wait()
	if n := engine.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	if s := f.b.Stats(); s.Guests != clients || s.Links != 1 || s.Dials != 1 {
		t.Errorf("%+v", s)
	}
	for name, want := range map[string]int64{"getfalse": clients * rounds, "fgettrue": clients} {
		if n, ok := seen.Load(name); !ok || n.(*atomic.Int64).Load() != want { //nolint:errcheck // as above
			t.Errorf("%s was not observed %d times", name, want)
		}
	}
	if s := f.Stats(); s.Commands != clients*(rounds+1) || s.BytesIn == 0 || s.BytesOut == 0 {
		t.Errorf("%+v", s)
	}
}

// What is not small goes over a connection of its own, in its order, and so does
// what follows, until there has been nothing else for a while.
func TestGoesPrivate(t *testing.T) {
	for _, c := range []struct {
		name, in, out, word string
		back                bool // it comes back
	}{
		{"fence", array("NEARBY", "k", "Fence"), answerOf([]string{"NEARBY", "k", "Fence"}), "nearby", true},
		{"other", array("STATS", "k"), "-BAD unknown command\r\n", "stats", true},
		{"large", array("SET", "k", "id", "STRING", strings.Repeat("z", maxSmall)), "+OK\r\n", "set", true},
		{"plain", "PING\r\n", "+PONG\r\n", "ping", true},
		{"unknown", array("NONSENSE"), "-BAD unknown command\r\n", "nonsense", true},
		{"state", array("OUTPUT", "json"), "+OK\r\n", "output", false},
		{"needless zero", "*01\r\n$4\r\nPING\r\n", "+PONG\r\n", "ping", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			engine := newMimic(t)
			f := startSharing(t, Options{Engine: engine.addr}, proxy.Options{})
			client := f.guest()
			client.ask("GET", "k", "first")
			get := []string{"GET", "k", "a:100"}
			client.send(array(get...) + c.in + array(get...))
			client.want(answerOf(get) + c.out + answerOf(get))
			if got := engine.got(c.word); strings.Join(got, " ") != c.word+" get" {
				t.Errorf("its own connection got %q", got)
			}
			for range 2 * settled {
				client.ask("GET", "k", "b:5000")
			}
			if n := f.b.Stats().Guests; (n == 1) != c.back {
				t.Errorf("%d guests", n)
			}
			client.send(array(get...) + c.in)
			client.want(answerOf(get) + c.out)
		})
	}
}

// The form of the first command decides about RESP or JSON, also when the first one
// went over a shared connection; and a client that has begun with JSON has it always.
func TestSharedForms(t *testing.T) {
	f, engine, e, a, b := sharedScript(t, proxy.Options{})
	a.send(oneGet)
	e.want(oneGet)
	e.send("+x\r\n")
	a.want("+x\r\n")
	a.send("$4 PING\r\n")
	own := engine.next()
	own.want(sayRESP)
	own.send("+OK\r\n")
	own.want("$4 PING\r\n")
	b.send("$4 PING\r\n")
	own = engine.next()
	own.want("$4 PING\r\n")
	own.send("$11 {\"ok\":true}\r\n")
	b.want("$11 {\"ok\":true}\r\n")
	for range 2 * settled {
		b.send(oneGet)
		own.want(oneGet)
		own.send("$1\r\n1\r\n")
		b.want("$1\r\n1\r\n")
	}
	if n := f.b.Stats().Guests; n != 0 {
		t.Errorf("%d guests", n)
	}
	// What is malformed is answered to those from whom there was a command.
	c := f.guest()
	c.send(oneGet)
	e.want(oneGet)
	e.send("+x\r\n")
	c.want("+x\r\n")
	c.send("*1\r\n:4\r\n")
	own = engine.next()
	own.want(sayRESP)
	own.send("+OK\r\n")
	own.want("*1\r\n:4\r\n")
	own.send("-Protocol error\r\n")
	_ = own.Close()
	c.wantEnd("-Protocol error\r\n")
}

// A command may come in pieces of any size.
func TestSharesPieces(t *testing.T) {
	engine := newMimic(t)
	f := startSharing(t, Options{Engine: engine.addr}, proxy.Options{})
	client := f.guest()
	all := array("SET", "k", "id", "STRING", strings.Repeat("s", 500)) + array("get", "k", "id")
	for size := 1; size < len(all); size = size*2 + 1 {
		for rest := all; rest != ""; {
			n := min(size, len(rest))
			client.send(rest[:n])
			rest = rest[n:]
			if size < 4 && len(rest)%50 == 0 { // so that some do come alone
				time.Sleep(time.Millisecond)
			}
		}
		client.want("+OK\r\n" + answerOf([]string{"get", "k", "id"}))
	}
	if s := f.b.Stats(); s.Guests != 1 || s.Dials != 1 {
		t.Errorf("%+v", s)
	}
}

// Many commands at once, and big replies, are for a connection of one's own.
func TestHeavy(t *testing.T) {
	engine := newMimic(t)
	f := startSharing(t, Options{Engine: engine.addr}, proxy.Options{})
	one := []string{"GET", "k", "a:1000"}
	for _, c := range []struct{ in, out string }{
		{strings.Repeat(array(one...), 20*maxOwed), strings.Repeat(answerOf(one), 20*maxOwed)},
		{array("GET", "k", "big:3000000"), answerOf([]string{"GET", "k", "big:3000000"})},
	} {
		client := f.guest()
		go func() { _, _ = io.WriteString(client, c.in) }()
		client.want(c.out)
		for range 2 * settled { // longer than others
			client.ask(one...)
		}
		if n := f.b.Stats().Guests; n != 0 {
			t.Errorf("%d guests", n)
		}
	}
}

// A client that takes nothing holds up nobody, and gets what it is owed when it
// reads; or is disconnected, when that is too much.
func TestSlowGuest(t *testing.T) {
	for _, limit := range []int64{0, 1 << 20} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			engine := newMimic(t)
			f := startSharing(t, Options{Engine: engine.addr, MaxUnsent: limit}, proxy.Options{})
			slow, other := f.guest(), f.guest()
			if err := slow.Conn.(*net.TCPConn).SetReadBuffer(128 << 10); err != nil { //nolint:errcheck // dialled so
				t.Fatal(err)
			}
			const n = 120 // sockets hold no 7 MB
			get := []string{"GET", "k", "a:60000"}
			slow.send(strings.Repeat(array(get...), n))
			for range 1000 {
				other.ask("GET", "k", "b:10")
			}
			if limit == 0 {
				slow.want(strings.Repeat(answerOf(get), n))
				slow.ask("GET", "k", "c:1")
				if s := f.b.Stats(); s.Guests != 2 || s.Slow != 0 {
					t.Errorf("%+v", s)
				}
				return
			}
			f.eventually("disconnected", func() bool { return f.Stats().Closed[proxy.ClosedStalled] == 1 })
			if got, err := io.ReadAll(slow.r); err == nil || len(got) >= n*60000 {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			if s := f.b.Stats(); s.Guests != 1 || s.Slow != 1 {
				t.Errorf("%+v", s)
			}
			other.ask("GET", "k", "c:1")
		})
	}
}

// sharedScript is a shared connection whose replies the test writes, and two
// clients on it.
func sharedScript(t *testing.T, po proxy.Options) (f *fixture, engine *script, e, a, b *peer) {
	t.Helper()
	engine = newScript(t)
	f = startSharing(t, Options{Engine: engine.addr}, po)
	e, a, b = engine.next(), f.guest(), f.guest()
	return f, engine, e, a, b
}

var oneGet = array("GET", "k", "id")

// An engine that is lost: who has a command under way is told, the others never
// learn of it.
func TestSharedLost(t *testing.T) {
	const lost = ": connection closed: the command may or may not have run\r\n"
	f, engine, e, a, b := sharedScript(t, proxy.Options{})
	a.send(oneGet + oneGet)
	e.want(oneGet + oneGet)
	e.send("$1\r\nx\r\n")
	a.want("$1\r\nx\r\n")
	_ = e.Close()
	a.wantEnd("-ERR engine " + engine.addr + lost)
	f.eventually("closed", func() bool { return f.Stats().Closed[proxy.ClosedEngineLost] == 1 })
	f.call()
	e = engine.next()
	b.send(oneGet)
	e.want(oneGet)
	e.send("$1\r")
	b.want("$1\r")
	_ = e.Close() // within a reply
	b.wantEnd("")
	f.eventually("closed", func() bool { return f.Stats().Closed[proxy.ClosedByEngine] == 1 })
	if s := f.b.Stats(); s.Lost != 2 || s.LostCommands != 2 || s.Kept != 1 {
		t.Errorf("%+v", s)
	}
}

// An engine that says what nobody has asked for is not listened to any more.
func TestSharedNonsense(t *testing.T) {
	for _, text := range []string{"+OK\r\n", "nonsense"} {
		f, engine, e, a, b := sharedScript(t, proxy.Options{})
		a.send(oneGet)
		e.want(oneGet)
		e.send("+x\r\n" + text)
		a.want("+x\r\n")
		e.wantEnd("")
		f.call()
		e = engine.next()
		b.send(oneGet)
		e.want(oneGet)
		e.send("+y\r\n")
		b.want("+y\r\n")
	}
}

// An engine that reads nothing for a while: what is kept for it is bounded, and
// all arrives in the end.
func TestSharedBacklog(t *testing.T) {
	const clients, size = 24, 3000
	engine := newScript(t)
	f := startSharing(t, Options{Engine: engine.addr}, proxy.Options{})
	e := engine.next()
	if err := e.Conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil { //nolint:errcheck // accepted so
		t.Fatal(err)
	}
	set := array("SET", "k", "id", "STRING", strings.Repeat("z", size))
	var sent sync.WaitGroup
	all := make([]*peer, clients)
	for i := range all {
		c := f.guest()
		all[i] = c
		// Beyond maxOwed it would not be a guest any more.
		sent.Go(func() { _, _ = io.WriteString(c, strings.Repeat(set, maxOwed)) })
	}
	bound := int64(maxBacklog + 6<<20) // sockets hold something
	var before int64
	f.eventually("nothing more is read", func() bool {
		now := f.Stats().BytesIn
		same := now == before && now > maxBacklog
		before = now
		time.Sleep(50 * time.Millisecond)
		return same
	})
	if total := int64(clients * maxOwed * len(set)); before > bound || before >= total {
		t.Errorf("%d bytes of %d were read for an engine that takes nothing", before, total)
	}
	go func() {
		for range clients * maxOwed {
			if _, err := io.ReadFull(e.r, make([]byte, len(set))); err != nil {
				return
			}
			if _, err := e.Write([]byte("+OK\r\n")); err != nil {
				return
			}
		}
	}()
	for _, c := range all {
		c.want(strings.Repeat("+OK\r\n", maxOwed))
	}
	sent.Wait()
	if s := f.b.Stats(); s.Guests != clients || s.Dials != 1 {
		t.Errorf("%+v", s)
	}
}

// A client that leaves with commands under way leaves the others their replies.
func TestGuestGone(t *testing.T) {
	for _, how := range []string{"reset", "kill", "half"} {
		f, _, e, a, b := sharedScript(t, proxy.Options{})
		a.send(oneGet + oneGet)
		e.want(oneGet + oneGet)
		b.send(oneGet)
		e.want(oneGet)
		switch how {
		case "reset":
			if err := a.Conn.(*net.TCPConn).SetLinger(0); err != nil { //nolint:errcheck // dialled so
				t.Fatal(err)
			}
			_ = a.Close()
			f.eventually("gone", func() bool { return f.Stats().Closed[proxy.ClosedByReset] == 1 })
		case "kill":
			first := true
			f.Each(func(c *proxy.Conn) {
				if first { // the oldest
					first = false
					c.Kill()
				}
			})
			f.eventually("gone", func() bool { return f.Stats().Closed[proxy.ClosedKilled] == 1 })
		case "half":
			a.closeWrite()
		}
		e.send("$2\r\na1\r\n")
		e.send("$2\r\na2\r\n$1\r\nb\r\n")
		b.want("$1\r\nb\r\n")
		if how == "half" {
			a.wantEnd("$2\r\na1\r\n$2\r\na2\r\n")
			f.eventually("gone", func() bool { return f.Stats().Closed[proxy.ClosedByClient] == 1 })
		}
		if s := f.b.Stats(); s.Guests != 1 || s.Lost != 0 {
			t.Errorf("%s: %+v", how, s)
		}
	}
}

// A shutdown lets those who are owed something have it.
func TestSharedDrain(t *testing.T) {
	f, _, e, a, b := sharedScript(t, proxy.Options{})
	a.send(oneGet)
	e.want(oneGet)
	done := make(chan error)
	go func() { done <- f.Shutdown(t.Context()) }()
	b.wantEnd("")
	e.send("$1\r\na\r\n")
	a.wantEnd("$1\r\na\r\n")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := f.Stats(); s.Closed[proxy.ClosedDrain] != 2 {
		t.Errorf("%+v", s)
	}
}

// Idle is who is owed nothing.
func TestSharedIdle(t *testing.T) {
	f, _, e, a, b := sharedScript(t, proxy.Options{IdleTimeout: 200 * time.Millisecond})
	a.send(oneGet)
	e.want(oneGet)
	b.wantEnd("")
	time.Sleep(300 * time.Millisecond)
	e.send("$1\r\na\r\n")
	a.wantEnd("$1\r\na\r\n")
	f.eventually("closed", func() bool { return f.Stats().Closed[proxy.ClosedIdle] == 2 })
}

// A pod that follows chooses for each command: nothing is shared there, also when
// it begins to follow.
func TestFollowerSharesNothing(t *testing.T) {
	engine, leader := newMimic(t), newMimic(t)
	var follows atomic.Bool
	f := startSharing(t, Options{Engine: engine.addr, Route: func() Route {
		return Route{Following: follows.Load(), Leader: leader.addr, Fit: true}
	}}, proxy.Options{})
	c := f.guest()
	c.ask("SET", "k", "id", "STRING", "x")
	follows.Store(true)
	c.ask("SET", "k", "id", "STRING", "x")
	if leader.got("set") == nil {
		t.Error("the leader got nothing")
	}
	for range 2 * settled {
		c.ask("PING")
	}
	if n := f.b.Stats().Guests; n != 0 {
		t.Errorf("%d guests", n)
	}
}

// Without a socket on either side all goes on as without sharing.
func TestSharesNoTLS(t *testing.T) {
	engine := newMimic(t)
	files := tlsfile.Files(certs.New(t, "ca").Issue(t.TempDir(), "pod"))
	config, err := tlsfile.Server(tlsfile.Files{Cert: files.Cert, Key: files.Key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	f := startOn(t, Options{Engine: engine.addr, SharedConnections: 1, Logger: quiet}, proxy.Options{Logger: quiet}, ln)
	f.call()
	nc, err := tls.Dial("tcp", f.addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // of this test
	if err != nil {
		t.Fatal(err)
	}
	c := newPeer(t, nc)
	for range 2 * settled {
		c.ask("GET", "k", "id:100")
	}
	if s := f.b.Stats(); s.Guests != 0 || s.Links != 2 {
		t.Errorf("%+v", s)
	}
}

// An engine that is not there is waited for, as ever.
func TestSharedNoEngine(t *testing.T) {
	engine := newMimic(t)
	engine.stop()
	f := start(t, Options{Engine: engine.addr, SharedConnections: 2, ConnectWait: 20 * time.Millisecond}, proxy.Options{})
	c := dial(t, f.addr)
	c.send(array("GET", "k", "id"))
	if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "-ERR engine "+engine.addr) {
		t.Fatalf("got %q, %v", line, err)
	}
	engine.listen()
	c.ask("GET", "k", "id")
	f.eventually("a guest", func() bool {
		c.ask("GET", "k", "id")
		return f.b.Stats().Guests == 1
	})
}

// A connection of its own that a guest does not use is given up.
func TestOwnLinkEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a link is kept")
	}
	t.Parallel()
	engine := newMimic(t)
	f := startSharing(t, Options{Engine: engine.addr}, proxy.Options{})
	c := f.guest()
	c.ask("STATS", "k")
	f.eventually("a guest again", func() bool {
		c.ask("GET", "k", "x")
		return f.b.Stats().Guests == 1
	})
	if s := f.b.Stats(); s.Links != 2 {
		t.Fatalf("%+v", s)
	}
	f.eventually("given up", func() bool { return engine.connections() == 1 && f.b.Stats().Links == 1 })
	c.ask("GET", "k", "x")
	c.ask("STATS", "k")
	if s := f.b.Stats(); s.Links != 2 || s.Kept != 0 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}
