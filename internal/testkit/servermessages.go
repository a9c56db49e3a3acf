package testkit

import (
	"slices"
	"strings"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/engine/reply"
)

// Messages: PUBLISH reaches who listens here and, between what the file has, the
// followers, which hand it on. It is in no file and counts nowhere.

// maxMessages, in bytes, wait for a follower that has not read the file to its end.
const maxMessages = 1 << 20

// publish hands a message on. mu is held.
func (s *Server) publish(args []string, out *reply.Reply) error {
	if len(args) != 3 {
		return reply.ErrNumArgs
	}
	n := 0
	for c := range s.clients {
		if slices.Contains(c.channels, args[1]) {
			// A test that listens reads: this does not block for long.
			_, _ = c.conn.Write(Command("message", args[1], args[2]))
			n++
		}
		if c.stream && len(c.messages) < maxMessages {
			c.messages = append(c.messages, Command(args...)...)
		}
	}
	s.wake()
	out.Int(n)
	return nil
}

// subscribe lets a connection listen. mu is held.
func (s *Server) subscribe(c *client, args []string) []byte {
	var out []byte
	for _, channel := range args[1:] {
		c.channels = append(c.channels, channel)
		out = redcon.AppendArray(out, 3)
		out = redcon.AppendBulkString(out, "subscribe")
		out = redcon.AppendBulkString(out, channel)
		out = redcon.AppendInt(out, int64(len(c.channels)))
	}
	return out
}

func isSubscribe(args []string) bool {
	return len(args) > 1 && strings.EqualFold(args[0], "subscribe")
}
