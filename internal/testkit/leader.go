package testkit

import (
	"bufio"
	"context"
	"crypto/md5" //nolint:gosec // AOFMD5 is a checksum by definition of the protocol, no protection
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/engine"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/dump"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/resp"
	"evenkeel/pkg/tile38"
)

// Leader is a Tile38 leader on 127.0.0.1.
type Leader struct {
	Addr string

	t    testing.TB
	ln   net.Listener
	wg   sync.WaitGroup
	stop context.CancelFunc

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced when the file grows or is swapped
	id        string
	file      []byte
	eng       *engine.Engine
	shrinking *collection.State // the state that is being dumped
	during    []byte            // what was written meanwhile
	conns     map[net.Conn]bool // true: a follower's
	commands  []string          // that connections have sent, names and first words
	sent      int64             // bytes of the file
	mute      bool              // streams stand still
	skew      int64             // SERVER counts so many objects too many
}

// NewLeader starts one without data. It ends with the test.
func NewLeader(t testing.TB) *Leader {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Leader{
		Addr: ln.Addr().String(), t: t, ln: ln, stop: cancel, id: strings.Repeat("5", 32),
		changed: make(chan struct{}), conns: map[net.Conn]bool{}, eng: engine.New(engine.Options{}),
	}
	l.wg.Go(func() { l.accept(ctx) })
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		l.Drop()
		l.wg.Wait()
	})
	return l
}

func (l *Leader) accept(ctx context.Context) {
	for {
		conn, err := l.ln.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		l.conns[conn] = false
		l.mu.Unlock()
		l.wg.Go(func() {
			l.serve(ctx, conn)
			_ = conn.Close()
			l.mu.Lock()
			delete(l.conns, conn)
			l.mu.Unlock()
		})
	}
}

// Do carries out a write, words separated by spaces.
func (l *Leader) Do(lines ...string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range lines {
		if err := l.exec(strings.Fields(line), true); err != nil {
			l.t.Fatalf("%s: %v", line, err)
		}
	}
	l.wake()
}

// exec is a command, logged as it was sent.
func (l *Leader) exec(args []string, log bool) error {
	name := strings.ToLower(args[0])
	if name != "publish" {
		spec := l.eng.LookupLogged(name)
		if spec == nil {
			return fmt.Errorf("unknown command %q", args[0])
		}
		req := command.Request{Args: args, Name: name, Now: time.Now().UnixMilli()}
		var out reply.Reply
		ch, err := l.eng.Prepare(spec, &req, &out)
		if err != nil || ch == nil {
			return err
		}
		l.eng.Apply(ch)
	}
	if !log || name == "jdel" {
		return nil
	}
	b := Command(args...)
	l.file = append(l.file, b...)
	if l.shrinking != nil {
		l.during = append(l.during, b...)
	}
	return nil
}

// Command is a command as it is on the wire.
func Command(args ...string) []byte { return tile38.AppendCommand(nil, args...) }

// wake lets the streams look at the file. mu is held.
func (l *Leader) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// BeginShrink begins an AOFSHRINK; what is written until EndShrink is copied
// behind its dump.
func (l *Leader) BeginShrink() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shrinking, l.during = l.eng.State().Snapshot(), nil
}

// EndShrink swaps the file and drops all followers.
func (l *Leader) EndShrink() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var file []byte
	if err := dump.Items(l.shrinking, time.Now().UnixMilli(), func(args []string) error {
		file = append(file, Command(asTile38(args)...)...)
		return nil
	}); err != nil {
		l.t.Error(err)
	}
	l.file = slices.Concat(file, l.during)
	l.shrinking, l.during = nil, nil
	for c, follows := range l.conns {
		if follows {
			_ = c.Close()
		}
	}
	l.wake()
}

// asTile38 makes of a command of our dump what AOFSHRINK would have written.
func asTile38(args []string) []string {
	args = slices.Clone(args)
	for i := 3; i < len(args); i++ {
		switch {
		case args[i] == "ex" && i+1 < len(args):
			sec, _ := strconv.ParseFloat(args[i+1], 64)
			args[i+1] = strconv.FormatFloat(sec, 'f', 1, 64)
		case args[i] == "bounds" && len(args) == i+5:
			b := args[i+1:]
			ring := fmt.Sprintf("[%[2]s,%[1]s],[%[4]s,%[1]s],[%[4]s,%[3]s],[%[2]s,%[3]s],[%[2]s,%[1]s]", b[0], b[1], b[2], b[3])
			return append(args[:i], "object", `{"type":"Polygon","coordinates":[[`+ring+`]]}`)
		case args[i] == "object" && strings.Contains(args[i+1], `"type":"Circle"`):
			args[i] = "string"
		}
	}
	return args
}

// Drop closes all connections.
func (l *Leader) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close()
	}
}

// Mute lets all streams stand still, or go on.
func (l *Leader) Mute(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mute = on
	l.wake()
}

// Skew makes SERVER count so many objects too many.
func (l *Leader) Skew(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skew = n
}

// Replace puts another server, without data, behind the address.
func (l *Leader) Replace(id string) {
	l.mu.Lock()
	l.id, l.file, l.eng = id, nil, engine.New(engine.Options{})
	l.mu.Unlock()
	l.Drop()
}

// Cut takes the last n bytes of the file away unseen by anybody, as a test of
// what follows from a file that is not what it was.
func (l *Leader) Cut(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file = l.file[:len(l.file)-n]
}

// Sent returns how many bytes of the file all streams have sent.
func (l *Leader) Sent() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// Size returns the size of the file.
func (l *Leader) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.file))
}

// Commands returns what connections have sent since the last call.
func (l *Leader) Commands() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.commands
	l.commands = nil
	return c
}

// Digest returns the digest of the data in memory.
func (l *Leader) Digest() collection.Digest {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.eng.State().Digest()
}

func (l *Leader) serve(ctx context.Context, conn net.Conn) {
	rd := resp.NewReader(bufio.NewReader(conn), resp.Limits{})
	for {
		cmd, err := rd.Next()
		if err != nil {
			return
		}
		l.mu.Lock()
		l.commands = append(l.commands, strings.Join(cmd.Args[:min(2, len(cmd.Args))], " "))
		l.mu.Unlock()
		if strings.EqualFold(cmd.Args[0], "aof") {
			l.stream(ctx, conn, cmd.Args[1])
			return
		}
		if _, err := io.WriteString(conn, l.answer(cmd.Args)); err != nil {
			return
		}
	}
}

func (l *Leader) answer(args []string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch strings.ToLower(args[0]) {
	case "server":
		return l.server()
	case "replconf":
		return "+OK\r\n"
	case "aofmd5":
		pos, _ := strconv.ParseInt(args[1], 10, 64)
		size, _ := strconv.ParseInt(args[2], 10, 64)
		if pos+size > int64(len(l.file)) {
			return "-EOF\r\n"
		}
		sum := md5.Sum(l.file[pos : pos+size]) //nolint:gosec // see above
		return "+" + hex.EncodeToString(sum[:]) + "\r\n"
	}
	return fmt.Sprintf("-ERR unknown command '%s'\r\n", args[0])
}

func (l *Leader) server() string {
	st := l.eng.State()
	total := st.Totals()
	hooks, channels := st.CountHooks()
	var b []byte
	members := []string{
		"id", l.id, "version", "1.37.0", "aof_size", strconv.Itoa(len(l.file)),
		"num_collections", strconv.Itoa(st.Len()), "num_objects", strconv.FormatInt(int64(total.Items)+l.skew, 10),
		"num_points", strconv.Itoa(total.Points), "num_strings", strconv.Itoa(total.Texts),
		"num_hooks", strconv.Itoa(hooks + channels),
	}
	b = redcon.AppendArray(b, len(members))
	for _, m := range members {
		b = redcon.AppendBulkString(b, m)
	}
	return string(b)
}

// stream sends the file from a position on, for ever.
func (l *Leader) stream(ctx context.Context, conn net.Conn, from string) {
	pos, _ := strconv.ParseInt(from, 10, 64)
	l.mu.Lock()
	if pos > int64(len(l.file)) {
		l.mu.Unlock()
		_, _ = io.WriteString(conn, "-ERR pos is too big, must be less that the aof_size of leader\r\n")
		return
	}
	l.conns[conn] = true
	l.mu.Unlock()
	gone := make(chan struct{})
	l.wg.Go(func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, conn)
	})
	if _, err := io.WriteString(conn, "+OK\r\n"); err != nil {
		return
	}
	for {
		l.mu.Lock()
		var part []byte
		if !l.mute && pos < int64(len(l.file)) {
			part = slices.Clone(l.file[pos:])
			l.sent += int64(len(part))
		}
		changed := l.changed
		l.mu.Unlock()
		if _, err := conn.Write(part); err != nil {
			return
		}
		pos += int64(len(part))
		select {
		case <-changed:
		case <-gone:
			return
		case <-ctx.Done():
			return
		}
	}
}
