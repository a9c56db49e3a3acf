package replication

import (
	"fmt"
	"slices"
	"strings"

	"evenkeel/pkg/aof"
)

// MaxLine is the longest line, without its line end, that either side sends in
// the handshake, in bytes. A reader need not keep more than that.
const MaxLine = 1024

// Answer is what a leader grants:
//
//	+CONTINUE <epoch> <offset> [NAME value …]
//	+RANGES <epoch> <offset> <time> <digest> <objects> [NAME value …]
//	+FULL <epoch> <offset> <time> <digest> <size> [NAME value …]
//
// with the pairs END (the leader's own offset), NOW (its clock, unix ms), ID
// (its server id) and FORK (an epoch and an offset, joined by a colon; it may
// come more than once).
type Answer struct {
	Kind Kind
	// Epoch of the log that follows, 40 hexadecimal digits.
	Epoch string
	// Start is where the log that follows begins. Time and Digest are those of
	// the state there; a CONTINUE does not have them.
	Start aof.Mark
	// Size is what there is: the bytes of a base that follow, or the objects that
	// ranges are made of.
	Size int64
	// Forks are histories that Epoch goes on from, oldest first: with Continue those
	// from the follower's own epoch on, none if that is Epoch; otherwise the newest.
	Forks []aof.Fork
	// End is where the leader's log ended when it answered, -1 if it did not say.
	End int64
	// Now is the leader's clock when it answered, unix ms, 0 if it did not say.
	Now int64
	// LeaderID is the leader's server id, empty if it has none.
	LeaderID string
}

// Kind is what a leader grants.
type Kind uint8

// The kinds.
const (
	Continue Kind = iota // the log follows at once
	Ranges               // what differs from a state follows, see Range; then the log
	Full                 // a base file follows, then the log
)

// kinds are the first words of an answer.
var kinds = [...]string{Continue: "+CONTINUE", Ranges: "+RANGES", Full: "+FULL"}

// MaxForks is how many forks an answer names; a line is no longer than MaxLine.
const MaxForks = 8

// History returns what the log that follows belongs to.
func (a Answer) History() aof.History { return aof.History{Epoch: a.Epoch, Forks: a.Forks} }

// Append appends the answer as a RESP simple string.
func (a Answer) Append(dst []byte) []byte {
	dst = fmt.Appendf(dst, "%s %s %d", kinds[a.Kind], a.Epoch, a.Start.Offset)
	if a.Kind != Continue {
		dst = fmt.Appendf(dst, " %d %s %d", a.Start.Time, a.Start.Digest, a.Size)
	}
	for _, f := range a.Forks[:min(len(a.Forks), MaxForks)] {
		dst = fmt.Appendf(dst, " FORK %s:%d", f.Epoch, f.Offset)
	}
	if a.End >= 0 {
		dst = fmt.Appendf(dst, " END %d", a.End)
	}
	if a.Now > 0 {
		dst = fmt.Appendf(dst, " NOW %d", a.Now)
	}
	if a.LeaderID != "" {
		dst = fmt.Appendf(dst, " ID %s", a.LeaderID)
	}
	return append(dst, '\r', '\n')
}

// AppendRefusal appends a RESP error of one line.
func AppendRefusal(dst []byte, err error) []byte {
	text := strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, err.Error())
	const prefix = "-ERR "
	if len(text) > MaxLine-len(prefix) {
		text = text[:MaxLine-len(prefix)]
	}
	dst = append(dst, prefix...)
	dst = append(dst, text...)
	return append(dst, '\r', '\n')
}

// ParseAnswer reads the leader's answer, a line without its line end. A RESP
// error becomes ErrRefused with the leader's own words, or ErrNotEvenkeel when
// the leader does not know the command. Pairs that it does not know are skipped.
func ParseAnswer(line string) (Answer, error) {
	if text, ok := strings.CutPrefix(line, "-"); ok {
		return Answer{}, refusal(text)
	}
	words := strings.Split(line, " ")
	a, need := Answer{End: -1}, 3
	kind := slices.Index(kinds[:], words[0])
	if kind < 0 {
		return Answer{}, fmt.Errorf("%w: answer to %s: %.64q", ErrProtocol, CommandName, line)
	}
	if a.Kind = Kind(kind); a.Kind != Continue {
		need = 6
	}
	if len(words) < need || (len(words)-need)%2 != 0 {
		return Answer{}, fmt.Errorf("%w: answer of %d words: %.128q", ErrProtocol, len(words), line)
	}
	if err := a.fixed(words); err != nil {
		return Answer{}, fmt.Errorf("%w: %w in answer %.160q", ErrProtocol, err, line)
	}
	for i := need; i < len(words); i += 2 {
		if err := a.option(words[i], words[i+1]); err != nil {
			return Answer{}, fmt.Errorf("%w: %w in answer %.160q", ErrProtocol, err, line)
		}
	}
	if a.End >= 0 && a.End < a.Start.Offset {
		return Answer{}, fmt.Errorf("%w: the log ends at %d, before its start at %d",
			ErrProtocol, a.End, a.Start.Offset)
	}
	return a, nil
}

// fixed reads the words that have their place.
func (a *Answer) fixed(words []string) (err error) {
	if a.Epoch = words[1]; !validEpoch(a.Epoch) {
		return fmt.Errorf("epoch %.64q", a.Epoch)
	}
	if a.Start.Offset, err = parseCount(words[2]); err != nil {
		return fmt.Errorf("offset: %w", err)
	}
	if a.Kind == Continue {
		return nil
	}
	if a.Start.Time, err = parseCount(words[3]); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	if a.Start.Digest, err = aof.ParseDigest(words[4]); err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	if a.Size, err = parseCount(words[5]); err != nil {
		return fmt.Errorf("size: %w", err)
	}
	return nil
}

func (a *Answer) option(name, value string) (err error) {
	switch name {
	case "END":
		a.End, err = parseCount(value)
	case "NOW":
		a.Now, err = parseCount(value)
	case "ID":
		if !ValidID(value) {
			return fmt.Errorf("server id %.32q", value)
		}
		a.LeaderID = value
	case "FORK":
		epoch, offset, _ := strings.Cut(value, ":")
		f := aof.Fork{Epoch: epoch}
		if f.Offset, err = parseCount(offset); err != nil || !validEpoch(epoch) || len(a.Forks) == MaxForks {
			return fmt.Errorf("fork %.64q", value)
		}
		a.Forks = append(a.Forks, f)
	}
	return err
}

// refusal turns the text of a RESP error, without its '-', into an error.
func refusal(text string) error {
	const code = "ERR "
	if strings.HasPrefix(strings.ToLower(strings.TrimPrefix(text, code)), "unknown command") {
		return fmt.Errorf("%w; it said: %s", ErrNotEvenkeel, text)
	}
	if strings.Contains(text, ErrSelf.Error()) {
		return fmt.Errorf("%w: %w", ErrRefused, ErrSelf)
	}
	return fmt.Errorf("%w: %s", ErrRefused, strings.TrimPrefix(text, code))
}
