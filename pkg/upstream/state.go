package upstream

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"evenkeel/pkg/resp"
	"evenkeel/pkg/tile38"
)

// errState: an engine does not speak RESP.
var errState = errors.New("the answer to AUTH, OUTPUT or CLIENT SETNAME is no reply")

// kept is a command that changes the state of its connection.
type kept struct {
	slot slot
	raw  []byte
	json bool // OUTPUT json
	here bool // CLIENT SETNAME tile38.LocalName
}

// keep reads a command of the table's keepers. It returns nil when it changes
// nothing, or is not whole in raw.
func keep(k *known, raw []byte) *kept {
	cmd, err := resp.NewReader(bytes.NewReader(raw), resp.Limits{}).Next()
	if err != nil || len(cmd.Args) < 2 {
		return nil
	}
	for strings.EqualFold(cmd.Args[0], "timeout") && len(cmd.Args) > 2 {
		cmd.Args = cmd.Args[2:]
	}
	if len(cmd.Args) < 2 || !strings.EqualFold(cmd.Args[0], k.name) ||
		k.state == slotName && !strings.EqualFold(cmd.Args[1], "setname") {
		return nil
	}
	return &kept{
		slot: k.state, raw: bytes.Clone(raw),
		json: k.state == slotOutput && strings.EqualFold(cmd.Args[1], "json"),
		here: k.state == slotName && len(cmd.Args) == 3 && cmd.Args[2] == tile38.LocalName,
	}
}

// remember notes state that l's engine has taken. mu is held.
func (s *session) remember(l *link, k *kept) {
	if k.slot == slotOutput {
		s.json = k.json
	}
	s.state[k.slot] = k.raw
	s.rev++
	l.rev = s.rev // the other link, if there is one, must be told
}

// introduce says the session's state on a new link.
func (l *link) introduce() error {
	l.s.mu.Lock()
	var said []byte
	count := 0
	for _, raw := range l.s.state {
		if raw != nil {
			said = append(said, raw...)
			count++
		}
	}
	if l.s.spoke && l.s.opaque.Load() && l.s.state[slotOutput] == nil {
		// What follows may be malformed: an engine says so to those alone from whom it
		// has had a command.
		said = append(said, sayRESP...)
		count++
	}
	l.rev = l.s.rev
	l.s.mu.Unlock()
	if count == 0 {
		return nil
	}
	if err := l.nc.SetDeadline(time.Now().Add(l.s.b.opts.DialTimeout)); err != nil {
		return err
	}
	if _, err := l.nc.Write(said); err != nil {
		return err
	}
	var rep replies
	var buf [1024]byte
	for count > 0 {
		n, err := l.nc.Read(buf[:])
		if err != nil {
			return err
		}
		// What an engine thinks of it shows in its answers to what follows.
		for b := buf[:n]; len(b) > 0 && count > 0; {
			used, whole, ok := rep.next(b)
			if !ok {
				return errState
			}
			b = b[used:]
			if whole {
				count--
			}
		}
	}
	return l.nc.SetDeadline(time.Time{})
}
