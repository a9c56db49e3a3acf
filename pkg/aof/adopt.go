package aof

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"evenkeel/internal/fsx"
)

// decideAdoption reads a plain appendonly.aof to its end: it must be RESP
// commands, stretches of zero bytes between them, and at most one command at the
// end that is not whole.
func (op *opening) decideAdoption() (err error) {
	l := op.l
	path := l.path(adoptedName)
	st, err := l.fs.Stat(path)
	if err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("adopt %s: it is not a file", path)
	}
	f, err := l.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	s := commandScanner{newWindow(f, 0, size), chunkBytes}
	var payload int64
	for {
		var run []byte
		if run, err = s.next(); err != nil {
			break
		}
		payload += int64(len(run))
	}
	kept, crc := s.pos, s.crc
	fe, format := errors.AsType[*formatError](err)
	switch {
	case errors.Is(err, io.EOF):
	case errors.Is(err, errTorn):
		if err := checkTornCommand(path, s.window); err != nil {
			return err
		}
		op.cut = &cutPlan{name: adoptedName, at: kept, size: size - kept}
		if crc, err = sumFile(f, kept); err != nil {
			return fmt.Errorf("adopt %s: %w", path, err)
		}
	case format:
		return &DamageError{File: path, Offset: fe.at, Reason: fe.reason}
	default:
		return fmt.Errorf("adopt %s: %w", path, err)
	}
	l.recovery.AdoptedFrom = path
	op.end = Mark{Offset: payload, Time: max(l.o.Now(), 0)}
	l.base = &logFile{
		name: adoptedName, kind: kindAdopted, sealed: true, synced: true,
		end: op.end, payload: payload, size: kept, visible: kept, crc: crc,
	}
	return nil
}

// checkTornCommand tells a torn tail from a damaged length in the middle of the
// file, which swallows the commands behind it: in a torn command there are none.
func checkTornCommand(path string, w *window) error {
	tail := make([]byte, w.left())
	if _, err := w.f.ReadAt(tail, w.pos); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: read the tail at %d: %w", path, w.pos, err)
	}
	damage := func(reason string) error {
		return &DamageError{File: path, Offset: w.pos, Reason: "the command that begins here is not whole; " + reason}
	}
	at, ok := findCommand(tail)
	switch {
	case !ok:
		return damage("whether there are whole ones behind it takes too long to tell")
	case at >= 0:
		return damage(fmt.Sprintf("there is a whole one behind it, at byte %d", w.pos+int64(at)))
	}
	return nil
}

// findCommand returns where the first whole command behind the start of tail
// begins, -1 when there is none; not ok: that takes too long to tell.
func findCommand(tail []byte) (start int, ok bool) {
	budget := 64 * len(tail)
	for at := 0; ; {
		i := bytes.Index(tail[at:], []byte("\n*"))
		if i < 0 {
			return -1, true
		}
		at += i + 1
		next, s := skipCommand(tail, at)
		if s == found && next > at+len("*0\r\n") {
			return at, true
		}
		if budget -= min(next, len(tail)) - at; budget < 0 {
			return -1, false
		}
	}
}

// sumFile returns the CRC-32C of the first size bytes of f.
func sumFile(f fsx.File, size int64) (uint32, error) {
	buf := make([]byte, chunkBytes)
	var crc uint32
	for at := int64(0); at < size; {
		b := buf[:min(int64(len(buf)), size-at)]
		if _, err := f.ReadAt(b, at); err != nil {
			return 0, fmt.Errorf("read at %d: %w", at, err)
		}
		crc = checksum(crc, b)
		at += int64(len(b))
	}
	return crc, nil
}
