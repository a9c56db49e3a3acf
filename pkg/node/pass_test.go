package node

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"evenkeel/pkg/resp"
)

// played is a leader that answers as it is told: by the id of what is SET or read. It
// cannot be followed.
type played struct {
	addr string
	mu   sync.Mutex
	seen []string
}

func play(t *testing.T, answers map[string]string) *played {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &played{addr: ln.Addr().String()}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				r := resp.NewReader(conn, resp.Limits{})
				for {
					cmd, err := r.Next()
					if err != nil {
						return
					}
					name, text := strings.ToLower(cmd.Args[0]), "+OK\r\n"
					switch {
					case name == "forward" && strings.EqualFold(cmd.Args[1], "from"):
						text = "*2\r\n$6\r\nleader\r\n$1\r\nx\r\n"
					case name == "forward":
						text = "*2\r\n$2\r\nep\r\n:0\r\n"
					case name == "server" || name == "auth" || name == "replicate":
						return // it is not followed
					case name == "set" || name == "get":
						p.mu.Lock()
						p.seen = append(p.seen, cmd.Args[2])
						p.mu.Unlock()
						if a, ok := answers[cmd.Args[2]]; ok {
							text = a
						}
					}
					if text == "" {
						return
					}
					if _, err := conn.Write([]byte(text)); err != nil {
						return
					}
				}
			})
		}
	})
	return p
}

// TestWhatIsSentAgain: of a pipeline that a leader answers in part, what is known not
// to have run is carried out by the next leader, and nothing else; the answers keep the order.
func TestWhatIsSentAgain(t *testing.T) {
	const (
		gone   = "-ERR not the leader\r\n"
		lost   = ""
		may    = ": connection closed: the command may or may not have run"
		passed = "-ERR not the leader"
	)
	for _, tt := range []struct {
		name    string
		send    string            // ids; r…: a read
		answers map[string]string // of the first leader
		want    string            // the answers, ? for one that may have run, ! for a read that was lost, - for another's refusal
		again   string            // ids that the second leader, which is the node itself, has
	}{
		{"all refused", "a b c", map[string]string{"a": gone, "b": gone, "c": gone}, "+ + +", "a b c"},
		{"the last ones refused", "a b c", map[string]string{"b": gone, "c": gone}, "+ + +", "b c"},
		{"a refused one before one that has run", "a b c", map[string]string{"a": gone}, "- + +", ""},
		{"lost behind the first", "a b c", map[string]string{"b": lost}, "+ ? ?", ""},
		{"a refused one before a lost one", "a b", map[string]string{"a": gone, "b": lost}, "- ?", ""},
		{"lost with a read before a write", "a r b", map[string]string{"r": lost}, "+ ! ?", ""},
		{"lost with a read at the end", "a r", map[string]string{"r": lost}, "+ 0", ""},
		{"a read behind a write that is refused is read again", "a r", map[string]string{"a": gone, "r": "$3\r\nold\r\n"}, "+ 0", "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := play(t, tt.answers)
			s := serve(t, t.TempDir(), config{change: func(o *Options) {
				given(Forward{Timeout: patience, ReadFrom: "leader"})(o)
			}})
			_, port, _ := net.SplitHostPort(first.addr)
			n, _ := strconv.Atoi(port)
			if err := s.node.Follow(t.Context(), "127.0.0.1", n, ""); err != nil {
				t.Fatal(err)
			}
			c := s.dial()
			var lines []string
			for _, id := range strings.Fields(tt.send) {
				if id == "r" {
					lines = append(lines, "GET k r")
				} else {
					lines = append(lines, "SET k "+id+" STRING x")
				}
			}
			c.send(lines...)
			retries := strings.Contains(tt.want, "0") || tt.again != ""
			if retries {
				until(t, "the commands to wait", func() bool { return s.node.Forwarding().Waiting == 1 })
				s.leads()
			}
			for i, want := range strings.Fields(tt.want) {
				got := strings.TrimSuffix(c.reply(), "\r\n")
				ok := false
				switch want {
				case "+":
					ok = got == "+OK"
				case "0":
					ok = got == "$-1"
				case "-":
					ok = got == passed
				case "?":
					ok = got == "-ERR leader "+first.addr+may
				case "!":
					ok = got == "-ERR leader "+first.addr+": connection closed"
				}
				if !ok {
					t.Errorf("%s: %q, want %s", lines[i], got, want)
				}
			}
			if !retries {
				s.leads()
			}
			want := "[:0 [" + tt.again + "]]"
			if got := s.dial().do("SCAN k IDS"); got != want {
				t.Errorf("the second leader has %s, want %s", got, want)
			}
			first.mu.Lock()
			defer first.mu.Unlock()
			seen := map[string]int{}
			for _, id := range first.seen {
				if seen[id]++; seen[id] > 1 && id != "r" && tt.answers[id] != gone {
					t.Errorf("%s was sent %d times", id, seen[id])
				}
			}
		})
	}
}
