package tile38

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultHeartbeatKey is the collection that is reserved for heartbeats.
const DefaultHeartbeatKey = "~evenkeel:heartbeat"

// Heartbeat makes the commands by which the sidecar of a leader lets its log say
// where it is: a SET that no other command equals, of one object a pod in a
// collection of their own. Whoever finds one of them in a log knows the place.
// Any goroutine may use it.
type Heartbeat struct {
	key, pod, run string

	mu sync.Mutex
	n  uint64
}

// NewHeartbeat returns the heartbeat of a pod. key "" is DefaultHeartbeatKey.
func NewHeartbeat(key, pod string) *Heartbeat {
	if key == "" {
		key = DefaultHeartbeatKey
	}
	return &Heartbeat{key: key, pod: pod, run: rand.Text()}
}

// Command returns the next heartbeat. It is in upper case, as clients write:
// AOFSHRINK writes its dump in lower case.
func (h *Heartbeat) Command(now time.Time) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	return []string{"SET", h.key, h.pod, "STRING", fmt.Sprintf("%s:%d:%d", h.run, h.n, now.UnixMilli())}
}

// Beat is one heartbeat.
type Beat struct {
	Pod  string
	Run  string    // of the process that wrote it, at random
	N    uint64    // counts from 1 in each run
	Time time.Time // by the clock of the leader's sidecar
}

// ParseHeartbeat says whether a command is a heartbeat, and which. key "" is
// DefaultHeartbeatKey.
func ParseHeartbeat(key string, args []string) (Beat, bool) {
	if key == "" {
		key = DefaultHeartbeatKey
	}
	if len(args) != 5 || args[0] != "SET" || args[1] != key || args[3] != "STRING" {
		return Beat{}, false
	}
	words := strings.Split(args[4], ":")
	if len(words) != 3 || words[0] == "" {
		return Beat{}, false
	}
	n, err := strconv.ParseUint(words[1], 10, 64)
	if err != nil {
		return Beat{}, false
	}
	at, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil {
		return Beat{}, false
	}
	return Beat{Pod: args[2], Run: words[0], N: n, Time: time.UnixMilli(at)}, true
}

// Beats finds heartbeats among commands.
type Beats struct {
	key    string
	prefix []byte
}

// NewBeats returns what finds those in a collection. key "" is DefaultHeartbeatKey.
func NewBeats(key string) Beats {
	if key == "" {
		key = DefaultHeartbeatKey
	}
	return Beats{key: key, prefix: fmt.Appendf(nil, "*5\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$", len(key), key)}
}

// Is says whether raw, one command, is a heartbeat.
func (b Beats) Is(raw []byte) bool {
	_, ok := b.Parse(raw)
	return ok
}

// Parse returns the heartbeat that raw, one command, is.
func (b Beats) Parse(raw []byte) (Beat, bool) {
	if len(b.prefix) == 0 || !bytes.HasPrefix(raw, b.prefix) {
		return Beat{}, false
	}
	args, err := Args(raw)
	if err != nil {
		return Beat{}, false
	}
	return ParseHeartbeat(b.key, args)
}

// Last returns where the last heartbeat in b begins and ends; start is -1 when
// there is none. It need not begin with a command.
func (b Beats) Last(buf []byte) (start, end int) {
	for at := len(buf); ; {
		if at = bytes.LastIndex(buf[:at], b.prefix); at < 0 {
			return -1, 0
		}
		next, _, err := command(buf, at)
		if err == nil && next > 0 && b.Is(buf[at:next]) {
			return at, next
		}
	}
}
