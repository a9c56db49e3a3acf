package replication

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	"evenkeel/pkg/aof"
)

// WindowRanges is how many ranges a leader names before it asks which of them
// differ: what either side remembers meanwhile.
const WindowRanges = 256

// MaxRangeObjects is the most objects that a leader puts into one range.
const MaxRangeObjects = 1024

// Range is a run of objects of a collection in the order of their ids, or of
// hooks and channels in the order of their names. It begins behind the range
// before it, if that is of the same collection, and otherwise with the first.
type Range struct {
	Key   string // the collection's name
	Hooks bool   // of hooks and channels; Key is empty
	// After is the id behind which the range begins; it means nothing when First.
	After string
	First bool
	// Last is the id of the last object in it; it means nothing when End, which
	// lets everything that is left of the collection belong to the range.
	Last string
	End  bool
	// Count of objects, and the sum of their digests.
	Count  int
	Digest aof.Digest
}

// Has reports whether an id lies in the range.
func (r Range) Has(id string) bool { return (r.First || id > r.After) && (r.End || id <= r.Last) }

// The messages of a range resync: RESP arrays of bulk strings. A leader sends
//
//	RANGE <key> <last id> <end: 0 or 1> <count> <digest>   up to WindowRanges of them
//	HOOKS <last name> <end: 0 or 1> <count> <digest>       the same, behind all others
//	ASK                                                    what now?
//	HASHES <index> <8 bytes an object>                     of each range that differs
//	ITEM <word> …                                          a command that makes an object
//	DONE <index>                                           all ITEMs of a range were sent
//	END                                                    there are no more ranges
//
// and a follower, when it is asked,
//
//	WANT [<index> …]                                       ranges of the window that differ
//	PICK <index> <one bit an object>                       … objects that it does not have
//	ASK                                                    all PICKs were sent
//	RESYNCED                                               END is carried out: send the log
const (
	MsgRange    = "RANGE"
	MsgHooks    = "HOOKS"
	MsgAsk      = "ASK"
	MsgHashes   = "HASHES"
	MsgItem     = "ITEM"
	MsgDone     = "DONE"
	MsgEnd      = "END"
	MsgWant     = "WANT"
	MsgPick     = "PICK"
	MsgResynced = "RESYNCED"
)

// AppendMessage appends a message of these words.
func AppendMessage(dst []byte, words ...string) []byte { return appendArray(dst, words...) }

// Append appends the RANGE or HOOKS message.
func (r Range) Append(dst []byte) []byte {
	end := "0"
	if r.End {
		end = "1"
	}
	count := strconv.Itoa(r.Count)
	if r.Hooks {
		return appendArray(dst, MsgHooks, r.Last, end, count, r.Digest.String())
	}
	return appendArray(dst, MsgRange, r.Key, r.Last, end, count, r.Digest.String())
}

// ParseRange reads what Append writes. before is the range before it, nil for
// the first; what does not come behind it is an error.
func ParseRange(args []string, before *Range) (Range, error) {
	var r Range
	bad := func() (Range, error) { return Range{}, fmt.Errorf("%w: range %.256q", ErrProtocol, args) }
	switch {
	case len(args) == 5 && args[0] == MsgHooks:
		r.Hooks = true
		args = args[1:]
	case len(args) == 6 && args[0] == MsgRange:
		r.Key = args[1]
		args = args[2:]
	default:
		return bad()
	}
	r.Last, r.End = args[0], args[1] == "1"
	n, err := parseCount(args[2])
	if err != nil || n > MaxRangeObjects {
		return bad()
	}
	r.Count = int(n)
	if r.Digest, err = aof.ParseDigest(args[3]); err != nil {
		return bad()
	}
	r.First = before == nil || before.Key != r.Key || before.Hooks != r.Hooks
	if before == nil {
		return r, nil
	}
	if !r.First {
		r.After = before.Last
	}
	if !r.follows(before) {
		return bad()
	}
	return r, nil
}

// follows says whether r comes behind a range.
func (r Range) follows(before *Range) bool {
	switch {
	case r.Hooks != before.Hooks:
		return r.Hooks && before.End
	case r.Key != before.Key:
		return r.Key > before.Key && before.End
	}
	return !before.End && (r.End || r.Last > before.Last)
}

// AppendHashes appends the HASHES message: the lower halves of digests.
func AppendHashes(dst []byte, index int, hashes []uint64) []byte {
	b := make([]byte, 0, 8*len(hashes))
	for _, h := range hashes {
		b = binary.LittleEndian.AppendUint64(b, h)
	}
	return appendArray(dst, MsgHashes, strconv.Itoa(index), string(b))
}

// ParseHashes reads the hashes of a HASHES message of a range with count objects.
func ParseHashes(text string, count int) ([]uint64, error) {
	if len(text) != 8*count {
		return nil, fmt.Errorf("%w: %d bytes of hashes for %d objects", ErrProtocol, len(text), count)
	}
	hashes := make([]uint64, count)
	for i := range hashes {
		hashes[i] = binary.LittleEndian.Uint64([]byte(text[8*i : 8*i+8]))
	}
	return hashes, nil
}

// Bits is a set of objects of a range, by their place in it.
type Bits []byte

// NewBits returns a set for n objects.
func NewBits(n int) Bits { return make(Bits, (n+7)/8) }

// Set puts i into the set.
func (b Bits) Set(i int) { b[i/8] |= 1 << (i % 8) }

// Has reports whether i is in the set.
func (b Bits) Has(i int) bool { return b[i/8]&(1<<(i%8)) != 0 }

// Append appends the PICK message.
func (b Bits) Append(dst []byte, index int) []byte {
	return appendArray(dst, MsgPick, strconv.Itoa(index), hex.EncodeToString(b))
}

// ParseBits reads the set of a PICK message of a range with count objects.
func ParseBits(text string, count int) (Bits, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != (count+7)/8 {
		return nil, fmt.Errorf("%w: %.64q picks of %d objects", ErrProtocol, text, count)
	}
	return b, nil
}

// ParseIndex reads the place of a range in a window of n.
func ParseIndex(text string, n int) (int, error) {
	i, err := parseCount(text)
	if err != nil || i >= int64(n) {
		return 0, fmt.Errorf("%w: range %.32q of %d", ErrProtocol, text, n)
	}
	return int(i), nil
}
