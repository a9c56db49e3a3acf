package replication

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"evenkeel/pkg/aof"
)

// What a leader says between batches, in lines that begin with '+' and end in
// their CRC-32C, 8 hexadecimal digits:
//
//	+SYNC <crc>          sync the log, and acknowledge
//	+TURN <crc>          the follower that asked may compact now
//	+COMPACT <id> <crc>  compact, and say COMPACTED with this id
//
// and a follower, beside ACK:
//
//	REPLCONF TURN ASK                               may I compact?
//	REPLCONF TURN DONE                              I have, or will not
//	REPLCONF COMPACTED <id> <offset> <digest> <text>  text is empty, or why not
//
// What the other side does not know it skips.
const (
	CtlSync    = "SYNC"
	CtlTurn    = "TURN"
	CtlCompact = "COMPACT"
)

// AppendControl appends a line of a leader. The words have no spaces.
func AppendControl(dst []byte, words ...string) []byte {
	start := len(dst)
	dst = append(dst, '+')
	dst = append(dst, strings.Join(words, " ")...)
	return fmt.Appendf(dst, " %08x\r\n", castagnoli(dst[start:]))
}

// parseControl reads a line of a leader with its end. An unknown one is no error.
func parseControl(line []byte) ([]string, error) {
	words := strings.Split(strings.TrimSuffix(string(line), "\r\n"), " ")
	if last := len(words) - 1; last > 0 {
		text := strings.Join(words[:last], " ")
		if words[last] == fmt.Sprintf("%08x", castagnoli([]byte(text))) {
			words[0] = words[0][1:]
			return words[:last], nil
		}
	}
	return nil, fmt.Errorf("%w: line %.128q", ErrCorrupt, line)
}

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// Report is what a follower says of itself with REPLCONF.
type Report struct {
	Kind ReportKind
	// Offset up to which the follower has applied the log; of Compacted, where its
	// base stands.
	Offset int64
	// Synced is the offset up to which its own log is known to be on disk.
	Synced int64
	// Compacted: which request, the state's digest at Offset, and why it failed.
	ID     string
	Digest aof.Digest
	Err    string
}

// ReportKind tells reports apart.
type ReportKind uint8

// The kinds of reports.
const (
	ReportUnknown ReportKind = iota // of a later version: to be skipped
	ReportAck
	ReportTurnAsk
	ReportTurnDone
	ReportCompacted
)

// Append appends the command as a RESP array of bulk strings.
func (r Report) Append(dst []byte) []byte {
	switch r.Kind {
	case ReportAck:
		return appendArray(dst, "REPLCONF", "ACK", strconv.FormatInt(r.Offset, 10), strconv.FormatInt(r.Synced, 10))
	case ReportTurnAsk:
		return appendArray(dst, "REPLCONF", "TURN", "ASK")
	case ReportTurnDone:
		return appendArray(dst, "REPLCONF", "TURN", "DONE")
	case ReportCompacted:
		return appendArray(dst, "REPLCONF", "COMPACTED", r.ID, strconv.FormatInt(r.Offset, 10), r.Digest.String(),
			r.Err[:min(len(r.Err), MaxLine)])
	}
	return dst
}

// ParseReport reads a REPLCONF that a follower sends on its stream. One that
// this version does not know is ReportUnknown. Any other command is an error.
func ParseReport(args []string) (Report, error) {
	if len(args) == 0 || !strings.EqualFold(args[0], "REPLCONF") {
		return Report{}, fmt.Errorf("%w: want REPLCONF on a replication stream, got %.32q", ErrProtocol, args)
	}
	var name string
	if len(args) > 1 {
		name = strings.ToUpper(args[1])
	}
	var r Report
	var err error
	switch {
	case name == "ACK":
		r, err = parseAck(args)
	case name == "TURN" && slices.Equal(args[2:], []string{"ASK"}):
		r.Kind = ReportTurnAsk
	case name == "TURN" && slices.Equal(args[2:], []string{"DONE"}):
		r.Kind = ReportTurnDone
	case name == "COMPACTED":
		r, err = parseCompacted(args)
	}
	if err != nil {
		return Report{}, fmt.Errorf("%w: REPLCONF %.160q: %w", ErrProtocol, args[1:], err)
	}
	return r, nil
}

func parseAck(args []string) (r Report, err error) {
	if len(args) < 4 {
		return r, errWords
	}
	r.Kind = ReportAck
	if r.Offset, err = parseCount(args[2]); err != nil {
		return r, err
	}
	r.Synced, err = parseCount(args[3])
	return r, err
}

func parseCompacted(args []string) (r Report, err error) {
	if len(args) < 6 {
		return r, errWords
	}
	r.Kind, r.ID, r.Err = ReportCompacted, strings.Clone(args[2]), strings.Clone(args[5])
	if r.Offset, err = parseCount(args[3]); err != nil {
		return r, err
	}
	r.Digest, err = aof.ParseDigest(args[4])
	return r, err
}
