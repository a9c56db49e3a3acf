package forward

import (
	"bytes"
	"strconv"

	"github.com/tidwall/redcon"
)

// Command is a command that an Evenkeel knows and a Tile38 does not. Its replies are
// RESP whatever output the connection has:
//
//	FORWARD FROM name   what follows was sent to another server, which name is; a
//	                    server that does not lead must not send it on.
//	                    → [role, server id]
//	FORWARD AT          → [epoch, offset] of the end of the log
const Command = "forward"

// The words behind Command, and the role of a leader.
const (
	From    = "from"
	At      = "at"
	Leading = "leader"
)

// Position is a place in a leader's log: bytes of an epoch, or, of a Tile38, which
// has no epochs, of its file.
type Position struct {
	Epoch  string
	Offset int64
}

// parsePosition reads the reply to FORWARD AT, or to SERVER in RESP.
func parsePosition(reply []byte) (p Position, ok bool) {
	n, v := redcon.ReadNextRESP(reply)
	if n == 0 || v.Type != redcon.Array {
		return p, false
	}
	var words []string
	v.ForEach(func(e redcon.RESP) bool {
		words = append(words, e.String())
		return true
	})
	offset := ""
	if len(words) == 2 {
		p.Epoch, offset = words[0], words[1]
	} else {
		for i := 0; i+1 < len(words); i += 2 {
			if words[i] == "aof_size" {
				offset = words[i+1]
			}
		}
	}
	var err error
	p.Offset, err = strconv.ParseInt(offset, 10, 64)
	return p, err == nil && p.Offset >= 0
}

// NotLeader says whether a reply is that of a server which does not lead, and has
// therefore not carried out the command. JSON need not be in a bulk string.
func NotLeader(reply []byte) bool {
	if len(reply) == 0 {
		return false
	}
	head := reply[:min(len(reply), 64)]
	switch head[0] {
	case '-':
		return bytes.HasPrefix(head, []byte("-ERR not the leader"))
	case '$':
		_, head, _ = bytes.Cut(head, []byte("\r\n"))
	}
	return bytes.HasPrefix(head, []byte(`{"ok":false,"err":"not the leader`))
}
