package testkit

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/engine"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// expireEvery is how often what is over is looked for; Tile38 does as often.
const expireEvery = 100 * time.Millisecond

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// errUnknown says that a command of the log or of the leader is none.
var errUnknown = errors.New("unknown command")

// load makes the state anew from the file; mu is held. What is cut off at its end
// goes.
func (s *Server) load() error {
	b, err := os.ReadFile(s.File())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.eng = engine.New(engine.Options{})
	end, err := eachCommand(b, func(args []string, _ []byte) error {
		_, err := s.change(args, &reply.Reply{})
		if errors.Is(err, errUnknown) {
			return err
		}
		return nil // as Tile38 passes over it
	})
	if err != nil {
		return fmt.Errorf("load %s: %w", s.File(), err)
	}
	if s.file != nil {
		_ = s.file.Close()
	}
	if s.file, err = os.OpenFile(s.File(), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if err := s.file.Truncate(int64(end)); err != nil {
		return err
	}
	s.size, s.synced, s.counter = int64(end), int64(end), int64(end)
	s.wake()
	return nil
}

// eachCommand visits the whole commands of b and says where they end.
func eachCommand(b []byte, visit func(args []string, raw []byte) error) (end int, err error) {
	for end < len(b) {
		n, v := redcon.ReadNextRESP(b[end:])
		if n == 0 {
			break
		}
		var args []string
		v.ForEach(func(w redcon.RESP) bool { args = append(args, string(w.Data)); return true })
		if err := visit(args, b[end:end+n]); err != nil {
			return end, err
		}
		end += n
	}
	return end, nil
}

// change carries out a write on the state; changed says that there was something
// to do. mu is held.
func (s *Server) change(args []string, out *reply.Reply) (changed bool, err error) {
	name := strings.ToLower(args[0])
	if name == "publish" {
		return false, s.publish(args, out)
	}
	spec := s.eng.LookupLogged(name)
	if spec == nil {
		return false, fmt.Errorf("%w %q", errUnknown, args[0])
	}
	if spec.Write == nil {
		return false, nil
	}
	req := command.Request{Args: args, Name: name, Now: time.Now().UnixMilli()}
	ch, err := s.eng.Prepare(spec, &req, out)
	out.Rest()
	if err != nil || ch == nil {
		return false, err
	}
	s.eng.Apply(ch)
	return true, nil
}

// write is a write with what the file gets of it: nothing of what changed nothing
// and, a fault of Tile38's, nothing of JDEL. mu is held.
func (s *Server) write(args []string, raw []byte, out *reply.Reply) error {
	changed, err := s.change(args, out)
	if err != nil || !changed || strings.EqualFold(args[0], "jdel") {
		return err
	}
	return s.append(raw)
}

// append writes to the file. mu is held.
func (s *Server) append(b []byte) error {
	if _, err := s.file.WriteAt(b, s.size); err != nil {
		return err
	}
	s.size += int64(len(b))
	s.counter += int64(len(b))
	if s.shrink.runs {
		s.shrink.during = append(s.shrink.during, b...)
	}
	s.wake()
	return nil
}

// expire deletes what is over, on a follower, too, which logs it as its own.
func (s *Server) expire() {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.life.ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		for _, args := range s.due(time.Now().UnixMilli()) {
			if err := s.write(args, Command(args...), &reply.Reply{}); err != nil {
				s.t.Errorf("expire %q: %v", args, err)
			}
		}
		s.mu.Unlock()
	}
}

// due lists what deletes objects and hooks that are over. mu is held.
func (s *Server) due(now int64) (cmds [][]string) {
	st := s.eng.State()
	st.ExpiredHooks(now, func(hk *collection.Hook) bool {
		name := "delhook"
		if hk.Channel {
			name = "delchan"
		}
		cmds = append(cmds, []string{name, hk.Name})
		return true
	})
	st.Scan("", func(c *collection.Collection) bool {
		c.Expired(now, func(it *collection.Item) bool {
			cmds = append(cmds, []string{"del", c.Name(), it.ID()})
			return true
		})
		return true
	})
	return cmds
}
