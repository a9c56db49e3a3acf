package node

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"evenkeel/internal/testkit"
	"evenkeel/pkg/engine/collection"
)

func (s *server) digest() collection.Digest {
	d, _ := s.store.Digest()
	return d
}

// TestFollowTile38: FOLLOW of a Tile38, whose log becomes ours; and back.
func TestFollowTile38(t *testing.T) {
	lead, s := testkit.NewLeader(t), serve(t, t.TempDir(), config{})
	lead.Do("SET k a POINT 1 2", "SETCHAN ch NEARBY k FENCE POINT 1 2 100")
	host, port, _ := net.SplitHostPort(lead.Addr)
	c, sub := s.dial(), s.dial()
	c.talk([][2]string{{"SET own x POINT 1 1", "+OK"}, {"FOLLOW " + host + " " + port, "+OK"}})
	until(t, "the leader's data", func() bool { return s.node.CaughtUpOnce() && s.digest() == lead.Digest() })
	c.talk([][2]string{{"GET own x", "null"}, {"GET k a POINT", "[1 2]"}, {"SET k b POINT 1 1", "-ERR not the leader"}, {"HEALTHZ", "+OK"}})
	// Channels do not fire by themselves: the leader's log has what they say.
	sub.talk([][2]string{{"SUBSCRIBE ch", "[subscribe ch :1]"}})
	lead.Do("SET k a POINT 1 2.00001", "PUBLISH ch hello")
	if got := say(sub.reply()); got != "[message ch hello]" {
		t.Errorf("a subscriber gets %s", got)
	}
	// What the leader logs of a message is in the own log too, for own followers.
	c.talk([][2]string{{"FOLLOW no one", "+OK"}, {"SET k b POINT 1 1", "+OK"}, {"GET k a POINT", "[1 2.00001]"}})
}

// switchboard forwards connections to whoever is behind it now.
type switchboard struct {
	ln     net.Listener
	target chan string // holds the address
}

func newSwitchboard(t *testing.T, target string) *switchboard {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &switchboard{ln: ln, target: make(chan string, 1)}
	b.target <- target
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.run(ctx) }()
	t.Cleanup(func() { cancel(); _ = ln.Close(); <-done })
	return b
}

func (b *switchboard) run(ctx context.Context) {
	ended := make(chan struct{}, 1000)
	n := 0
	for {
		in, err := b.ln.Accept()
		if err != nil {
			for range n {
				<-ended
			}
			return
		}
		to := <-b.target
		b.target <- to
		out, err := net.Dial("tcp", to)
		if err != nil {
			_ = in.Close()
			continue
		}
		stop := context.AfterFunc(ctx, func() { _, _ = in.Close(), out.Close() })
		pipe := func(to, from net.Conn) {
			buf := make([]byte, 4096)
			for {
				k, err := from.Read(buf)
				if _, werr := to.Write(buf[:k]); err != nil || werr != nil {
					break
				}
			}
			_, _ = in.Close(), out.Close()
			stop()
			ended <- struct{}{}
		}
		n += 2
		go pipe(in, out)
		go pipe(out, in)
	}
}

// TestOtherKind: a Tile38 becomes an Evenkeel behind the same address, and the
// other way round. An Evenkeel is followed in its own protocol.
func TestOtherKind(t *testing.T) {
	stock, native := testkit.NewLeader(t), serve(t, t.TempDir(), config{})
	stock.Do("SET k stock POINT 1 2")
	native.dial().talk([][2]string{{"SET k native POINT 1 2", "+OK"}})
	b := newSwitchboard(t, stock.Addr)
	s := serve(t, t.TempDir(), config{follow: b.ln.Addr().String()})
	until(t, "the Tile38", func() bool { return s.node.CaughtUpOnce() && s.digest() == stock.Digest() })
	if lead := native.node.opt.Leader.Followers(); len(lead) != 0 {
		t.Fatalf("%+v", lead)
	}
	<-b.target
	b.target <- native.addr
	stock.Drop()
	level(t, native, s)
	if lead := native.node.opt.Leader.Followers(); len(lead) != 1 {
		t.Errorf("followers in the own protocol: %+v", lead)
	}
	if st := s.node.FollowerStatus(); st.Epoch == "" {
		t.Errorf("no epoch: %+v", st)
	}
	<-b.target
	b.target <- stock.Addr
	epoch := s.log.Position().Epoch
	native.stop()
	until(t, "the Tile38 again", func() bool { return s.digest() == stock.Digest() && s.node.FollowerStatus().CaughtUp })
	if s.log.Position().Epoch == epoch {
		t.Error("the Tile38's commands are in the history of an Evenkeel")
	}
}

// TestTile38FollowsUs: a follower of Tile38's kind, with its faults, has the same
// objects as its leader after every absence.
func TestTile38FollowsUs(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	c := s.dial()
	history(c, 200)
	fol := testkit.NewFollower(2048)
	from := []int64{}
	follow := func(what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		at, err := fol.Follow(ctx, s.addr, func(d collection.Digest) bool { return d == s.digest() })
		if err != nil {
			t.Fatalf("%s: %v after %d bytes", what, err, len(fol.File))
		}
		from = append(from, at)
	}
	follow("the first time")
	c.talk([][2]string{{"SET k more POINT 1 1", "+OK"}})
	follow("more")
	c.talk([][2]string{{"DEL k id5", ":1"}, {"DEL k more", ":1"}})
	s.shrink(c)
	follow("deleted and compacted") // its file is another one: from 0, on top of its memory
	c.talk([][2]string{{"SET k more POINT 2 2", "+OK"}})
	follow("more, in the new file")
	c.talk([][2]string{{"FLUSHDB", "+OK"}, {"SET k only POINT 2 2", "+OK"}})
	s.shrink(c)
	follow("nearly nothing left")
	c.talk([][2]string{{"DEL k only", ":1"}, {"SET k last POINT 2 2", "+OK"}})
	s.shrink(c)
	follow("a short file") // it does not even compare, and does not empty its file
	zero := []bool{true, false, true, false, true, true}
	for i, at := range from {
		if (at == 0) != zero[i] {
			t.Errorf("positions %d: want 0 where %v", from, zero)
			break
		}
	}
}

// TestAsked: a leader that cannot be an Evenkeel is sent nothing that a Tile38
// follower would not send.
func TestAsked(t *testing.T) {
	lead, s := testkit.NewLeader(t), serve(t, t.TempDir(), config{})
	host, port, _ := net.SplitHostPort(lead.Addr)
	s.dial().talk([][2]string{{"FOLLOW " + host + " " + port, "+OK"}})
	until(t, "a stream", func() bool { return s.node.CaughtUpOnce() })
	want := []string{"server", "server", "replicate", "replconf listening-port", "aof 0"}
	if got := lead.Commands(); !slices.Equal(got[:min(len(got), 5)], want) {
		t.Errorf("sent %s, want %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
}
