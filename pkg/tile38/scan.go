package tile38

import (
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
