package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evenkeel/pkg/resp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// server plays a leader: answer is called for each command, and says what is
// answered; "" is nothing, and closes ends the connection.
type server struct {
	ln     net.Listener
	answer func(n int, args []string) string

	mu    sync.Mutex
	seen  []string
	conns int
	open  map[net.Conn]bool
	wg    sync.WaitGroup
}

const closes = "close"

func serve(t *testing.T, answer func(n int, args []string) string) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{ln: ln, answer: answer, open: map[net.Conn]bool{}}
	s.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns++
			s.open[conn] = true
			s.mu.Unlock()
			s.wg.Go(func() { s.talk(conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		s.cut()
		s.wg.Wait()
	})
	return s
}

// cut ends the connections.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Close()
	}
}

func (s *server) talk(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	r := resp.NewReader(conn, resp.Limits{})
	for n := 0; ; n++ {
		cmd, err := r.Next()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, strings.ToLower(strings.Join(cmd.Args, " ")))
		s.mu.Unlock()
		text := s.answer(n, cmd.Args)
		if text == closes {
			return
		}
		if _, err := conn.Write([]byte(text)); err != nil {
			return
		}
	}
}

func (s *server) addr() string { return s.ln.Addr().String() }

func (s *server) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// leads answers as an Evenkeel that leads, and rest as answer does.
func leads(answer func(args []string) string) func(int, []string) string {
	return func(_ int, args []string) string {
		switch {
		case strings.EqualFold(args[0], Command) && args[1] == From:
			return "*2\r\n$6\r\nleader\r\n$2\r\nid\r\n"
		case strings.EqualFold(args[0], Command):
			return "*2\r\n$2\r\nep\r\n:77\r\n"
		case args[0] == "output", args[0] == "hello":
			return "+OK\r\n"
		}
		return answer(args)
	}
}

// pool makes a pool, whose leader is at addr.
func pool(t *testing.T, addr string, o Options) *Pool {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	p.Lead(addr)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if n := p.Stats().Links; n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return p
}

func words(lines ...string) (cmds [][]string) {
	for _, l := range lines {
		cmds = append(cmds, strings.Fields(l))
	}
	return cmds
}

func (p *Pool) try(addr string, piece Piece) Outcome {
	piece.Patience = patience
	return p.Do(context.Background(), addr, piece, nil)
}

// TestReplies: replies of every shape come back as they are, on a connection that has
// the client's output.
func TestReplies(t *testing.T) {
	shapes := []string{
		"+OK\r\n", "-ERR no\r\n", ":5\r\n", "$-1\r\n", "$0\r\n\r\n", "$5\r\nhe\r\no\r\n", "*0\r\n", "*2\r\n*1\r\n$1\r\na\r\n:1\r\n", "%1\r\n$1\r\na\r\n:1\r\n",
		"_\r\n", ",1.5\r\n", "#t\r\n", "~1\r\n:1\r\n", "=6\r\ntxt:ab\r\n", "$" + fmt.Sprint(1<<20) + "\r\n" + strings.Repeat("x", 1<<20) + "\r\n",
	}
	s := serve(t, leads(func(args []string) string {
		var i int
		_, _ = fmt.Sscan(args[1], &i)
		return shapes[i]
	}))
	p := pool(t, s.addr(), Options{})
	var cmds []string
	for i := range shapes {
		cmds = append(cmds, fmt.Sprintf("shape %d", i))
	}
	for _, mode := range []Mode{{}, {JSON: true}, {JSON: true, RESP3: true}, {RESP3: true}, {}} {
		got := p.try(s.addr(), Piece{Commands: words(cmds...), Mode: mode, Where: true})
		if got.Err != nil || got.Sent != len(shapes) || !got.Known || got.At != (Position{Epoch: "ep", Offset: 77}) {
			t.Fatalf("%+v: %v", mode, got.Err)
		}
		if string(got.Replies) != strings.Join(shapes, "") || got.Ends[0] != 5 {
			t.Errorf("%+v: %.200q", mode, got.Replies)
		}
	}
	var switches []string
	for _, w := range s.said() {
		if strings.HasPrefix(w, "output") || strings.HasPrefix(w, "hello") {
			switches = append(switches, w)
		}
	}
	if got := strings.Join(switches, ","); got != "output json,hello 3,output resp,hello 2" {
		t.Errorf("outputs: %s", got)
	}
	if st := p.Stats(); st.Dials != 1 || st.Lost != 0 || st.Links != 1 {
		t.Errorf("%+v", st)
	}
	if got := p.try(s.addr(), Piece{Commands: words("shape 14"), MaxReplies: 1000}); !errors.Is(got.Err, ErrTooLarge) || len(got.Replies) != 0 {
		t.Errorf("a reply beyond the limit: %v, %d bytes", got.Err, len(got.Replies))
	}
}

// TestLost: of a pipeline whose connection ends it is known which commands were
// answered, which may have run, and which have not.
func TestLost(t *testing.T) {
	s := serve(t, leads(func(args []string) string {
		if args[1] == "3" {
			return closes
		}
		return "+OK\r\n"
	}))
	p := pool(t, s.addr(), Options{})
	got := p.try(s.addr(), Piece{Commands: words("do 0", "do 1", "do 2", "do 3", "do 4"), Where: true})
	if got.Err == nil || len(got.Ends) != 3 || got.Sent != 5 || got.Known || string(got.Replies) != "+OK\r\n+OK\r\n+OK\r\n" {
		t.Errorf("%+v", got)
	}
	// More than the kernel takes: what comes behind was never sent.
	big := strings.Repeat("x", 8<<20)
	cmds := words("do 0", "do 3")
	for range 6 {
		cmds = append(cmds, []string{"do", "4", big})
	}
	got = p.try(s.addr(), Piece{Commands: cmds})
	if got.Err == nil || len(got.Ends) != 1 || got.Sent < 2 || got.Sent >= len(cmds) {
		t.Errorf("answered %d, sent %d of %d, %v", len(got.Ends), got.Sent, len(cmds), got.Err)
	}
	if st := p.Stats(); st.Lost != 2 || st.Links != 0 {
		t.Errorf("%+v", st)
	}
	// A connection that was closed while it was idle costs nothing.
	if got := p.try(s.addr(), Piece{Commands: words("do 0")}); got.Err != nil {
		t.Fatal(got.Err)
	}
	s.cut()
	deadline := time.Now().Add(patience)
	for l := p.idle[0]; l.quiet(); { // the end has to arrive
		if time.Now().After(deadline) {
			t.Fatal("it is not noticed")
		}
	}
	if got := p.try(s.addr(), Piece{Commands: words("do 1")}); got.Err != nil || p.Stats().Lost != 2 {
		t.Errorf("behind an idle connection that was closed: %v", got.Err)
	}
	if got := p.try("127.0.0.1:1", Piece{Commands: words("do 1")}); got.Err == nil || got.Sent != 0 || p.Stats().DialFailures != 1 {
		t.Errorf("nobody there: %+v", got)
	}
	garbage := serve(t, leads(func([]string) string { return "what?\r\n" }))
	p.Lead(garbage.addr())
	if got := p.try(garbage.addr(), Piece{Commands: words("do 1")}); got.Err == nil || !strings.Contains(got.Err.Error(), "no reply") || got.Sent != 1 {
		t.Errorf("garbage: %+v", got)
	}
}

// TestSilence: who takes long is waited for as long as it lives, and the connection
// can be used again; who does not answer on a new one either is lost.
func TestSilence(t *testing.T) {
	let := make(chan struct{})
	var dead bool
	var mu sync.Mutex
	s := serve(t, func(n int, args []string) string {
		mu.Lock()
		gone := dead
		mu.Unlock()
		if gone {
			return ""
		}
		return leads(func(args []string) string {
			if args[1] == "slow" {
				<-let
			}
			return "+OK\r\n"
		})(n, args)
	})
	p := pool(t, s.addr(), Options{Silence: 5 * time.Millisecond, DialTimeout: 300 * time.Millisecond})
	done := make(chan Outcome)
	go func() { done <- p.try(s.addr(), Piece{Commands: words("do slow")}) }()
	asked := func() (n int) {
		for _, w := range s.said() {
			if strings.HasPrefix(w, "forward from") {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(patience); asked() < 3; {
		if time.Now().After(deadline) {
			t.Fatal("it is not asked whether it lives")
		}
		time.Sleep(time.Millisecond)
	}
	close(let)
	if got := <-done; got.Err != nil {
		t.Errorf("a slow answer: %v", got.Err)
	}
	time.Sleep(10 * time.Millisecond) // the deadline of the last read passes
	if got := p.try(s.addr(), Piece{Commands: words("do quick")}); got.Err != nil || p.Stats().Dials != 1 {
		t.Errorf("%v, %+v", got.Err, p.Stats())
	}
	mu.Lock()
	dead = true
	mu.Unlock()
	if got := p.try(s.addr(), Piece{Commands: words("do quick")}); !errors.Is(got.Err, ErrSilent) || got.Sent != 1 {
		t.Errorf("a dead one: %+v", got)
	}
	// The caller's end ends it at once.
	mu.Lock()
	dead = false
	mu.Unlock()
	stuck := make(chan struct{})
	defer close(stuck)
	s2 := serve(t, leads(func([]string) string { <-stuck; return closes }))
	p.Lead(s2.addr())
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if got := p.Do(ctx, s2.addr(), Piece{Commands: words("do x"), Patience: patience}, nil); got.Err == nil || got.Sent != 1 {
		t.Errorf("%+v", got)
	}
}

// TestLeadElsewhere: connections to who is the leader no more are given a moment.
func TestLeadElsewhere(t *testing.T) {
	started, soon, never := make(chan struct{}, 2), make(chan struct{}), make(chan struct{})
	s := serve(t, leads(func(args []string) string {
		started <- struct{}{}
		if args[1] == "never" {
			<-never
			return closes
		}
		<-soon
		return "+OK\r\n"
	}))
	p := pool(t, s.addr(), Options{})
	defer close(never)
	for _, tt := range []struct {
		cmd string
		err error
	}{{"do soon", nil}, {"do never", ErrChanged}} {
		p.Lead(s.addr())
		done := make(chan Outcome)
		go func() { done <- p.try(s.addr(), Piece{Commands: words(tt.cmd)}) }()
		<-started
		p.Lead("elsewhere:1")
		if tt.err == nil {
			close(soon)
		}
		if got := <-done; !errors.Is(got.Err, tt.err) {
			t.Errorf("%s: %v", tt.cmd, got.Err)
		}
	}
	if n := p.Stats().Links; n != 0 {
		t.Errorf("%d connections to who was the leader", n)
	}
	if got := p.try(s.addr(), Piece{Commands: words("do soon")}); !errors.Is(got.Err, ErrChanged) || got.Sent != 0 {
		t.Errorf("a connection that nobody wants any more: %+v", got)
	}
}

// TestBounds: no more connections than are allowed, and no longer than they are needed.
func TestBounds(t *testing.T) {
	let, started := make(chan struct{}), make(chan struct{}, 10)
	s := serve(t, leads(func([]string) string {
		started <- struct{}{}
		<-let
		return "+OK\r\n"
	}))
	p := pool(t, s.addr(), Options{MaxLinks: 2, IdleTimeout: 20 * time.Millisecond})
	done := make(chan Outcome)
	for range 2 {
		go func() { done <- p.try(s.addr(), Piece{Commands: words("do x")}) }()
		<-started
	}
	if got := p.Do(context.Background(), s.addr(), Piece{Commands: words("do x"), Patience: time.Millisecond}, nil); !errors.Is(got.Err, ErrBusy) {
		t.Errorf("%v", got.Err)
	}
	go func() { done <- p.try(s.addr(), Piece{Commands: words("do x")}) }()
	close(let)
	for range 3 {
		if got := <-done; got.Err != nil {
			t.Error(got.Err)
		}
	}
	if st := p.Stats(); st.Dials != 2 {
		t.Errorf("%+v", st)
	}
	for deadline := time.Now().Add(patience); p.Stats().Links > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("idle connections are kept")
		}
	}
	for want, o := range map[string]Options{"MaxLinks: -1": {MaxLinks: -1}, "Silence: -1": {Silence: -1}, "DialTimeout: -1": {DialTimeout: -1}, "IdleTimeout: -1": {IdleTimeout: -1}} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
}

// TestIntroduction: who leads is found out before anything is sent.
func TestIntroduction(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer string // to FORWARD FROM
		err    error
	}{
		{"a follower", "*2\r\n$8\r\nfollower\r\n$2\r\nid\r\n", ErrNotLeader},
		{"ourselves", "*2\r\n$6\r\nleader\r\n$4\r\nself\r\n", ErrNotLeader},
		{"nonsense", "+OK\r\n", ErrNotLeader},
		{"no password", "-ERR authentication required\r\n", ErrRefused},
	} {
		s := serve(t, func(int, []string) string { return tt.answer })
		p := pool(t, s.addr(), Options{ID: "self", Name: "me"})
		if got := p.try(s.addr(), Piece{Commands: words("do x")}); !errors.Is(got.Err, tt.err) || got.Sent != 0 || len(got.Replies) != 0 {
			t.Errorf("%s: %+v", tt.name, got)
		}
		if said := s.said(); len(said) != 1 || said[0] != "forward from me" {
			t.Errorf("%s: %q", tt.name, said)
		}
	}
	tile := serve(t, func(_ int, args []string) string {
		switch strings.ToLower(args[0]) {
		case Command:
			return "-ERR unknown command 'forward'\r\n"
		case "server":
			return "*4\r\n$2\r\nid\r\n$1\r\nx\r\n$8\r\naof_size\r\n$2\r\n99\r\n"
		}
		return "+OK\r\n"
	})
	p := pool(t, tile.addr(), Options{Auth: func() string { return "pw" }})
	for _, json := range []bool{false, true} {
		got := p.try(tile.addr(), Piece{Commands: words("do x"), Where: true, Mode: Mode{JSON: json}})
		if got.Err != nil || got.At != (Position{Offset: 99}) || !got.Known || string(got.Replies) != "+OK\r\n" {
			t.Errorf("a Tile38: %+v", got)
		}
	}
	want := "auth pw,forward from evenkeel:forward,client setname evenkeel:local,do x,server,output json,do x,output resp,server,output json"
	if got := strings.Join(tile.said(), ","); got != want {
		t.Errorf("a Tile38 is told %s, want %s", got, want)
	}
}

// TestNotLeader: what a server answers that does not lead, in every form.
func TestNotLeader(t *testing.T) {
	for text, want := range map[string]bool{
		"-ERR not the leader\r\n": true, "-ERR not the leader: why\r\n": true, "+OK\r\n": false, "": false, "-ERR read only\r\n": false,
		"$20\r\n" + `{"ok":false,"err":"not the leader","elapsed":"1s"}` + "\r\n": true, `{"ok":false,"err":"not the leader"}`: true,
		"$20\r\nnot the leader\r\n": false, "$3\r\nabc\r\n": false, "-ERR written here, but this node is not the leader any more": false,
	} {
		if got := NotLeader([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
