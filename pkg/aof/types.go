package aof

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Digest is the digest of a state. The log keeps it and compares it; what it
// means is the engine's business.
type Digest struct{ Hi, Lo uint64 }

const hexDigits = "0123456789abcdef"

func appendHex(dst []byte, v uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[v>>shift&15])
	}
	return dst
}

// AppendHex appends 32 lower-case hexadecimal digits.
func (d Digest) AppendHex(dst []byte) []byte {
	return appendHex(appendHex(dst, d.Hi, 16), d.Lo, 16)
}

// String returns 32 lower-case hexadecimal digits.
func (d Digest) String() string { return string(d.AppendHex(make([]byte, 0, 32))) }

// ParseDigest reads what String writes.
func ParseDigest(s string) (Digest, error) {
	if len(s) == 32 {
		hi, ok1 := parseHex([]byte(s[:16]))
		lo, ok2 := parseHex([]byte(s[16:]))
		if ok1 && ok2 {
			return Digest{hi, lo}, nil
		}
	}
	return Digest{}, fmt.Errorf("digest %q: want 32 lower-case hexadecimal digits", s)
}

// parseHex reads up to 16 lower-case hexadecimal digits.
func parseHex(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// Position names a point of a history.
type Position struct {
	Epoch  string // 40 hexadecimal digits, names the history
	Offset int64  // bytes of command payload since the epoch began
}

// String returns "epoch:offset".
func (p Position) String() string { return fmt.Sprintf("%s:%d", p.Epoch, p.Offset) }

func validEpoch(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 20 && s == strings.ToLower(s)
}

// Mark is what an annotation line says about the end of its batch.
type Mark struct {
	Offset int64 // logical offset of the batch's end, bytes
	Time   int64 // time of the batch, Unix milliseconds
	Digest Digest
}

// Batch is a piece of the log that is applied as a whole.
type Batch struct {
	Mark
	// Payload is raw RESP commands that lead to Mark. In a segment they start at
	// Offset-len(Payload); in a base, whose batches all carry the base's offset,
	// they lead to the state at that offset together.
	Payload []byte
	// Unchecked says that Digest means nothing: the batch is a part of a base
	// before its last line, or the base's digest is not known yet.
	Unchecked bool
}

// FsyncPolicy says when what was written is forced to the disk.
type FsyncPolicy uint8

// The policies, as in Tile38's and Redis' appendfsync.
const (
	FsyncAlways      FsyncPolicy = iota // before Commit returns
	FsyncEverySecond                    // at most a second later
	FsyncNo                             // when the operating system likes
)

// ParseFsyncPolicy reads always, everysec or no.
func ParseFsyncPolicy(s string) (FsyncPolicy, error) {
	for p := FsyncAlways; p <= FsyncNo; p++ {
		if strings.EqualFold(s, p.String()) {
			return p, nil
		}
	}
	return 0, fmt.Errorf("fsync policy %q: want always, everysec or no", s)
}

// String returns always, everysec or no.
func (p FsyncPolicy) String() string {
	switch p {
	case FsyncAlways:
		return "always"
	case FsyncEverySecond:
		return "everysec"
	case FsyncNo:
		return "no"
	}
	return fmt.Sprintf("FsyncPolicy(%d)", uint8(p))
}

// Errors that callers tell apart with errors.Is.
var (
	// ErrUnwritable wraps every error of a log that cannot be written now.
	ErrUnwritable = errors.New("the log cannot be written")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the log is closed")
	// ErrEpoch is returned by a tail of another history than the log's.
	ErrEpoch = errors.New("not the log's epoch")
	// ErrGone is returned for an offset that the log has no more, or not yet.
	ErrGone = errors.New("offset is not in the log")
	// ErrDiverged is returned for a position that the log reached with another
	// digest, or not at the end of a batch.
	ErrDiverged = errors.New("the log has another state at the offset")
	// ErrNoDigest is returned while the digest of an adopted file is not known.
	ErrNoDigest = errors.New("the digest of the adopted file is not recorded yet")
)

// DamageError says that a file of the log is not what it was when it was
// written. Nothing was changed.
type DamageError struct {
	File   string // path
	Offset int64  // bytes from the start of the file; -1: the file as a whole
	Reason string
}

func (e *DamageError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%s is damaged: %s", e.File, e.Reason)
	}
	return fmt.Sprintf("%s is damaged at byte %d: %s", e.File, e.Offset, e.Reason)
}
