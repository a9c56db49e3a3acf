package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/pkg/replication"
)

// given lets roles be decided from outside, and commands be forwarded.
func given(f Forward) func(*Options) {
	return func(o *Options) {
		o.Forward, o.Undecided = &f, "the election has not begun"
		o.RoleGiven = func() error { return errors.New("the role is that of an election") }
	}
}

// follows makes s a follower of lead.
func (s *server) follows(lead *server) {
	s.t.Helper()
	port, _ := strconv.Atoi(lead.port())
	if err := s.node.Follow(context.Background(), "127.0.0.1", port, ""); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) leads() {
	s.t.Helper()
	if err := s.node.Lead(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}

// TestRoleGiven: a node whose role is decided from outside begins as neither, and
// becomes what it is told. FOLLOW of a client is refused.
func TestRoleGiven(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, config{change: given(Forward{Timeout: time.Millisecond})})
	c := s.dial()
	const why = "-ERR no leader is known: the election has not begun: the command has not run"
	c.talk([][2]string{
		{"SET k a POINT 1 1", why}, {"EVAL return(1) 0", why}, {"GET k a", why},
		{"FOLLOW no one", "-ERR cannot follow: the role is that of an election"}, {"FOLLOW 127.0.0.1 1", "-ERR cannot follow: the role is that of an election"},
		{"PING", "+PONG"}, {"ROLE", "-ERR catching up to leader"}, {"HEALTHZ", "-ERR catching up to leader"},
	})
	if ok, why := s.node.Ready(); ok || len(why) == 0 {
		t.Errorf("ready: %v %v", ok, why)
	}
	if st := s.node.FollowerStatus(); s.node.Following() != "" || st == nil || st.LastError != "the election has not begun" || st.State != replication.Connecting {
		t.Errorf("%+v", st)
	}
	first := s.log.Position().Epoch
	s.leads()
	second := s.log.Position().Epoch
	if first == second {
		t.Error("no epoch has begun")
	}
	s.leads() // again: nothing changes
	if s.log.Position().Epoch != second {
		t.Error("an epoch has begun for nothing")
	}
	c.talk([][2]string{{"SET k a POINT 1 1", "+OK"}, {"GET k a POINT", "[1 1]"}, {"ROLE", "[master :52 []]"}})
	if ok, why := s.node.Ready(); !ok {
		t.Errorf("not ready: %v", why)
	}
	s.node.Undecided("the lease is lost")
	c.talk([][2]string{{"SET k b POINT 1 1", "-ERR no leader is known: the lease is lost: the command has not run"}})
	// What it has was the truth a moment ago; a follower serves that.
	local := serve(t, t.TempDir(), config{change: func(o *Options) { o.Undecided = "not yet" }})
	l := local.dial()
	l.talk([][2]string{{"GET k a", "-ERR catching up to leader"}, {"SET k a POINT 1 1", "-ERR not the leader: not yet"}})
	local.leads()
	l.talk([][2]string{{"SET k a POINT 1 1", "+OK"}})
	local.node.Undecided("lost")
	l.talk([][2]string{{"GET k a POINT", "[1 1]"}, {"SET k a POINT 1 1", "-ERR not the leader: lost"}})

	// A leader that is not there yet can be followed.
	port := deadPort(t)
	n, _ := strconv.Atoi(port)
	if err := s.node.Follow(context.Background(), "127.0.0.1", n, ""); err != nil {
		t.Fatal(err)
	}
	if got := c.do("SET k b POINT 1 1"); !strings.HasPrefix(got, "-ERR leader 127.0.0.1:"+port+": ") || !strings.HasSuffix(got, "connection refused: the command has not run") {
		t.Errorf("a leader that is not there: %s", got)
	}
	lead := serve(t, t.TempDir(), config{})
	s.follows(lead)
	level(t, lead, s)
	s.follows(lead)
	c.talk([][2]string{{"SET k c POINT 1 1", "+OK"}, {"SCAN k IDS", "[:0 [c]]"}})
	s.stop()
	if err := s.node.Lead(context.Background()); !errors.Is(err, errStopped) {
		t.Errorf("Lead behind the end: %v", err)
	}
	if err := s.node.Follow(context.Background(), "127.0.0.1", n, ""); !errors.Is(err, errStopped) {
		t.Errorf("Follow behind the end: %v", err)
	}
	// It is not remembered: who decides says it again.
	s = serve(t, dir, config{})
	s.dial().talk([][2]string{{"SET k d POINT 1 1", "+OK"}})
}

// TestForwardWaits: writes wait for a leader, and are carried out by who becomes it:
// another node, or this one.
func TestForwardWaits(t *testing.T) {
	a := serve(t, t.TempDir(), config{change: given(Forward{Timeout: patience})})
	b := serve(t, t.TempDir(), config{change: given(Forward{Timeout: patience})})
	waits := func(s *server, n int64) {
		t.Helper()
		until(t, "a command to wait", func() bool { return s.node.Forwarding().Waiting == n })
	}
	ca, cb := a.dial(), b.dial()
	ca.send("SET k 1 STRING a", "GET k 1", "EVAL return(tile38.call('SET','k','2','STRING','b')) 0", "TIMEOUT 9 EVAL return(tile38.call('DEL','k','1')) 0", "SCAN k COUNT")
	cb.send("SET k 4 STRING d", "GET k 4")
	waits(a, 1)
	waits(b, 1)
	a.leads()
	for _, want := range []string{"+OK", "a", "OK", ":1", ":1"} {
		if got := say(ca.reply()); strings.TrimPrefix(got, "+") != strings.TrimPrefix(want, "+") {
			t.Errorf("here: %s, want %s", got, want)
		}
	}
	b.follows(a)
	for _, want := range []string{"+OK", "d"} {
		if got := say(cb.reply()); got != want {
			t.Errorf("forwarded: %s, want %s", got, want)
		}
	}
	if st := a.node.Forwarding(); st.Here != 5 || st.Forwarded != 0 || st.Waiting != 0 || st.Retried == 0 {
		t.Errorf("%+v", st)
	}
	if st := b.node.Forwarding(); st.Forwarded != 1 || st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
}

// TestForwardLimits: waiting is bounded, in time and in number.
func TestForwardLimits(t *testing.T) {
	s := serve(t, t.TempDir(), config{change: given(Forward{Timeout: patience, MaxWaiting: 1})})
	first := s.dial()
	first.send("SET k a POINT 1 1", "SET k b POINT 1 1", "EVAL return(1) 0")
	until(t, "a command to wait", func() bool { return s.node.Forwarding().Waiting == 1 })
	second := s.dial()
	second.talk([][2]string{
		{"SET k b POINT 1 1", "-ERR no leader is known: the election has not begun: too many commands wait for a leader: the command has not run"},
		{"OUTPUT json", `{"ok":true}`},
		{"SET k b POINT 1 1", `{"ok":false,"err":"no leader is known: the election has not begun: too many commands wait for a leader: the command has not run"}`},
	})
	s.leads()
	for range 3 {
		if got := first.reply(); strings.HasPrefix(got, "-") {
			t.Errorf("%q", got)
		}
	}
	if st := s.node.Forwarding(); st.Refused != 2 || st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
	// When there has been no leader for long, reads fail at once; writes wait all the same.
	dead := serve(t, t.TempDir(), config{change: given(Forward{Timeout: 60 * time.Millisecond})})
	c := dead.dial()
	c.do("GET k a") // has waited for as long as that
	until(t, "the time to be over", dead.node.down)
	retried := dead.node.Forwarding().Retried
	c.do("GET k a")
	if n := dead.node.Forwarding().Retried; n != retried {
		t.Errorf("a read was tried %d times again", n-retried)
	}
	c.do("SET k a POINT 1 1")
	if n := dead.node.Forwarding().Retried; n == retried {
		t.Error("a write was not tried again")
	}
	for _, tt := range []struct {
		f    Forward
		want string
	}{
		{Forward{ReadFrom: "nobody"}, `ReadFrom: "nobody" is not`}, {Forward{OwnWrites: -1}, "OwnWrites: -1"}, {Forward{Timeout: -1}, "Timeout: -1"},
		{Forward{MaxWaiting: -1}, "MaxWaiting: -1"}, {Forward{MaxLinks: -1}, "MaxLinks: -1"}, {Forward{IdleTimeout: -1}, "IdleTimeout: -1"},
	} {
		tt.f.EnsureDefaults()
		if err := tt.f.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v", err)
		}
	}
}

// TestForwardLoop: two nodes that each take the other one for the leader do not send
// commands to and fro.
func TestForwardLoop(t *testing.T) {
	quick := Forward{Timeout: 50 * time.Millisecond}
	a := serve(t, t.TempDir(), config{change: given(quick)})
	b := serve(t, t.TempDir(), config{change: given(quick)})
	a.follows(b)
	b.follows(a)
	for _, s := range []*server{a, b} {
		c := s.dial()
		want := "-ERR leader " + s.node.Following() + ": not the leader: the command has not run"
		c.talk([][2]string{{"SET k a POINT 1 1", want}, {"GET k a", want}})
		if st := s.node.Forwarding(); st.Forwarded != 0 || st.Refused != 2 {
			t.Errorf("%+v", st)
		}
	}
	a.follows(a) // itself
	a.dial().talk([][2]string{{"SET k a POINT 1 1", "-ERR leader " + a.addr + ": not the leader: the command has not run"}})
}

// TestDemotedInFlight: a leader that stops being one between two pieces of a pipeline
// on a connection of another node's says so, and nothing runs twice.
func TestDemotedInFlight(t *testing.T) {
	a := serve(t, t.TempDir(), config{change: given(Forward{Timeout: patience})})
	b := serve(t, t.TempDir(), config{change: given(Forward{Timeout: patience})})
	a.leads()
	b.follows(a)
	level(t, a, b)
	c := b.dial()
	c.talk([][2]string{{"SET k n STRING 0", "+OK"}}) // there is a connection
	a.node.Undecided("handing over")
	c.send("SET k n STRING 1", "EVAL return(tile38.call('GET','k','n')) 0")
	until(t, "the command to wait", func() bool { return b.node.Forwarding().Waiting == 1 })
	level(t, a, b)
	b.leads()
	if x, y := say(c.reply()), say(c.reply()); x != "+OK" || y != "1" {
		t.Errorf("%s, %s", x, y)
	}
	if st := b.node.Forwarding(); st.Forwarded != 1 || st.Here != 2 {
		t.Errorf("%+v", st)
	}
}

// TestSwitchover: the role goes to and fro while clients of both nodes write and read:
// no command fails, each reads what it has written last, and all is there in the end.
func TestSwitchover(t *testing.T) {
	nodes := []*server{}
	for range 2 {
		nodes = append(nodes, serve(t, t.TempDir(), config{change: given(Forward{Timeout: patience, OwnWrites: patience})}))
	}
	nodes[0].leads()
	nodes[1].follows(nodes[0])
	level(t, nodes[0], nodes[1])
	var stop atomic.Bool
	var wg sync.WaitGroup
	written := make([]int, 6)
	for i := range written {
		c := nodes[i%2].dial()
		wg.Go(func() {
			for n := 1; !stop.Load(); n++ {
				key := fmt.Sprintf("k%d", i)
				c.send(fmt.Sprintf("SET %s n STRING %d", key, n), "GET "+key+" n", fmt.Sprintf("SET %s i%d STRING x", key, n))
				for _, want := range []string{"+OK", strconv.Itoa(n), "+OK"} {
					text, err := readReply(c.r)
					if err != nil || say(text) != want {
						t.Errorf("client %d, round %d: %q %v, want %s", i, n, text, err, want)
						return
					}
				}
				written[i] = n
			}
		})
	}
	for round := range 12 {
		lead, fol := nodes[round%2], nodes[1-round%2]
		before := lead.seen.count("set") + fol.seen.count("set")
		until(t, "writes", func() bool { return lead.seen.count("set")+fol.seen.count("set") > before+200 || t.Failed() })
		lead.node.Undecided("handing over")
		level(t, lead, fol)
		fol.leads()
		lead.follows(fol)
	}
	stop.Store(true)
	wg.Wait()
	level(t, nodes[0], nodes[1])
	for i, n := range written {
		for _, s := range nodes {
			if got := s.dial().do(fmt.Sprintf("SCAN k%d COUNT", i)); got != fmt.Sprintf(":%d", n+1) {
				t.Errorf("client %d has written %d objects; there are %s", i, n+1, got)
			}
		}
	}
	for _, s := range nodes {
		if st := s.node.Forwarding(); st.Refused+st.LostCommands > 0 || st.Forwarded == 0 || st.Here == 0 {
			t.Errorf("%+v", st)
		}
	}
}

// count says how often a command has been observed.
func (o *observed) count(name string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, seen := range o.list {
		if seen == name {
			n++
		}
	}
	return n
}

// TestCommitsBeforeItWaits: what a pipeline has written here is in the log before the
// rest of it waits for another leader, over each transport.
func TestCommitsBeforeItWaits(t *testing.T) {
	native := func(text string) string { return fmt.Sprintf("$%d %s\r\n", len(text), text) }
	for name, raw := range map[string]string{
		"RESP":   encode("SET k a STRING x", "GET k a", "SET k b STRING x"),
		"native": native("SET k a STRING x") + native("SET k b STRING x"),
	} {
		t.Run(name, func(t *testing.T) {
			l := &lease{hook: nil}
			l.hook = func(n int64) { l.lost.Store(n > 1) } // lost before the second write
			s := serve(t, t.TempDir(), config{change: func(o *Options) {
				given(Forward{Timeout: patience})(o)
				o.Fence = l.fence
			}})
			s.leads()
			c := s.dial()
			c.raw(raw)
			until(t, "the second write to wait", func() bool { return s.node.Forwarding().Waiting == 1 })
			if written, last := s.log.Written().Offset, s.log.Position().Offset; written != last || last == 0 {
				t.Errorf("%d bytes of %d are written", written, last)
			}
			next := serve(t, t.TempDir(), config{change: given(Forward{})})
			next.leads()
			s.follows(next)
			if b, err := c.r.Peek(1); err != nil || b[0] == '-' && name == "native" {
				t.Errorf("%q %v", b, err)
			}
			until(t, "the write to arrive", func() bool { return next.dial().do("EXISTS k b") == ":1" })
		})
	}
}

// TestDemotedBeforeReplicas: a write that not enough followers have is not acknowledged
// because its leader is none any more.
func TestDemotedBeforeReplicas(t *testing.T) {
	b := newBrake(t)
	lead := serve(t, t.TempDir(), config{change: given(Forward{Timeout: patience})})
	fol := serve(t, t.TempDir(), config{change: func(o *Options) {
		given(Forward{})(o)
		o.DialLeader = b.dial
	}})
	lead.leads()
	fol.follows(lead)
	level(t, lead, fol)
	c := lead.dial()
	c.talk([][2]string{{"CONFIG SET min-replicas-to-write 1", "+OK"}, {"SET k a STRING x", "+OK"}, {"CONFIG SET min-replicas-timeout 50ms", "+OK"}})
	b.set(true)
	var once sync.Once
	lead.log.BeforeWrite(func() error {
		once.Do(func() { lead.node.Undecided("demoted") })
		return nil
	})
	if got := c.do("SET k b STRING x"); !strings.HasPrefix(got, "-NOREPLICAS ") {
		t.Errorf("%s", got)
	}
	b.set(false)
	level(t, lead, fol)
}

// TestFollowersOnTheirWay: who has just become the leader does not refuse a write for want of
// followers, which come to it at the same moment; later it does.
func TestFollowersOnTheirWay(t *testing.T) {
	lead := serve(t, t.TempDir(), config{change: given(Forward{Timeout: patience})})
	fol := serve(t, t.TempDir(), config{change: given(Forward{})})
	c := lead.dial()
	c.talk([][2]string{{"CONFIG SET min-replicas-to-write 1", "+OK"}, {"CONFIG SET min-replicas-timeout " + patience.String(), "+OK"}})
	lead.leads()
	answer := make(chan string, 1)
	go func() { answer <- c.do("SET k a STRING x") }()
	select {
	case got := <-answer:
		t.Fatalf("without a follower: %s", got)
	case <-time.After(50 * time.Millisecond):
	}
	fol.follows(lead)
	if got := <-answer; got != "+OK" {
		t.Errorf("with a follower: %s", got)
	}
	fol.stop()
	lead.dial().do("CONFIG SET min-replicas-timeout 1ms")
	until(t, "the follower to be missed", func() bool {
		return lead.dial().do("SET k a STRING x") == "-NOREPLICAS Not enough good replicas to write."
	})
}
