package tile38

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrFormat says that what came is not a command.
var ErrFormat = errors.New("not a command of an append-only file")

// maxBulk is the largest argument, in bytes; Tile38 takes none that is larger.
const maxBulk = 512 << 20

// command looks at the command that begins at b[i] and returns where it ends.
// When b ends before that, next is 0 and need is how long b must be at least for
// another look to get further.
func command(b []byte, i int) (next, need int, err error) {
	n, i, need, err := header(b, i, '*')
	if need > 0 || err != nil {
		return 0, need, err
	}
	for ; n > 0; n-- {
		var size int
		if size, i, need, err = header(b, i, '$'); need > 0 || err != nil {
			return 0, need, err
		}
		end := i + size + 2
		if end > len(b) {
			return 0, end, nil
		}
		if b[end-2] != '\r' || b[end-1] != '\n' {
			return 0, 0, fmt.Errorf("%w: an argument does not end where it should: %.32q", ErrFormat, b[i:end])
		}
		i = end
	}
	return i, 0, nil
}

// header reads "<kind><decimal>\r\n" at b[i].
func header(b []byte, i int, kind byte) (v, next, need int, err error) {
	start := i
	if i >= len(b) {
		return 0, 0, i + 1, nil
	}
	if b[i] != kind {
		return 0, 0, 0, fmt.Errorf("%w: want %q at %.32q", ErrFormat, kind, b[i:])
	}
	for i++; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		if v = v*10 + int(b[i]-'0'); v > maxBulk {
			return 0, 0, 0, fmt.Errorf("%w: too large: %.32q", ErrFormat, b[start:])
		}
	}
	switch {
	case i-start == 1 && i < len(b), i < len(b) && b[i] != '\r', i+1 < len(b) && b[i+1] != '\n':
		return 0, 0, 0, fmt.Errorf("%w: %.32q", ErrFormat, b[start:])
	case i+2 > len(b):
		return 0, 0, len(b) + 1, nil
	}
	return v, i + 2, 0, nil
}

// published is how a message begins.
const published = "*3\r\n$7\r\nPUBLISH\r\n"

// IsMessage says whether b begins with a message, PUBLISH, which a leader sends its
// followers and does not log.
func IsMessage(b []byte) bool {
	return len(b) >= len(published) && b[1] == '3' && bytes.EqualFold(b[:len(published)], []byte(published))
}

// unpublisher takes messages out of a stream that may begin anywhere in a file.
type unpublisher struct{ held []byte }

// feed returns what of the stream is known to be the file.
func (u *unpublisher) feed(b []byte) (file []byte) {
	const most = 1 << 20 // what is longer is no message, or one that the search does without
	mark := []byte("\r\n" + published)
	u.held = append(u.held, b...)
	for {
		i := bytes.Index(u.held, mark)
		if i < 0 {
			keep := min(len(u.held), len(mark)-1)
			file = append(file, u.held[:len(u.held)-keep]...)
			u.held = append([]byte(nil), u.held[len(u.held)-keep:]...)
			return file
		}
		at := i + 2
		end, _, err := command(u.held, at)
		if err == nil && end == 0 && len(u.held)-at < most {
			file = append(file, u.held[:i]...)
			u.held = append([]byte(nil), u.held[i:]...)
			return file
		}
		if err != nil || end == 0 { // a value that looks like it
			file = append(file, u.held[:at]...)
			u.held = append([]byte(nil), u.held[at:]...)
			continue
		}
		u.held = append(u.held[:at], u.held[end:]...)
	}
}

// Split visits the whole commands at the beginning of b, raw, until visit returns
// false, and returns where the last visited one ends. Zero bytes between commands
// are passed over.
func Split(b []byte, visit func(raw []byte) bool) (int, error) {
	for i := 0; ; {
		for i < len(b) && b[i] == 0 {
			i++
		}
		next, _, err := command(b, i)
		if err != nil || next == 0 {
			return i, err
		}
		if !visit(b[i:next]) {
			return next, nil
		}
		i = next
	}
}

// Args returns the words of raw, one command.
func Args(raw []byte) ([]string, error) {
	n, i, _, err := header(raw, 0, '*')
	if err != nil {
		return nil, err
	}
	if i == 0 {
		return nil, fmt.Errorf("%w: %.32q is not whole", ErrFormat, raw)
	}
	var args []string
	for ; n > 0; n-- {
		var size int
		if size, i, _, err = header(raw, i, '$'); err != nil {
			return nil, err
		}
		if i == 0 || i+size+2 > len(raw) {
			return nil, fmt.Errorf("%w: %.32q is not whole", ErrFormat, raw)
		}
		args = append(args, string(raw[i:i+size]))
		i += size + 2
	}
	return args, nil
}

// Commands returns the whole commands that b ends with: b is the end of a file,
// and may begin within a command. What is cut off at the end is left out, as are
// zero bytes. Commands that b is too short to tell are not returned.
func Commands(b []byte, fromStart bool) [][]byte {
	if fromStart {
		cmds, _ := commands(b)
		return cmds
	}
	const most = 4096 // places that look like the beginning of a command
	at := 0
	for range most {
		i := bytes.Index(b[at:], []byte("\r\n*"))
		if i < 0 {
			return nil
		}
		at += i + 2
		if cmds, whole := commands(b[at:]); whole && len(cmds) > 0 {
			return cmds
		}
	}
	return nil
}

// commands splits b; whole: nothing was met that is no command.
func commands(b []byte) (cmds [][]byte, whole bool) {
	_, err := Split(b, func(raw []byte) bool { cmds = append(cmds, raw); return true })
	return cmds, err == nil
}
