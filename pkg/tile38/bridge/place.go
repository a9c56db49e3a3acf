package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"evenkeel/pkg/tile38"
)

// Where a follower stands is told by the end of its own file: it logs what it is
// sent, byte for byte and in the same order. Two things are not alike on both
// sides: it does not log PUBLISH, and it deletes what is over by itself, in lower
// case, in which case the leader's own deletion changes nothing and is not logged.
// So both are left out of comparisons; sent a second time they change nothing.

const (
	// minCommands, or minBytes, in a row are a place where there is no heartbeat.
	minCommands = 32
	minBytes    = 4 << 10
	// proof is how much must be alike where nothing else says that it is the place, in
	// bytes.
	proof = 48 << 10
)

// errPlace says why a file's end is not found in a history.
var errPlace = errors.New("the end of the follower's file is not in what it was sent")

// silent says whether a follower may not log raw, a command, though it was sent it,
// or log it though it was not.
func silent(raw []byte) bool {
	i := bytes.IndexByte(raw, '\n') + 1
	name := raw[i:]
	for _, own := range []string{"$3\r\ndel\r\n", "$7\r\ndelhook\r\n", "$7\r\ndelchan\r\n"} {
		if bytes.HasPrefix(name, []byte(own)) {
			return true
		}
	}
	return tile38.IsMessage(raw)
}

// vain says whether raw may have changed nothing, so that the follower did not log it
// either. What it logged behind it shows that it had it; and what was in vain then is
// so again when the follower has nothing more since.
func vain(raw []byte) bool {
	args, err := tile38.Args(raw)
	if err != nil || len(args) == 0 {
		return false
	}
	switch strings.ToLower(args[0]) {
	case "del", "pdel", "drop", "fset", "expire", "persist", "rename", "renamenx", "jset", "jdel",
		"delhook", "pdelhook", "delchan", "pdelchan":
		return true
	case "set":
		return len(args) > 3 && slices.ContainsFunc(args[3:], func(w string) bool { return strings.EqualFold(w, "nx") || strings.EqualFold(w, "xx") })
	}
	return false
}

// loud leaves out what is silent.
func loud(cmds [][]byte) [][]byte {
	var out [][]byte
	for _, c := range cmds {
		if !silent(c) {
			out = append(out, c)
		}
	}
	return out
}

// ending is the end of the follower's file.
type ending struct {
	cmds  [][]byte // whole commands
	whole bool     // they are all
	size  int64    // of the file, in bytes
}

// beat returns the last heartbeat and what is logged behind it; nil: there is none.
func (e *ending) beat(beats tile38.Beats) (beat []byte, behind [][]byte) {
	for i := len(e.cmds) - 1; i >= 0; i-- {
		if beats.Is(e.cmds[i]) {
			return e.cmds[i], loud(e.cmds[i+1:])
		}
	}
	return nil, nil
}

// find returns the offset behind what the follower has.
func (r *ring) find(e *ending, beats tile38.Beats) (gen, h int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gen == 0 {
		return 0, 0, fmt.Errorf("%w: it has just begun", errPlace)
	}
	at, err := r.behindBeat(e, beats)
	if err != nil {
		at, err = r.behindRun(e)
	}
	return r.gen, r.base + int64(at), err
}

// behindBeat finds the last heartbeat and meets what is behind it. mu is held.
func (r *ring) behindBeat(e *ending, beats tile38.Beats) (at int, err error) {
	beat, behind := e.beat(beats)
	if beat == nil {
		return 0, fmt.Errorf("%w: there is no heartbeat", errPlace)
	}
	i := bytes.LastIndex(r.buf, beat)
	if i < 0 || bytes.Index(r.buf, beat) != i {
		return 0, fmt.Errorf("%w: its heartbeat is not, or not only once", errPlace)
	}
	at = i + len(beat)
	n, rest, err := meet(r.buf[at:], behind)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: %d commands more", errPlace, len(rest))
	}
	return at + n, err
}

// meet walks through b, commands that were sent, as far as those that were logged go;
// rest is what it did not come to.
func meet(b []byte, logged [][]byte) (n int, rest [][]byte, err error) {
	if len(logged) == 0 {
		return 0, nil, nil
	}
	_, err = tile38.Split(b, func(raw []byte) bool {
		switch {
		case bytes.Equal(raw, logged[0]):
			logged = logged[1:]
		case !silent(raw) && !vain(raw):
			n = -1
			return false
		}
		n += len(raw)
		return len(logged) > 0
	})
	if err == nil && n < 0 {
		err = fmt.Errorf("%w: %.100q was not sent", errPlace, logged[0])
	}
	return n, logged, err
}

// behindRun finds the last commands in a row. Of several places it is the one where
// all is met that is known of either side before it. mu is held.
func (r *ring) behindRun(e *ending) (at int, err error) {
	cmds := loud(e.cmds)
	logged := bytes.Join(cmds, nil)
	n, size := 0, 0
	for i := len(cmds) - 1; i >= 0 && n < minCommands && size < minBytes; i-- {
		size += len(cmds[i])
		n++
	}
	all := e.whole && r.whole // both begin where the follower's file began
	if n < minCommands && size < minBytes && (!all || n < len(cmds)) {
		return 0, fmt.Errorf("%w: %d commands are too few", errPlace, n)
	}
	sent, places, err := r.loud()
	if err != nil {
		return 0, err
	}
	if all && bytes.HasPrefix(sent, logged) {
		return places[len(logged)], nil
	}
	if size == 0 {
		return 0, fmt.Errorf("%w: its file is empty", errPlace)
	}
	i, err := r.lastRun(sent, cmds, logged, size, e.whole)
	if err != nil {
		return 0, err
	}
	at, ok := places[i]
	if !ok {
		return 0, fmt.Errorf("%w: not between two commands", errPlace)
	}
	return at, nil
}

// loud returns what is not silent, and where each end of a command in it is in buf.
// mu is held.
func (r *ring) loud() (sent []byte, places map[int]int, err error) {
	places = map[int]int{0: 0}
	at := 0
	if _, err := tile38.Split(r.buf, func(raw []byte) bool {
		at += len(raw)
		if !silent(raw) {
			sent = append(sent, raw...)
			places[len(sent)] = at
		}
		return true
	}); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errPlace, err)
	}
	return sent, places, nil
}

// maxMatches of a run are looked at: more come from repetition.
const maxMatches = 64

// lastRun returns where the last n bytes of logged, cmds together, end in sent.
func (r *ring) lastRun(sent []byte, cmds [][]byte, logged []byte, n int, whole bool) (int, error) {
	run := logged[len(logged)-n:]
	found, sound := 0, []int(nil)
	for at := 0; found <= maxMatches; found++ {
		i := bytes.Index(sent[at:], run)
		if i < 0 {
			break
		}
		end := at + i + n
		if r.sound(sent[:end], cmds, whole) {
			sound = append(sound, end)
		}
		at += i + 1
	}
	switch {
	case len(sound) == 1 && found <= maxMatches:
		return sound[0], nil
	case found > 1:
		return 0, fmt.Errorf("%w: the commands repeat themselves", errPlace)
	case found == 1:
		return 0, fmt.Errorf("%w: only the last commands are alike", errPlace)
	}
	return 0, errPlace
}

// sound says whether sent ends as cmds do: as far back as either is known, for as
// much as is proof enough, or up to where the follower has shrunk its file.
func (r *ring) sound(sent []byte, cmds [][]byte, whole bool) bool {
	met := 0
	for i := len(cmds) - 1; i >= 0; i-- {
		if !bytes.HasSuffix(sent[:len(sent)-met], cmds[i]) {
			return tile38.IsDump(cmds[i]) || r.whole && met == len(sent)
		}
		if met += len(cmds[i]); met >= proof {
			return true
		}
	}
	return whole
}
