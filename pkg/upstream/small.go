package upstream

// smallCommands may go over a connection that clients share: each is one request
// with one reply, takes next to no time whatever the data, and says nothing about
// its connection.
var smallCommands = [...]string{
	"get", "set", "fget", "fset", "del", "exists", "fexists", "expire", "persist", "ttl", "type", "bounds", "ping", "echo",
}

// searches may go over connections that clients share for them, as long as they are
// found soon; but not when they stay, as fences do.
var searches = [...]string{"nearby", "within", "intersects", "scan", "search"}

// maxSmall is the largest of them, in bytes.
const maxSmall = 4 << 10

// verdict is about what a client has sent.
type verdict uint8

const (
	verdictSmall   verdict = iota // a small command, or a search
	verdictPart                   // what may become one
	verdictPrivate                // anything else
)

// small looks at what b begins with, and returns a small command, or a search, and its
// length.
// It takes what client libraries send and nothing else: an engine ends a connection
// on which it reads something wrong, and others are on that one, too.
func (t *table) small(b []byte) (k *known, n int, v verdict) {
	words, at, v := exactly(b, '*')
	if v == verdictSmall && words == 0 {
		v = verdictPrivate
	}
	for word := 0; v == verdictSmall && word < words; word++ {
		var size, head int
		if size, head, v = exactly(b[at:], '$'); v != verdictSmall {
			break
		}
		text := at + head
		end := text + size
		switch {
		case end+2 > maxSmall:
			return nil, 0, verdictPrivate
		case end+2 > len(b):
			v = verdictPart
		case b[end] != '\r' || b[end+1] != '\n':
			return nil, 0, verdictPrivate
		case word == 0:
			if k = t.find(b[text:end]); !k.small && !k.search {
				return nil, 0, verdictPrivate
			}
		case k.search && isFence(b[text:end]):
			return nil, 0, verdictPrivate
		}
		at = end + 2
	}
	return k, at, v
}

// exactly reads a head as everybody writes it: mark, a number without anything
// needless, line end. v is verdictSmall when it is whole.
func exactly(b []byte, mark byte) (value, n int, v verdict) {
	const digits = 4 // of maxSmall
	if len(b) > 0 && b[0] != mark {
		return 0, 0, verdictPrivate
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case '0' <= c && c <= '9' && i <= digits && (i == 1 || value > 0):
			value = 10*value + int(c-'0')
		case c != '\r' || i == 1:
			return 0, 0, verdictPrivate
		case i+1 == len(b):
			return 0, 0, verdictPart
		case b[i+1] != '\n':
			return 0, 0, verdictPrivate
		default:
			return value, i + 2, verdictSmall
		}
	}
	return 0, 0, verdictPart
}
