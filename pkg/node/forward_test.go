package node

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"evenkeel/pkg/upstream"
)

// forwarding lets a node send commands to its leader.
func forwarding(f Forward) func(*Options) { return func(o *Options) { o.Forward = &f } }

// brake lets a test hold back what followers are sent, and nothing else.
type brake struct {
	mu   sync.Mutex
	cond sync.Cond
	on   bool
}

func newBrake(t *testing.T) *brake {
	b := &brake{}
	b.cond.L = &b.mu
	t.Cleanup(func() { b.set(false) })
	return b
}

func (b *brake) set(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.on = on
	b.cond.Broadcast()
}

func (b *brake) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	return &braked{Conn: conn, b: b}, err
}

// braked is a connection to a leader.
type braked struct {
	net.Conn
	b      *brake
	stream bool
	closed bool
}

func (c *braked) NetConn() net.Conn { return c.Conn }

func (c *braked) Write(p []byte) (int, error) {
	c.b.mu.Lock()
	c.stream = c.stream || bytes.Contains(bytes.ToLower(p), []byte("replicate"))
	c.b.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *braked) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	for c.stream && c.b.on && !c.closed {
		c.b.cond.Wait()
	}
	return n, err
}

func (c *braked) Close() error {
	c.b.mu.Lock()
	c.closed = true
	c.b.cond.Broadcast()
	c.b.mu.Unlock()
	return c.Conn.Close()
}

// pair is a leader and a follower that forwards.
func pair(t *testing.T, f Forward, more ...func(*Options)) (lead, fol *server) {
	t.Helper()
	lead = serve(t, t.TempDir(), config{})
	fol = serve(t, t.TempDir(), config{follow: lead.addr, change: func(o *Options) {
		o.Forward = &f
		for _, m := range more {
			m(o)
		}
	}})
	level(t, lead, fol)
	return lead, fol
}

// TestForwardCommands: what a client may ask a follower for, and where it is carried
// out. The same conversation with the leader has the same answers.
func TestForwardCommands(t *testing.T) {
	lead, fol := pair(t, Forward{})
	steps := []string{
		"SET k a FIELD f 1 POINT 1 2", "GET k a", "SET k a NX POINT 3 4", "FSET k a f 2", "GET k a WITHFIELDS", "FSET k nosuch f 2", "JSET k j a 1", "JGET k j",
		"DEL k a", "DEL k a", "GET k a", "SET k a", "SET", "EXPIRE k j 100", "EXPIRE k no 100", "PERSIST k j", "RENAME k l", "GET l j", "RENAME no x",
		"EVAL return(tile38.call('SET','s',KEYS[1],'STRING','x')) 1 id", "GET s id", "EVALRO return(tile38.call('GET','s','id')) 0",
		"EVAL return(tile38.call('SET','s',KEYS[1])) 1 id", "SCRIPT LOAD return(1)", "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0", "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
		"SETCHAN c NEARBY l FENCE POINT 1 1 1000", "CHANS *", "DELCHAN c", "PUBLISH ch hello", "TIMEOUT 5 SET k t POINT 1 1", "TIMEOUT 5 GET k t", "TIMEOUT x SET k t POINT 1 1",
		"SET k r FIELD a 1 POINT 1 2 RETURN", "PDEL k t*", "DROP k", "DROP k", "FLUSHDB", "KEYS *", "NOSUCH x", "SET \"\" a POINT 1 1", "WAIT 1 50",
	}
	for _, output := range []string{"resp", "json"} {
		direct := serve(t, t.TempDir(), config{})
		d, c := direct.dial(), fol.dial()
		d.do("OUTPUT " + output)
		c.do("OUTPUT " + output)
		for _, step := range steps {
			want, got := d.do(step), c.do(step)
			if strings.HasPrefix(step, "WAIT") { // nobody follows the other one
				want = strings.NewReplacer(":0", ":1", `"replicas":0`, `"replicas":1`).Replace(want)
			}
			if got != want {
				t.Errorf("%s, %s: %s, want %s", output, step, got, want)
			}
		}
	}
	if st := fol.node.Forwarding(); st.Forwarded == 0 || st.Dials != 1 || st.OwnWriteMisses != 0 || st.OwnWriteWaits == 0 || st.Refused != 0 {
		t.Errorf("%+v", st)
	}
	// What is about the server stays here.
	c, l := fol.dial(), lead.dial()
	c.do("CONFIG SET maxmemory 1gb")
	c.do("CLIENT SETNAME me")
	if got := l.do("CONFIG GET maxmemory"); got != "[maxmemory ]" && !strings.HasPrefix(got, "[maxmemory 0") {
		t.Errorf("the leader's maxmemory: %s", got)
	}
	if list := l.do("CLIENT LIST"); !strings.Contains(list, "name=evenkeel:forward:"+fol.settings.ServerID()[:12]) || strings.Contains(list, "name=me") {
		t.Errorf("clients of the leader: %s", list)
	}
	if seen := fol.seen.take(); !strings.Contains(seen, "set get") || strings.Contains(seen, "forward") {
		t.Errorf("observed: %s", seen)
	}
}

var envelopes = regexp.MustCompile(`(?m)^\$\d+|Content-Length: \d+`)

// TestForwardTransports: a write comes to the leader from each transport, and its
// answer is in the envelope of that.
func TestForwardTransports(t *testing.T) {
	lead, fol := pair(t, Forward{})
	ask := func(s *server, raw string) string {
		c := s.dial()
		c.raw(raw)
		var all bytes.Buffer
		for !strings.Contains(all.String(), "elapsed") && !strings.Contains(all.String(), "OK\r\n") {
			var b [1024]byte
			n, err := c.r.Read(b[:])
			all.Write(b[:n])
			if err != nil {
				break
			}
		}
		_ = c.Close()
		// The length of the time that it took is in the length of the answer.
		return envelopes.ReplaceAllString(elapsed.ReplaceAllString(all.String(), ""), "N")
	}
	for i, raw := range []string{
		"SET t %s POINT 1 1\r\n", "$18 SET t %s POINT 1 1\r\n", "GET /SET+t+%s+POINT+1+1 HTTP/1.1\r\n\r\n",
		"*6\r\n$3\r\nSET\r\n$1\r\nt\r\n$2\r\n%s\r\n$5\r\nPOINT\r\n$1\r\n1\r\n$1\r\n1\r\n",
		"$11 OUTPUT resp\r\n$18 SET t %s POINT 1 1\r\n",
		"GET /SET+t HTTP/1.1\r\n\r\n",
	} {
		id := fmt.Sprintf("o%d", i)
		here := strings.ReplaceAll(raw, "%s", id)
		want := ask(serve(t, t.TempDir(), config{}), here)
		if got := ask(fol, here); got != want || got == "" {
			t.Errorf("%q: %q, want %q", here, got, want)
		}
		if got := lead.dial().do("EXISTS t " + id); strings.Contains(raw, "%s") && got != ":1" {
			t.Errorf("%q has not come to the leader: %s", here, got)
		}
	}
}

// TestForwardPipeline: a pipeline travels as one, whatever is in it keeps its order,
// and a read between writes sees those before it and none behind.
func TestForwardPipeline(t *testing.T) {
	lead, fol := pair(t, Forward{})
	c := fol.dial()
	lead.seen.take()
	var sent, want []string
	for i := range 3000 {
		sent = append(sent, fmt.Sprintf("SET p i%d STRING v%d", i, i))
		want = append(want, "+OK\r\n")
	}
	c.send(sent...)
	for i := range want {
		if got := c.reply(); got != want[i] {
			t.Fatalf("%s: %q", sent[i], got)
		}
	}
	if asked := strings.Count(lead.seen.take(), "forward"); asked > 30 { // one at the end of each piece
		t.Errorf("3000 writes came in %d pieces", asked)
	}
	sent = sent[:0]
	for i := range 100 {
		sent = append(sent, fmt.Sprintf("SET q x STRING v%d", i), "GET q x", "PING", fmt.Sprintf("FSET q x n %d", i+1), "OUTPUT json", "GET q x WITHFIELDS", "OUTPUT resp")
	}
	c.send(sent...)
	for i := range 100 {
		for _, want := range []string{"+OK", fmt.Sprintf("v%d", i), "+PONG", ":1", `{"ok":true}`, fmt.Sprintf(`{"ok":true,"object":"v%d","fields":{"n":%d}}`, i, i+1), "+OK"} {
			if got := say(c.reply()); got != want {
				t.Fatalf("round %d: %q, want %q", i, got, want)
			}
		}
	}
}

// TestForwardLarge: a command and a pipeline that are larger than any buffer.
func TestForwardLarge(t *testing.T) {
	lead, fol := pair(t, Forward{})
	c := fol.dial()
	big := strings.Repeat("x", 9<<20)
	var lines []string
	for i := range 3 {
		lines = append(lines, fmt.Sprintf("SET big %d STRING %s", i, big))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = c.Write([]byte(encode(lines...)))
	}()
	for range lines {
		if got := c.reply(); got != "+OK\r\n" {
			t.Fatalf("%q", got)
		}
	}
	<-done
	if got := lead.dial().do("GET big 2"); got != big {
		t.Errorf("the leader has %d bytes", len(got))
	}
	// Answers that are larger than what fits into the buffers of the kernel, while there is
	// more to send.
	lines = lines[:0]
	for range 12 {
		lines = append(lines, "EVAL return(string.rep('x',1000000)) 0 "+strings.Repeat("y", 100000))
	}
	go func() { _, _ = c.Write([]byte(encode(lines...))) }()
	for i := range lines {
		if got := c.reply(); len(got) < 1000000 {
			t.Fatalf("answer %d: %.100q", i, got)
		}
	}
}

// TestReadYourWrites: a read waits until the follower has what the same connection
// has written, and is answered by the leader when that takes too long.
func TestReadYourWrites(t *testing.T) {
	b := newBrake(t)
	lead, fol := pair(t, Forward{OwnWrites: patience}, func(o *Options) { o.DialLeader = b.dial })
	c := fol.dial()
	b.set(true)
	c.talk([][2]string{{"SET k a POINT 1 2", "+OK"}})
	fol.dial().talk([][2]string{{"GET k a POINT", "null"}}) // another client need not wait
	c.send("GET k a POINT")
	until(t, "the read to wait", func() bool { return fol.node.Forwarding().OwnWriteWaits == 1 })
	b.set(false)
	if got := say(c.reply()); got != "[1 2]" {
		t.Errorf("own write: %s", got)
	}
	if st := fol.node.Forwarding(); st.LeaderReads != 0 || st.OwnWriteMisses != 0 || st.Forwarded != 1 {
		t.Errorf("%+v", st)
	}
	level(t, lead, fol)
	b.set(true)
	c.send("SET k a POINT 3 4", "GET k a POINT") // in one pipeline
	until(t, "the read to wait", func() bool { return fol.node.Forwarding().OwnWriteWaits == 2 })
	b.set(false)
	if first, second := say(c.reply()), say(c.reply()); first != "+OK" || second != "[3 4]" {
		t.Errorf("in one pipeline: %s, %s", first, second)
	}

	b2 := newBrake(t)
	lead, fol = pair(t, Forward{OwnWrites: 20 * time.Millisecond}, func(o *Options) { o.DialLeader = b2.dial })
	c = fol.dial()
	b2.set(true)
	c.talk([][2]string{{"SET k a POINT 1 2", "+OK"}, {"GET k a POINT", "[1 2]"}, {"EVALRO return(tile38.call('GET','k','a','POINT')[1]) 0", "1"}})
	if st := fol.node.Forwarding(); st.LeaderReads != 2 || st.OwnWriteMisses < 1 || st.OwnWriteMisses > 2 {
		t.Errorf("%+v", st)
	}
	b2.set(false)
	level(t, lead, fol)
	until(t, "the follower to answer itself", func() bool {
		before := fol.node.Forwarding().LeaderReads
		c.talk([][2]string{{"GET k a POINT", "[1 2]"}})
		return fol.node.Forwarding().LeaderReads == before
	})
}

// TestReadFrom: who answers the reads of a follower.
func TestReadFrom(t *testing.T) {
	for _, tt := range []struct {
		from upstream.ReadFrom
		want string
	}{
		{upstream.ReadLocal, "-ERR catching up to leader"}, {upstream.ReadFit, "[1 2]"}, {upstream.ReadLeader, "[1 2]"},
	} {
		b := newBrake(t)
		b.set(true)
		lead := serve(t, t.TempDir(), config{})
		lead.dial().do("SET k a POINT 1 2")
		fol := serve(t, t.TempDir(), config{follow: lead.addr, change: func(o *Options) {
			o.Forward, o.DialLeader = &Forward{ReadFrom: tt.from}, b.dial
		}})
		c := fol.dial()
		c.talk([][2]string{{"GET k a POINT", tt.want}, {"TIMEOUT 5 GET k a POINT", tt.want}})
		b.set(false)
		level(t, lead, fol)
		until(t, "readiness", func() bool { ok, _ := fol.node.Ready(); return ok })
		until(t, "it to be noticed", func() bool {
			before := fol.node.Forwarding().LeaderReads
			c.talk([][2]string{{"GET k a POINT", "[1 2]"}})
			return (fol.node.Forwarding().LeaderReads > before) == (tt.from == upstream.ReadLeader)
		})
	}
}

// TestForwardOnlyWhereGiven: a client that has said FOLLOW gets Tile38's answers.
func TestForwardOnlyWhereGiven(t *testing.T) {
	lead := serve(t, t.TempDir(), config{})
	s := serve(t, t.TempDir(), config{change: forwarding(Forward{})})
	c := s.dial()
	c.talk([][2]string{{"FOLLOW 127.0.0.1 " + lead.port(), "+OK"}})
	level(t, lead, s)
	c.talk([][2]string{{"SET k a POINT 1 1", "-ERR not the leader"}, {"EVAL return(1) 0", "-ERR not the leader"}})

	// Who compares what is here must not be answered by somebody else.
	_, fol := pair(t, Forward{ReadFrom: upstream.ReadLeader})
	c = fol.dial()
	c.talk([][2]string{{"CLIENT SETNAME evenkeel:local", "+OK"}, {"SET k a POINT 1 1", "-ERR not the leader"}, {"EVAL return(1) 0", "-ERR not the leader"}, {"GET k a", "null"}})
	if st := fol.node.Forwarding(); st.LeaderReads+st.Forwarded != 0 {
		t.Errorf("%+v", st)
	}

	_, fol = pair(t, Forward{LocalWrites: true})
	fol.dial().talk([][2]string{{"SET k a POINT 1 1", "-ERR not the leader"}, {"WAIT 1 1", "-ERR not the leader"}})
}

// TestForwardPassword: the leader's password is that of replication; a wrong one is
// no reason to wait.
func TestForwardPassword(t *testing.T) {
	lead := serve(t, t.TempDir(), config{})
	lead.dial().do("CONFIG SET requirepass pw")
	fol := serve(t, t.TempDir(), config{follow: lead.addr, change: forwarding(Forward{Timeout: time.Hour})})
	c := fol.dial()
	if got := c.do("SET k a POINT 1 1"); got != "-ERR leader "+lead.addr+": the connection was refused: ERR authentication required: the command has not run" {
		t.Errorf("without a password: %s", got)
	}
	c.talk([][2]string{{"CONFIG SET leaderauth pw", "+OK"}, {"SET k a POINT 1 1", "+OK"}, {"CONFIG SET requirepass mine", "+OK"}})
	other := fol.dial()
	other.talk([][2]string{{"SET k b POINT 1 1", "-ERR authentication required"}, {"AUTH mine", "+OK"}, {"SET k b POINT 1 1", "+OK"}})
	l := lead.dial()
	l.talk([][2]string{{"AUTH pw", "+OK"}, {"SCAN k IDS", "[:0 [a b]]"}})
}

// TestForwardCommand: FORWARD as it is on the wire.
func TestForwardCommand(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	c := s.dial()
	c.do("SET k a STRING x")
	p := s.log.Position()
	c.talk([][2]string{
		{"FORWARD", "-ERR wrong number of arguments for 'forward' command"}, {"FORWARD x", "-ERR invalid argument 'x'"}, {"FORWARD AT x", "-ERR invalid argument 'AT'"},
		{"FORWARD FROM other", "[leader " + s.settings.ServerID() + "]"}, {"CLIENT GETNAME", "other"},
		{"FORWARD AT", "[" + p.Epoch + " :" + strconv.FormatInt(p.Offset, 10) + "]"},
		{"GET k a", "x"}, {"OUTPUT json", `{"ok":true}`}, {"forward at", "[" + p.Epoch + " :" + strconv.FormatInt(p.Offset, 10) + "]"},
	})

	// Who does not lead answers nothing as if it did.
	_, fol := pair(t, Forward{})
	f := fol.dial()
	f.talk([][2]string{
		{"FORWARD FROM other", "[follower " + fol.settings.ServerID() + "]"},
		{"GET k a", "-ERR not the leader"}, {"SET k a STRING y", "-ERR not the leader"}, {"TIMEOUT 5 GET k a", "-ERR not the leader"},
		{"EVALRO return(1) 0", "-ERR not the leader"}, {"PING", "+PONG"},
	})
	if st := fol.node.Forwarding(); st.Forwarded+st.LeaderReads != 0 {
		t.Errorf("it is sent on: %+v", st)
	}
}
