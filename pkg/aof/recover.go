package aof

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// followOn reads the segment that was being written, open (nil: none is listed),
// and takes up the segments on disk that continue it.
func (op *opening) followOn(open *logFile) error {
	l := op.l
	after := op.end.Offset
	if open != nil {
		after = open.start
	}
	more, err := op.unlisted(after, open != nil)
	if err != nil {
		return err
	}
	if open != nil {
		if err := op.readSegment(open); err != nil {
			return err
		}
	}
	for i, s := range more {
		if s.start != op.end.Offset || op.cut != nil {
			// What the active segment lost in a crash is missing before this one. No
			// command in it was ever promised to be durable: then the manifest would
			// call the segment before it sealed.
			for _, x := range more[i:] {
				op.setAside = append(op.setAside, x.name)
			}
			break
		}
		op.sealActive()
		s.startDigest, s.startKnown = op.end.Digest, op.knownDigest()
		l.segs = append(l.segs, s)
		l.recovery.Continued = append(l.recovery.Continued, l.path(s.name))
		op.rewrite = true
		if err := op.readSegment(s); err != nil {
			return err
		}
	}
	return nil
}

// knownDigest says whether op.end.Digest means anything.
func (op *opening) knownDigest() bool {
	b := op.l.base
	return b == nil || b.digestKnown || op.end.Offset != b.end.Offset
}

// sealActive turns the segment that was read last into a complete one.
func (op *opening) sealActive() {
	s := op.active
	if s == nil {
		return
	}
	s.sealed, s.digestKnown = true, true
	s.end, s.size, s.crc = op.end, s.visible, op.crc
	op.unsynced = append(op.unsynced, s)
	op.active = nil
}

// unlisted returns the segments on disk that the manifest does not name and that
// begin at after (behind it, when strictly) or later.
func (op *opening) unlisted(after int64, strictly bool) ([]*logFile, error) {
	l := op.l
	var more []*logFile
	for _, e := range op.entries {
		n, ok := parseName(e.Name())
		if !ok || n.kind != kindSegment || l.onDisk[e.Name()] || n.offset < after || (strictly && n.offset == after) {
			continue
		}
		if slices.ContainsFunc(l.segs, func(s *logFile) bool { return s.name == e.Name() }) {
			continue
		}
		if !e.Type().IsRegular() {
			return nil, &DamageError{File: l.path(e.Name()), Offset: -1, Reason: "it is not a file"}
		}
		more = append(more, &logFile{name: e.Name(), kind: kindSegment, start: n.offset})
	}
	slices.SortStableFunc(more, func(a, b *logFile) int { return int(min(max(a.start-b.start, -1), 1)) })
	for i := 1; i < len(more); i++ {
		if more[i].start == more[i-1].start {
			return nil, &DamageError{File: l.path(more[i].name), Offset: -1,
				Reason: "it begins at the same offset as " + more[i-1].name}
		}
	}
	return more, nil
}

// readSegment reads a segment that is not known to be complete, up to the end or
// to where it is torn. Valid batches after a bad one make it damage.
func (op *opening) readSegment(s *logFile) (err error) {
	l := op.l
	path := l.path(s.name)
	f, err := l.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	size, err := f.Size()
	if err != nil {
		return err
	}
	op.active, op.crc = s, 0
	end := op.end
	if end.Offset != s.start {
		return &DamageError{File: path, Offset: -1,
			Reason: fmt.Sprintf("it starts at offset %d, the log before it ends at %d", s.start, end.Offset)}
	}
	sc := scanner{newWindow(f, 0, size)}
	for {
		at := sc.pos
		raw, fr, err := sc.next()
		if errors.Is(err, io.EOF) {
			break
		}
		fe, format := errors.AsType[*formatError](err)
		if err == nil && fr.mark.Offset-int64(fr.payload) != end.Offset || err == nil && fr.payload == 0 {
			return &DamageError{File: path, Offset: at, Reason: fmt.Sprintf(
				"a batch leads from offset %d to %d, the one before it ends at %d",
				fr.mark.Offset-int64(fr.payload), fr.mark.Offset, end.Offset)}
		}
		switch {
		case format:
			if err := l.checkTorn(path, sc.window, fe); err != nil {
				return err
			}
			op.cut = &cutPlan{name: s.name, at: at, size: size - at}
		case err != nil:
			return fmt.Errorf("%s: %w", path, err)
		}
		if format {
			break
		}
		s.index = indexAt(s.index, end.Offset, at)
		s.visible = at + int64(len(raw))
		op.crc = checksum(op.crc, raw)
		t := max(end.Time, fr.mark.Time)
		end = fr.mark
		end.Time = t
	}
	op.end = end
	return nil
}

// checkTorn tells a torn tail from damage: behind a tear there is no valid batch.
// w stands at the batch that is not valid.
func (l *Log) checkTorn(path string, w *window, fe *formatError) error {
	damage := func(reason string) error {
		return &DamageError{File: path, Offset: w.pos, Reason: fe.reason + " (reading stopped at byte " +
			fmt.Sprint(fe.at) + "); " + reason}
	}
	tail := make([]byte, w.left())
	if _, err := w.f.ReadAt(tail, w.pos); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: read the tail at %d: %w", path, w.pos, err)
	}
	at, ok := findBatch(tail)
	switch {
	case !ok:
		return damage("whether there are valid batches behind it takes too long to tell")
	case at >= 0:
		return damage(fmt.Sprintf("there is a valid batch behind it, at byte %d", w.pos+int64(at)))
	}
	return nil
}

// findBatch returns where the first valid batch in tail begins, -1 when there is
// none; not ok: that takes too long to tell. Values may hold text that looks like
// annotations, and each costs a checksum of what it claims to cover; a budget
// keeps that linear.
func findBatch(tail []byte) (start int, ok bool) {
	budget := 64 * int64(len(tail))
	for at := 0; ; {
		i := bytes.Index(tail[at:], []byte("\n#"))
		if i < 0 {
			return -1, true
		}
		at += i + 1
		a, s := parseAnnotation(tail[at:])
		if s != found || a.payload > int64(at) || a.payload == 0 {
			continue
		}
		if budget -= a.payload; budget < 0 {
			return -1, false
		}
		start := at - int(a.payload)
		if checksum(0, tail[start:at+a.text]) == a.crc {
			return start, true
		}
	}
}
