package replication

import (
	"fmt"
	"strconv"
	"strings"

	"evenkeel/pkg/aof"
)

// Version is the newest version of the protocol that this package speaks; it
// also speaks every older one down to MinVersion.
const (
	Version    = 1
	MinVersion = 1
)

// CommandName is the command that turns a client connection into a stream.
const CommandName = "REPLICATE"

// Limits of what a peer may say in the handshake.
const (
	maxHelloArgs = 64  // words in a REPLICATE, its name included
	maxIDLength  = 128 // bytes
	epochLength  = 40  // hexadecimal digits
	noEpoch      = "?"
)

// Hello is what a follower asks for:
//
//	REPLICATE <version> <epoch or ?> <offset> <digest> [LISTENING-PORT p] [IP-ADDRESS a] [ID x] [OBJECTS n]
type Hello struct {
	Version int
	// Position is where the follower's log ends. An empty Epoch, "?" on the
	// wire, asks for a full resync: the follower has nothing to continue from.
	Position aof.Position
	// Digest is the follower's state digest at Position.
	Digest aof.Digest
	// ListeningPort is the TCP port at which clients reach the follower, 0 if unknown.
	ListeningPort int
	// IPAddress is where clients reach the follower when it is not the address
	// that the connection comes from; empty if it is, or is unknown.
	IPAddress string
	// ID is the follower's server id, empty if it has none.
	ID string
	// Objects is how many objects the follower has, if it can take ranges; 0: it
	// has none that a resync could leave where they are.
	Objects int64
}

// WantsFull reports whether the follower asks for a full resync itself.
func (h Hello) WantsFull() bool { return h.Position.Epoch == "" }

// Append appends the command as a RESP array of bulk strings.
func (h Hello) Append(dst []byte) []byte {
	epoch := h.Position.Epoch
	if epoch == "" {
		epoch = noEpoch
	}
	words := []string{
		CommandName, strconv.Itoa(h.Version), epoch,
		strconv.FormatInt(h.Position.Offset, 10), h.Digest.String(),
	}
	if h.ListeningPort != 0 {
		words = append(words, "LISTENING-PORT", strconv.Itoa(h.ListeningPort))
	}
	if h.IPAddress != "" {
		words = append(words, "IP-ADDRESS", h.IPAddress)
	}
	if h.ID != "" {
		words = append(words, "ID", h.ID)
	}
	if h.Objects > 0 {
		words = append(words, "OBJECTS", strconv.FormatInt(h.Objects, 10))
	}
	return appendArray(dst, words...)
}

// ParseHello reads the words of a REPLICATE command, its name included. Pairs
// of words that it does not know are skipped: a newer follower may say more.
// The errors wrap ErrProtocol or ErrVersion.
func ParseHello(args []string) (Hello, error) {
	var h Hello
	if len(args) < 5 || len(args) > maxHelloArgs || len(args)%2 == 0 {
		return h, fmt.Errorf("%w: wrong number of arguments for '%s'", ErrProtocol, CommandName)
	}
	if !strings.EqualFold(args[0], CommandName) {
		return h, fmt.Errorf("%w: want %s, got %.32q", ErrProtocol, CommandName, args[0])
	}
	v, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil {
		return h, fmt.Errorf("%w: version %.32q", ErrProtocol, args[1])
	}
	h.Version = int(v)
	if h.Version < MinVersion || h.Version > Version {
		return h, fmt.Errorf("%w: %d is not in %d..%d", ErrVersion, h.Version, MinVersion, Version)
	}
	if epoch := args[2]; epoch != noEpoch {
		if !validEpoch(epoch) {
			return h, fmt.Errorf("%w: epoch %.64q", ErrProtocol, epoch)
		}
		h.Position.Epoch = epoch
	}
	if h.Position.Offset, err = parseCount(args[3]); err != nil {
		return h, fmt.Errorf("%w: offset %.32q", ErrProtocol, args[3])
	}
	if h.Digest, err = aof.ParseDigest(args[4]); err != nil {
		return h, fmt.Errorf("%w: digest %.64q", ErrProtocol, args[4])
	}
	for i := 5; i < len(args); i += 2 {
		if err := h.option(strings.ToUpper(args[i]), args[i+1]); err != nil {
			return h, err
		}
	}
	return h, nil
}

func (h *Hello) option(name, value string) error {
	switch name {
	case "LISTENING-PORT":
		p, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return fmt.Errorf("%w: listening port %.32q", ErrProtocol, value)
		}
		h.ListeningPort = int(p)
	case "IP-ADDRESS":
		if !ValidID(value) {
			return fmt.Errorf("%w: IP address %.32q", ErrProtocol, value)
		}
		h.IPAddress = value
	case "ID":
		if !ValidID(value) {
			return fmt.Errorf("%w: server id %.32q: want 1 to %d printable bytes without spaces",
				ErrProtocol, value, maxIDLength)
		}
		h.ID = value
	case "OBJECTS":
		n, err := parseCount(value)
		if err != nil {
			return fmt.Errorf("%w: objects %.32q", ErrProtocol, value)
		}
		h.Objects = n
	}
	return nil
}

// ValidID reports whether id can be said in a handshake: 1 to 128 printable
// ASCII bytes without spaces.
func ValidID(id string) bool {
	if id == "" || len(id) > maxIDLength {
		return false
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] >= 0x7f {
			return false
		}
	}
	return true
}

// validEpoch reports whether s is 40 lower-case hexadecimal digits.
func validEpoch(s string) bool {
	if len(s) != epochLength {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// parseCount reads a decimal number from 0 to 2^63-1, digits only.
func parseCount(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}

// appendArray appends words as a RESP array of bulk strings.
func appendArray(dst []byte, words ...string) []byte {
	dst = append(dst, '*')
	dst = strconv.AppendInt(dst, int64(len(words)), 10)
	dst = append(dst, '\r', '\n')
	for _, w := range words {
		dst = append(dst, '$')
		dst = strconv.AppendInt(dst, int64(len(w)), 10)
		dst = append(dst, '\r', '\n')
		dst = append(dst, w...)
		dst = append(dst, '\r', '\n')
	}
	return dst
}
