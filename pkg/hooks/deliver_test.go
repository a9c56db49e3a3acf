package hooks

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// The request is, byte for byte, the one that a Tile38 server makes.
func TestRequest(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	head := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		text := ""
		for !strings.HasSuffix(text, "\r\n\r\n") {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			text += line
		}
		if _, err := r.Discard(len(`{"a":1}`)); err != nil {
			return
		}
		head <- text
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	}()
	q := open(t, t.TempDir())
	q.SetHook("h", []string{fmt.Sprintf("http://user:pa@%s/p%%20x/../y?a=b c#frag", l.Addr())})
	start(t, q)
	add(t, q, "h", `{"a":1}`)
	want := "POST /p%20x/../y?a=b c HTTP/1.1\r\nHost: " + l.Addr().String() +
		"\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 7\r\nAuthorization: Basic dXNlcjpwYQ==\r\n" +
		"Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n"
	select {
	case got := <-head:
		expect(t, "request", got, want)
	case <-time.After(patience):
		t.Fatal("no request")
	}
	drained(t, q)
}

// Only 200, 201 and 202 say that a message was taken.
func TestStatuses(t *testing.T) {
	for _, c := range []struct {
		status int
		failed uint64
	}{
		{200, 0}, {201, 0}, {202, 0}, {203, 1}, {204, 1}, {206, 1}, {299, 1}, {300, 1}, {301, 1}, {304, 1},
		{400, 1}, {404, 1}, {410, 1}, {429, 1}, {500, 1}, {503, 1},
	} {
		box := newInbox()
		q := open(t, t.TempDir())
		q.SetHook("h", []string{web(t, box, c.status) + "/x"})
		start(t, q)
		add(t, q, "h", "1", "2")
		expect(t, fmt.Sprint(c.status), box.wait(t, "/x", 2), []string{"1", "2"})
		drained(t, q)
		s := q.Stats()
		expect(t, fmt.Sprint("numbers of ", c.status), []any{s.Failed["http"], s.Delivered["http"]}, []any{c.failed, 2})
	}
}

func TestRedirect(t *testing.T) {
	box := newInbox()
	target := web(t, box)
	for _, status := range []int{302, 307, 308} {
		s := httptest.NewServer(http.RedirectHandler(target+fmt.Sprint("/", status), status))
		t.Cleanup(s.Close)
		q := open(t, t.TempDir())
		q.SetHook("h", []string{s.URL})
		start(t, q)
		add(t, q, "h", "text")
		want := "text"
		if status == 302 {
			want = "" // a GET, as clients do since ever
		}
		expect(t, fmt.Sprint(status), box.wait(t, fmt.Sprint("/", status), 1), []string{want})
		drained(t, q)
	}
}

// The order is kept over failures and endpoints.
func TestRetryKeepsOrder(t *testing.T) {
	box := newInbox()
	bad, good := web(t, box, 500, 500, 404, 500), web(t, box, 500, 200, 503)
	q := open(t, t.TempDir())
	q.SetHook("h", []string{bad + "/x", "http://127.0.0.1:1/", good + "/x"})
	start(t, q)
	want := numbers(0, 30)
	add(t, q, "h", want...)
	expect(t, "messages", box.wait(t, "/x", 30), want)
	drained(t, q)
	expect(t, "list", box.list("/x"), want)
}

// A hook that cannot be delivered to holds nobody else up.
func TestHooksAreIndependent(t *testing.T) {
	box := newInbox()
	hold := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
	defer slow.Close()
	defer close(hold)
	q := open(t, t.TempDir(), withLocal(box), func(o *Options) { o.MaxSenders = 2; o.StopGrace = time.Millisecond })
	q.SetHook("slow", []string{slow.URL})
	q.SetHook("refused", []string{"http://127.0.0.1:1/"})
	q.SetHook("never", []string{"kafka://127.0.0.1/t"})
	for i := range 10 {
		q.SetHook(fmt.Sprint(i), []string{fmt.Sprint("local://", i)})
	}
	start(t, q)
	for _, h := range []string{"slow", "refused", "never"} {
		add(t, q, h, "x", "y")
	}
	for i := range 10 {
		add(t, q, fmt.Sprint(i), numbers(0, 200)...)
	}
	for i := range 10 {
		expect(t, "messages", box.wait(t, fmt.Sprint(i), 200), numbers(0, 200))
	}
	// A message is noted as delivered behind its delivery.
	eventually(t, "all but those wait for nothing", func() bool { return q.Stats().Waiting == 6 })
	expect(t, "not supported", q.Stats().Unsupported["kafka"], 2)
}

// respServer answers every command with the next of the replies, then the last.
func respServer(t *testing.T, replies ...string) (addr string, commands func(n int) []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 100)
	var mu sync.Mutex
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				b := make([]byte, 4096)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					got <- string(b[:n])
					mu.Lock()
					reply := replies[0]
					if len(replies) > 1 {
						replies = replies[1:]
					}
					mu.Unlock()
					if reply == "close" {
						return
					}
					_, _ = c.Write([]byte(reply))
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String(), func(n int) (list []string) {
		for range n {
			select {
			case s := <-got:
				list = append(list, s)
			case <-time.After(patience):
				t.Fatalf("%d commands: %q", len(list), list)
			}
		}
		return list
	}
}

func TestRedisAndDisque(t *testing.T) {
	const publish = "*3\r\n$7\r\nPUBLISH\r\n$3\r\na b\r\n$1\r\n%s\r\n"
	const job = "*4\r\n$6\r\nADDJOB\r\n$3\r\na b\r\n$1\r\n%s\r\n$1\r\n0\r\n"
	const replicated = "*6\r\n$6\r\nADDJOB\r\n$1\r\nq\r\n$1\r\n%s\r\n$1\r\n0\r\n$9\r\nREPLICATE\r\n$1\r\n2\r\n"
	for _, c := range []struct {
		endpoint string
		command  string
		replies  []string
		failed   int
	}{
		{"redis://%s/a+b/x?y=1", publish, []string{":0\r\n", "-ERR no\r\n", "+OK\r\n", "$2\r\nhi\r\n", "close", "\r\n", "nonsense\n", ":7\r\n"}, 6},
		{"disque://%s/a%%20b", job, []string{"$4\r\nD-1x\r\n", "+D-2\r\n", "-ERR\r\n", ":1\r\n", "$-1\r\n", "$99999999\r\n", "+D\r\n"}, 4},
		{"disque://%s/q?replicate=2", replicated, []string{"+D\r\n"}, 0},
	} {
		addr, commands := respServer(t, c.replies...)
		q := open(t, t.TempDir())
		q.SetHook("h", []string{fmt.Sprintf(c.endpoint, addr)})
		start(t, q)
		add(t, q, "h", "1", "2", "3", "4")
		drained(t, q)
		var got []string // without what was sent again
		for _, s := range commands(4 + c.failed) {
			if len(got) == 0 || got[len(got)-1] != s {
				got = append(got, s)
			}
		}
		for i, s := range got {
			expect(t, c.endpoint, fmt.Sprintf("%q", s), fmt.Sprintf("%q", fmt.Sprintf(c.command, fmt.Sprint(i+1))))
		}
		stop(t, q)
	}
}

func TestEndpoints(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // scheme, address, channel, replicate, whether it is of use
	}{
		{"http://h", "http    true"},
		{"https://h/x", "https    true"},
		{"http:///x", "http    false"},
		{"http://h/%zz", "http    false"},
		{"local://a/b", "local  a  true"},
		{"local://a%20b?x", "local  a%20b  true"},
		{"redis://h", "redis h:6379   true"},
		{"redis://h//x", "redis h:6379   true"},
		{"redis://h:1/a#f", "redis h:1 a#f  true"},
		{"redis://h/a?b?c/d", "redis h:6379 a  true"},
		{"redis://h/%zz", "redis h:6379   false"},
		{"disque://h/q?replicate=3&x=1", "disque h:7711 q 3 true"},
		{"disque://h/q?replicate=0", "disque h:7711 q  true"},
		{"disque://h/q?REPLICATE=3", "disque h:7711 q  true"},
		{"kafka://h/t", "kafka    false"}, {"amqp://h/q", "amqp    false"}, {"amqps://h/q", "amqp    false"},
		{"mqtt://h/t", "mqtt    false"}, {"nats://h:1/t", "nats    false"}, {"grpc://h", "grpc    false"},
		{"sqs://r:1/q", "sqs    false"}, {"https://sqs.us-east-1.amazonaws.com/1/q", "sqs    false"},
		{"pubsub://p:t", "pubsub    false"}, {"cf-queue://a/q?token=t", "cf-queue    false"},
		{"Endpoint=sb://x/;SharedAccessKeyName=n", "eventhub    false"}, {"nothing", "unknown    false"},
	} {
		e := parseEndpoint(c.text)
		expect(t, c.text, fmt.Sprint(e.scheme, " ", e.addr, " ", e.channel, " ", e.replicate, " ", e.err == nil), c.want)
	}
}

// Hooks that are idle cost no goroutine, and many busy ones no more than allowed.
func TestManyHooks(t *testing.T) {
	box := newInbox()
	q := open(t, t.TempDir(), withLocal(box), func(o *Options) { o.MaxSenders = 8 })
	const hooks = 20_000
	for i := range hooks {
		q.SetHook(fmt.Sprint("hook", i), []string{"local://all"})
	}
	start(t, q)
	before := runtime.NumGoroutine()
	for i := range hooks {
		q.Append(fmt.Sprint("hook", i), []byte("x"))
	}
	commit(t, q)
	if n := runtime.NumGoroutine(); n > before+8 {
		t.Errorf("%d goroutines more", n-before)
	}
	box.wait(t, "all", hooks)
	drained(t, q)
	eventually(t, "no senders", func() bool { return q.Stats().Senders == 0 })
}

func TestPauseAndChange(t *testing.T) {
	box := newInbox()
	q := open(t, t.TempDir(), withLocal(box))
	q.SetHook("h", []string{"local://first"})
	add(t, q, "h", "1")
	expect(t, "before the start", box.list("first"), []string{})
	start(t, q)
	box.wait(t, "first", 1)
	q.Pause()
	add(t, q, "h", "2", "3")
	q.SetHook("h", []string{"local://second"})
	eventually(t, "no senders", func() bool { return q.Stats().Senders == 0 })
	expect(t, "waiting", q.Stats().Waiting, 2)
	q.Resume()
	expect(t, "second", box.wait(t, "second", 2), []string{"2", "3"})
	expect(t, "first", box.list("first"), []string{"1"})
	// Other endpoints end the pause of a hook that fails.
	q.SetHook("h", []string{"http://127.0.0.1:1/"})
	add(t, q, "h", "4")
	eventually(t, "failing", func() bool { return q.Stats().Failed["http"] > 3 })
	q.SetHook("h", []string{"local://second"})
	box.wait(t, "second", 3)
	// What waits for a hook that is removed is gone, and messages for it are not taken.
	q.Pause()
	add(t, q, "h", "5")
	q.RemoveHook("h")
	q.Append("h", []byte("6"))
	commit(t, q)
	q.Resume()
	s := q.Stats()
	expect(t, "rest", []any{s.Waiting, s.Hooks, s.Dropped["removed"], s.Dropped["undefined"]}, []any{0, 0, 1, 1})
	for _, h := range []string{"x", "y", "z"} {
		q.SetHook(h, nil)
		add(t, q, h, "1")
	}
	q.RemoveHooks(func(name string) bool { return name != "y" })
	s = q.Stats()
	expect(t, "rest", []any{s.Waiting, s.Hooks}, []any{1, 1})
}

func TestPause(t *testing.T) {
	o := Options{Dir: "x"}
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range []int{1, 2, 3, 4, 5, 20, 24, 25, 26, 30, 1000} {
		got = append(got, fmt.Sprint(n, ":", pause(n, &o)))
	}
	expect(t, "pauses", strings.Join(got, " "),
		"1:100ms 2:200ms 3:400ms 4:500ms 5:500ms 20:500ms 24:500ms 25:1s 26:2s 30:30s 1000:30s")
}

// Nothing is sent that is not committed.
func TestOnlyCommitted(t *testing.T) {
	box := newInbox()
	q := open(t, t.TempDir(), withLocal(box))
	q.SetHook("h", []string{"local://x"})
	start(t, q)
	add(t, q, "h", "1")
	drained(t, q)
	q.Append("h", []byte("2"))
	q.SetHook("h", []string{"local://x"}) // looks whether there is something to send
	q.Pause()
	q.Resume()
	eventually(t, "no senders", func() bool { return q.Stats().Senders == 0 })
	expect(t, "messages", box.list("x"), []string{"1"})
	commit(t, q)
	expect(t, "messages", box.wait(t, "x", 2), []string{"1", "2"})
}

// A receiver whose certificate nobody vouches for gets nothing.
func TestCertificate(t *testing.T) {
	box := newInbox()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { box.Publish("x", nil) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	q := open(t, t.TempDir())
	q.SetHook("h", []string{s.URL})
	start(t, q)
	add(t, q, "h", "1")
	eventually(t, "attempts", func() bool { return q.Stats().Failed["https"] > 1 })
	expect(t, "messages", []any{len(box.list("x")), q.Stats().Waiting}, []any{0, 1})
}

// Attempts under way may end when the queue stops; others are sent again.
func TestStopGrace(t *testing.T) {
	dir, box := t.TempDir(), newInbox()
	begun := make(chan struct{}, 10)
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the end of the connection is noticed
		begun <- struct{}{}
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	q := open(t, dir)
	q.SetHook("h", []string{s.URL})
	start(t, q)
	add(t, q, "h", "1", "2")
	<-begun
	time.AfterFunc(50*time.Millisecond, func() { end <- struct{}{} })
	stop(t, q)
	// The second waits, and is cut off.
	q = open(t, dir, func(o *Options) { o.StopGrace = 10 * time.Millisecond })
	q.SetHook("h", []string{s.URL})
	expect(t, "waiting", q.Stats().Waiting, 1)
	start(t, q)
	<-begun
	stop(t, q)
	q = open(t, dir, withLocal(box))
	q.SetHook("h", []string{"local://x"})
	start(t, q)
	expect(t, "again", box.wait(t, "x", 1), []string{"2"})
}

func TestUnsupportedIsLoggedOnce(t *testing.T) {
	var lines logBuffer
	q := open(t, t.TempDir(), logTo(&lines))
	q.SetHook("h", []string{"kafka://127.0.0.1/t", "mqtt://127.0.0.1/t"})
	start(t, q)
	add(t, q, "h", numbers(0, 50)...)
	eventually(t, "logged", func() bool { return lines.count("kinds=kafka,mqtt") == 1 })
	add(t, q, "h", numbers(0, 50)...)
	stop(t, q)
	expect(t, "lines", lines.count("not supported"), 1)
}
