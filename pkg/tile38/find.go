package tile38

import (
	"bytes"
	"errors"
	"fmt"
)

// A leader's AOFSHRINK writes a new file: a dump of its data, then, byte for
// byte, the commands that came while it did. Who was level when the old file
// went finds the end of what it had taken among those, and goes on behind it.
//
// The end of a tail stands in the new file where it is meant, if
//
//   - its last commands, an anchor of minCommands or minBytes, are there once,
//     and once in the tail itself: traffic that repeats itself proves nothing;
//   - and it is met backwards up to where the dump ends, or up to the beginning
//     of the tail: what was taken since the dump began is all there.
//
// A tail that is only similar ends that run earlier, at a command that is not the
// dump's. What passes both by chance would have to repeat, in order and byte for
// byte, everything that the leader has written since its dump began; even then
// the follower compares the counts of objects with the leader's afterwards.
//
// A heartbeat is written once and never again. Where the tail holds one, the
// anchor is what begins with the last of them, and no more has to be met.
const (
	minCommands = 32
	minBytes    = 4 << 10
	// maxMatches of the anchor are looked at: more come from repetition.
	maxMatches = 64
	// keepBefore is how much before the tail a search can look at, to see the last
	// command of the dump, in bytes.
	keepBefore = 256 << 10
)

// DefaultWindow is how much of the end of a leader's file is searched at most, in
// bytes.
const DefaultWindow = 64 << 20

// firstWindow is how much is searched at first: a tail, and what a leader writes
// while a follower connects again.
const firstWindow = 128 << 10

// ErrNotFound says why a tail was not found in the leader's file.
var ErrNotFound = errors.New("the end of what was taken is not in the leader's file")

// Find looks for the tail near the end of a file of size bytes and returns it at
// its place there. dial makes a connection for each attempt; Find closes it.
// window is how much is looked at, 0 is DefaultWindow: less than half of the
// file, as reading all of it is what a search is to spare.
func (t *Tail) Find(size, window int64, dial func() (*Conn, error)) (found *Tail, read int64, err error) {
	anchor := t.anchor()
	if anchor == nil {
		return nil, 0, fmt.Errorf("%w: %d bytes in %d commands are too few", ErrNotFound, len(t.buf), len(t.ends))
	}
	if i := bytes.Index(t.buf, anchor); i != len(t.buf)-len(anchor) {
		return nil, 0, fmt.Errorf("%w: the commands repeat themselves", ErrNotFound)
	}
	if window == 0 {
		window = DefaultWindow
	}
	window = max(min(window, size/2), min(size, firstWindow))
	for n := min(firstWindow, window); ; n = min(8*n, window) {
		f := &finder{t: t, anchor: anchor, from: size - n}
		err := f.search(size, dial)
		read += n
		if err == nil {
			return t.moved(f.end, f.matched), read, nil
		}
		if !errors.Is(err, ErrNotFound) || f.final || n == window {
			return nil, read, err
		}
	}
}

// anchor returns the last commands, nil when there are too few: those from the
// last heartbeat on, or as many as prove something.
func (t *Tail) anchor() []byte {
	if at := t.beat(); at >= 0 {
		return t.buf[at:]
	}
	for i := len(t.ends) - 2; i >= 0; i-- {
		if n := len(t.buf) - t.ends[i]; len(t.ends)-1-i >= minCommands || n >= minBytes {
			return t.buf[t.ends[i]:]
		}
	}
	if len(t.ends) >= minCommands || len(t.buf) >= minBytes {
		return t.buf
	}
	return nil
}

// finder is one attempt.
type finder struct {
	t      *Tail
	anchor []byte
	from   int64 // where the search begins

	buf  []byte
	base int64 // position of buf[0]
	seen int   // anchors that end in buf[:seen] have been looked at

	matches int
	best    int   // bytes of the tail that are met; of several places the most
	ties    int   // places with as many
	end     int64 // where the best ends
	matched int   // whole commands of it, in bytes
	sound   bool  // it begins where the dump ends, or is the whole tail
	final   bool  // a larger window would not change the answer
}

func (f *finder) search(size int64, dial func() (*Conn, error)) error {
	c, err := dial()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	s, err := c.Follow(f.from)
	if err != nil {
		return err
	}
	s.Idle(c.timeout)
	f.base = f.from
	chunk := make([]byte, 64<<10)
	var u unpublisher
	for at := f.from; at < size; {
		n, err := s.read(chunk)
		file := u.feed(chunk[:n])
		if at+int64(len(file)+len(u.held)) >= size { // nothing more is needed to tell
			file = append(file, u.held...)
			file = file[:size-at]
		}
		at += int64(len(file))
		f.feed(file)
		if f.final {
			break
		}
		if n == 0 && err != nil {
			return fmt.Errorf("search in the leader's file: %w", err)
		}
	}
	switch {
	case f.matches > maxMatches, f.ties > 1:
		f.final = true
		return fmt.Errorf("%w: the commands repeat themselves there", ErrNotFound)
	case f.best == 0 && holdsDump(f.buf):
		f.final = true
		return fmt.Errorf("%w: it is not behind the dump", ErrNotFound)
	case f.best == 0:
		return fmt.Errorf("%w: not in the last %d bytes", ErrNotFound, size-f.from)
	case !f.sound:
		return fmt.Errorf("%w: only %d bytes are alike", ErrNotFound, f.best)
	}
	return nil
}

// feed looks at the next bytes of the file.
func (f *finder) feed(b []byte) {
	keep := len(f.t.buf) + keepBefore
	if len(f.buf) > 2*keep {
		cut := len(f.buf) - keep
		f.buf = f.buf[:copy(f.buf, f.buf[cut:])]
		f.base += int64(cut)
		f.seen -= cut
	}
	f.buf = append(f.buf, b...)
	for from := max(0, f.seen-len(f.anchor)+1); ; {
		i := bytes.Index(f.buf[from:], f.anchor)
		if i < 0 {
			break
		}
		f.look(from + i + len(f.anchor))
		from += i + 1
		if f.matches > maxMatches {
			f.final = true
			return
		}
	}
	f.seen = len(f.buf)
}

// look measures how much of the tail ends at buf[end].
func (f *finder) look(end int) {
	f.matches++
	tail := f.t.buf
	n := len(f.anchor)
	for n < len(tail) && n < end && tail[len(tail)-n-1] == f.buf[end-n-1] {
		n++
	}
	switch {
	case n < f.best:
		return
	case n == f.best:
		f.ties++
		return
	}
	f.best, f.ties, f.end = n, 1, f.base+int64(end)
	f.matched, f.sound = n, n == len(tail) || f.t.beat() >= 0
	if f.sound {
		return
	}
	// Up to where a command begins: arguments may end alike.
	for _, e := range f.t.ends {
		if len(tail)-e <= n {
			f.matched = len(tail) - e
			break
		}
	}
	start := end - f.matched
	f.sound = f.base+int64(start) == 0 || endsWithDump(f.buf[:start])
}

// endsWithDump says whether the last command in b is one as AOFSHRINK writes them:
// in lower case, where clients write SET in upper case.
func endsWithDump(b []byte) bool {
	const most = 4096 // places that look like the beginning of a command
	for at, n := len(b), 0; n < most; n++ {
		at = bytes.LastIndexByte(b[:at], '*')
		if at < 0 {
			return false
		}
		next, _, err := command(b, at)
		if err != nil || next != len(b) {
			continue
		}
		return isDump(b[at:])
	}
	return false
}

// IsDump says whether raw, one command, is as AOFSHRINK writes them.
func IsDump(raw []byte) bool { return isDump(raw) }

// isDump says whether the command at the beginning of b is one of AOFSHRINK's.
func isDump(b []byte) bool {
	i := bytes.IndexByte(b, '\n')
	for _, name := range []string{"$3\r\nset\r\n", "$7\r\nsethook\r\n", "$7\r\nsetchan\r\n"} {
		if bytes.HasPrefix(b[i+1:], []byte(name)) {
			return true
		}
	}
	return false
}

// holdsDump says whether some of the commands in b, the end of a file, are
// AOFSHRINK's: then all that was written since is behind them. The first command
// may be cut off.
func holdsDump(b []byte) bool {
	const most = 64 // places that look like the beginning of a command
	at := 0
	for range most {
		i := bytes.Index(b[at:], []byte("\r\n*"))
		if i < 0 {
			return false
		}
		at += i + 2
		dump, next := false, at
		for next < len(b) {
			dump = dump || isDump(b[next:])
			end, _, err := command(b, next)
			if err != nil || end == 0 {
				break
			}
			next = end
		}
		if next == len(b) {
			return dump
		}
	}
	return false
}
