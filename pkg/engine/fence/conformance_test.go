package fence

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/match"

	"evenkeel/pkg/engine/search"
)

// step is a line of a recorded conversation, as far as it is replayed here: the
// commands, and what was pushed to subscribers and live connections.
type step struct {
	Conn   string
	Args   []string
	Batch  [][]string
	Recv   *int
	JSON   json.RawMessage
	Close  string
	Approx bool
}

// TestConformance replays the conversations about fences of the conformance
// corpus, those with scripts and those that wait for the clock left out.
func TestConformance(t *testing.T) {
	dir := os.Getenv("EVENKEEL_CONFORMANCE")
	if dir == "" {
		t.Skip("SKIPPED: EVENKEEL_CONFORMANCE does not name the folder of recorded conversations")
	}
	for _, name := range []string{
		"channel-commands", "channel-detects", "channel-filters", "group-ids", "live-areas", "live-nearby",
		"live-outputs", "live-two-keys", "live-within-intersects", "moving-shapes", "roam-bounds", "roam-channel",
		"roam-live",
	} {
		t.Run(name, func(t *testing.T) {
			c := &conversation{
				world: newWorld(t, Options{}), lives: map[string]*Fence{},
				listens: map[string][]string{}, waiting: map[string][]string{},
			}
			c.replay(filepath.Join(dir, "fences", name+".jsonl"))
		})
	}
}

// conversation plays the part of the server that delivers messages.
type conversation struct {
	*world
	lives   map[string]*Fence
	listens map[string][]string // patterns by connection
	waiting map[string][]string // messages by connection
	checked int
}

func (c *conversation) replay(file string) {
	f, err := os.Open(file)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<22)
	for line := 1; in.Scan(); line++ {
		var s step
		if err := json.Unmarshal(in.Bytes(), &s); err != nil {
			c.t.Fatalf("line %d: %v", line, err)
		}
		for _, args := range s.Batch {
			c.command(s.Conn, args)
		}
		switch {
		case len(s.Args) > 0:
			c.command(s.Conn, s.Args)
		case s.Recv != nil:
			c.receive(line, &s)
		case s.Close != "":
			c.close(s.Close)
		}
	}
	if in.Err() != nil || c.checked == 0 {
		c.t.Fatalf("%d messages compared, %v", c.checked, in.Err())
	}
}

func (c *conversation) close(conn string) {
	if f := c.lives[conn]; f != nil {
		c.set.RemoveLive(f)
		delete(c.lives, conn)
	}
}

func (c *conversation) command(conn string, args []string) {
	switch name := strings.ToLower(args[0]); name {
	case "subscribe", "psubscribe":
		c.listens[conn] = append(c.listens[conn], args[1:]...)
	case "quit":
		c.close(conn)
	case "nearby", "within", "intersects":
		q, err := search.Limits{}.ParseFence(args[0], args[1:], c.st, false)
		if err != nil {
			c.t.Fatalf("%v: %v", args, err)
		}
		c.lives[conn] = c.set.AddLive(q, conn)
	default:
		if c.specs[name].Write == nil {
			return
		}
		_, got := c.do(args...)
		for _, m := range got {
			c.deliver(m)
		}
	}
}

func (c *conversation) deliver(m message) {
	if c.lives[m.who] != nil {
		c.waiting[m.who] = append(c.waiting[m.who], m.text)
		return
	}
	for conn, patterns := range c.listens {
		for _, p := range patterns {
			if match.Match(m.who, p) {
				c.waiting[conn] = append(c.waiting[conn], m.text)
			}
		}
	}
}

func (c *conversation) receive(line int, s *step) {
	var want []string
	if err := json.Unmarshal(s.JSON, &want); err != nil {
		c.t.Fatalf("line %d: %v", line, err)
	}
	for i, text := range want {
		text = strings.ReplaceAll(text, `"<time>"`, `"T"`)
		want[i] = strings.NewReplacer(`"<group-`, `"g`, `>","detect"`, `","detect"`).Replace(text)
	}
	c.checked += len(want)
	got := c.waiting[s.Conn]
	c.waiting[s.Conn] = nil
	if !slices.Equal(got, want) {
		c.t.Errorf("line %d:\n%s\nwant\n%s", line, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
