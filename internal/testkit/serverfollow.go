package testkit

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/tile38"
)

// following is the leader of a server, and what is thought of being level with it.
type following struct {
	addr  string // empty: it has none
	stop  context.CancelFunc
	done  chan struct{}
	level bool  // caught_up
	once  bool  // caught_up_once: reads are answered
	need  int64 // the leader's aof_size when the connection was made
}

// setLeader is FOLLOW host port, and FOLLOW no one.
func (s *Server) setLeader(_ *client, args []string, out *reply.Reply) error {
	if len(args) != 3 || args[1] == "" {
		return reply.ErrNumArgs
	}
	out.OK()
	if strings.EqualFold(args[1], "no") && strings.EqualFold(args[2], "one") {
		s.unfollow()
		return nil
	}
	if port, err := strconv.ParseUint(args[2], 10, 16); err != nil || port == 0 {
		return reply.InvalidArgument(args[2])
	}
	addr := net.JoinHostPort(args[1], args[2])
	if addr == s.follow.addr {
		return nil
	}
	if err := s.mayFollow(addr); err != nil {
		return reply.Plain("cannot follow" + err.Error())
	}
	s.unfollow()
	s.follow.addr, s.follow.level = addr, false
	s.startFollowing()
	return nil
}

// mayFollow asks the leader to be; the lock is held meanwhile.
func (s *Server) mayFollow(addr string) error {
	if addr == s.Addr {
		return errors.New(" self")
	}
	c, err := tile38.Dial(s.life.ctx, tile38.Options{Addr: addr, Auth: s.config["leaderauth"]})
	if err != nil {
		return errors.New(": " + err.Error())
	}
	defer func() { _ = c.Close() }()
	lead, err := c.Server()
	switch {
	case err != nil:
		return errors.New(": " + err.Error())
	case lead.ID == "":
		return errors.New(": invalid id")
	case lead.ID == s.opt.ID:
		return errors.New(" self")
	case lead.Following != "":
		return errors.New(" a follower")
	}
	return nil
}

// unfollow ends following. mu is held; what is left of the connection notices by
// its context.
func (s *Server) unfollow() {
	if s.follow.stop != nil {
		s.follow.stop()
	}
	s.follow.addr, s.follow.level = "", false
}

// startFollowing keeps following until the server stops or has another leader.
// mu is held.
func (s *Server) startFollowing() {
	ctx, stop := context.WithCancel(s.life.ctx)
	before, done := s.follow.done, make(chan struct{})
	s.follow.stop, s.follow.done = stop, done
	addr := s.follow.addr
	s.life.wg.Go(func() {
		defer close(done)
		defer stop()
		if before != nil {
			<-before
		}
		for ctx.Err() == nil {
			s.followOnce(ctx, addr) // caught_up stays what it was until the next attempt
			select {
			case <-ctx.Done():
			case <-time.After(s.opt.Retry):
			}
		}
	})
}

// followOnce is one connection to the leader, to its end.
func (s *Server) followOnce(ctx context.Context, addr string) {
	s.mu.Lock()
	auth := s.config["leaderauth"]
	if ctx.Err() == nil {
		s.follow.level = false
	}
	s.mu.Unlock()
	c, err := tile38.Dial(ctx, tile38.Options{Addr: addr, Auth: auth})
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	stream, err := s.handshake(ctx, c)
	if err != nil {
		return
	}
	for {
		part, err := stream.Next(tile38.NoLimit)
		if err != nil {
			return
		}
		if err := s.take(ctx, part); err != nil {
			return
		}
	}
}

// handshake is what a follower says before it reads. Commands are refused
// meanwhile: mu is held.
func (s *Server) handshake(ctx context.Context, c *tile38.Conn) (*tile38.Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	lead, err := c.Server()
	if err != nil {
		return nil, err
	}
	if lead.ID == s.opt.ID || lead.Following != "" {
		return nil, errors.New("no leader")
	}
	pos, err := s.place(c)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(s.Addr)
	n, _ := strconv.Atoi(port)
	if p, err := strconv.Atoi(s.config["replica_announce_port"]); err == nil && p > 0 {
		n = p
	}
	if err := c.Announce(n, s.config["replica_announce_ip"]); err != nil {
		return nil, err
	}
	stream, err := c.Follow(pos)
	if err != nil {
		return nil, err
	}
	s.follow.need = lead.AOFSize
	s.look()
	return stream, nil
}

// look decides whether the follower is level, by its own count of bytes, which
// may be of another file. mu is held.
func (s *Server) look() {
	if !s.follow.level && s.counter >= s.follow.need {
		s.follow.level, s.follow.once = true, true
	}
}

// take carries out commands of the leader.
func (s *Server) take(ctx context.Context, part []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, err := eachCommand(part, func(args []string, raw []byte) error {
		before := s.size
		err := s.write(args, raw, &reply.Reply{})
		switch {
		case errors.Is(err, errUnknown):
			return err
		case err == nil && s.size == before && setsHook(args[0]):
			return s.append(raw) // a hook as it is already: on a leader it is not logged
		}
		return nil // Tile38 passes over what cannot be done
	})
	s.look()
	return err
}

func setsHook(name string) bool {
	return strings.EqualFold(name, "sethook") || strings.EqualFold(name, "setchan")
}

// place finds where in the leader's file to begin, as Tile38 does:
//
//   - with a file shorter than a block at 0, and file and memory stay;
//   - with another first block at 0, and the file goes, but neither memory nor
//     aof_size change;
//   - at the end, when the last block is the same; when aof_size is another, the
//     file is loaded again all the same;
//   - else behind the last block that is, of those that a search by halves looks
//     at: the file is cut there and loaded again.
func (s *Server) place(c *tile38.Conn) (int64, error) {
	block := int64(s.opt.Block)
	if s.size < block {
		return 0, nil
	}
	same, err := s.same(c, 0)
	if err != nil {
		return 0, err
	}
	if !same {
		if err := s.file.Truncate(0); err != nil {
			return 0, err
		}
		s.size, s.synced = 0, 0
		return 0, nil
	}
	low, high := int64(0), s.size-block
	same, err = s.same(c, high)
	switch {
	case err != nil:
		return 0, err
	case same && s.counter == s.size:
		return s.size, nil
	case same:
		return s.cut(s.size)
	}
	for (high-low)/2 >= block {
		mid := (low + high) / 2
		if same, err = s.same(c, mid); err != nil {
			return 0, err
		}
		if same {
			low = mid
		} else {
			high = mid
		}
	}
	return s.cut(low + block)
}

// same compares a block with the leader's. mu is held.
func (s *Server) same(c *tile38.Conn, pos int64) (bool, error) {
	b := make([]byte, s.opt.Block)
	if _, err := s.file.ReadAt(b, pos); err != nil {
		return false, err
	}
	return c.Equal(pos, b)
}

// cut shortens the file to where the command ends in which at is, and loads it.
// mu is held.
func (s *Server) cut(at int64) (int64, error) {
	b := make([]byte, s.size)
	if _, err := s.file.ReadAt(b, 0); err != nil {
		return 0, err
	}
	end := int64(0)
	done := errors.New("there")
	_, err := eachCommand(b, func(_ []string, raw []byte) error {
		if end >= at {
			return done
		}
		end += int64(len(raw))
		return nil
	})
	if err != nil && !errors.Is(err, done) {
		return 0, err
	}
	if bytes.IndexByte(b[:end], 0) >= 0 {
		return 0, errors.New("the file holds zero bytes")
	}
	if err := s.file.Truncate(end); err != nil {
		return 0, err
	}
	return end, s.load()
}
