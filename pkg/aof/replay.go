package aof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// replayBytes is the payload of the batches in which an adopted file, which has
// none of its own, is delivered.
const replayBytes = 256 << 10

// Replay calls visit for every batch from the base to what is written: first the
// base's, which carry its offset and time, the last of them empty and with the
// digest of the state; then those of the segments. Payloads are valid during
// the call only. progress, if not nil, gets bytes read and to be read. A
// *DamageError says where a file is not what it was.
func (l *Log) Replay(ctx context.Context, visit func(Batch) error, progress func(done, total int64)) error {
	l.mu.Lock()
	base := l.base
	var files []replayFile
	if base != nil {
		files = append(files, replayFile{base, base.size, base.end, base.digestKnown})
	}
	for _, s := range l.segs {
		if base == nil || s.start >= base.end.Offset {
			files = append(files, replayFile{s, s.visible, Mark{}, false})
		}
	}
	l.mu.Unlock()
	r := replay{ctx: ctx, l: l, visit: visit, progress: progress}
	for _, f := range files {
		r.total += f.size
	}
	for _, f := range files {
		if err := r.file(f); err != nil {
			return err
		}
	}
	return nil
}

// replayFile is a file as it was when the replay began.
type replayFile struct {
	*logFile
	size        int64
	end         Mark // of a base
	digestKnown bool
}

type replay struct {
	ctx         context.Context
	l           *Log
	visit       func(Batch) error
	progress    func(done, total int64)
	done, total int64
	reported    int64
}

func (r *replay) file(f replayFile) (err error) {
	path := r.l.path(f.name)
	h, err := r.l.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	defer func() {
		if cerr := h.Close(); err == nil {
			err = cerr
		}
	}()
	w := newWindow(h, 0, f.size)
	var index []indexEntry
	switch f.kind {
	case kindAdopted:
		index, err = r.adopted(f, commandScanner{w, replayBytes})
	case kindBase:
		index, err = r.base(f, scanner{w})
	default:
		index, err = r.segment(f, scanner{w})
	}
	if fe, ok := errors.AsType[*formatError](err); ok {
		return &DamageError{File: path, Offset: fe.at, Reason: fe.reason}
	}
	if ve, ok := errors.AsType[*visitError](err); ok {
		return fmt.Errorf("replay %s at byte %d: %w", path, ve.at, ve.err)
	}
	if err != nil {
		return fmt.Errorf("replay %s: %w", path, err)
	}
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	// A segment that was sealed meanwhile is longer than what was read.
	if f.sealed && f.size == f.logFile.size && w.crc != f.crc {
		return &DamageError{File: path, Offset: -1, Reason: fmt.Sprintf("its checksum is %08x, the manifest says %08x", w.crc, f.crc)}
	}
	if whole := f.logFile; whole.index == nil {
		whole.index = index
	}
	return nil
}

// visitError is an error of the visitor, not of the file.
type visitError struct {
	at  int64
	err error
}

func (e *visitError) Error() string { return e.err.Error() }
func (e *visitError) Unwrap() error { return e.err }

// deliver hands over a batch that lies at file position at and ends at now.
func (r *replay) deliver(b Batch, at, now int64) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if err := r.visit(b); err != nil {
		return &visitError{at, err}
	}
	r.done += now - at
	if r.progress != nil && (r.done-r.reported >= chunkBytes || r.done == r.total) {
		r.reported = r.done
		r.progress(r.done, r.total)
	}
	return nil
}

func (r *replay) adopted(f replayFile, s commandScanner) ([]indexEntry, error) {
	var index []indexEntry
	var payload int64
	m := Mark{Offset: f.end.Offset, Time: f.end.Time}
	for at := int64(0); ; at = s.pos {
		run, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, errTorn) {
			return nil, &formatError{at: s.pos, reason: err.Error()}
		}
		if err != nil {
			return nil, err
		}
		index = indexAt(index, payload, s.pos-int64(len(run)))
		payload += int64(len(run))
		if err := r.deliver(Batch{Mark: m, Payload: run, Unchecked: true}, at, s.pos); err != nil {
			return nil, err
		}
	}
	if payload != f.payload {
		return nil, &formatError{at: s.pos, reason: fmt.Sprintf("%d bytes of commands, the manifest says %d", payload, f.payload)}
	}
	return index, r.deliver(Batch{Mark: f.end, Unchecked: !f.digestKnown}, s.pos, s.pos)
}

func (r *replay) base(f replayFile, s scanner) ([]indexEntry, error) {
	b := baseScan{scanner: s, want: f.end}
	for at := int64(0); ; at = s.pos {
		batch, err := b.next()
		if errors.Is(err, io.EOF) {
			return b.index, nil
		}
		if err != nil {
			return nil, err
		}
		if err := r.deliver(batch, at, s.pos); err != nil {
			return nil, err
		}
	}
}

// baseScan reads a base file and checks its shape: batches with the base's
// offset and time, no digest and some payload, then one line without payload
// that has the digest.
type baseScan struct {
	scanner
	want    Mark // Time < 0: take it from the first batch
	learn   bool // take want.Digest from the last line
	index   []indexEntry
	payload int64
	closed  bool
}

func (b *baseScan) next() (Batch, error) {
	at := b.pos
	raw, f, err := b.scanner.next()
	if errors.Is(err, io.EOF) && !b.closed {
		return Batch{}, &formatError{at: at, reason: "the base has no last line"}
	}
	if err != nil {
		return Batch{}, err
	}
	if b.want.Time < 0 {
		b.want.Time = f.mark.Time
	}
	if b.learn && f.payload == 0 {
		b.want.Digest = f.mark.Digest
	}
	want := b.want
	if f.payload > 0 {
		want.Digest = Digest{}
	}
	if b.closed || f.mark != want {
		return Batch{}, &formatError{at: at, reason: fmt.Sprintf("a batch with mark %v does not belong into the base at %v", f.mark, b.want)}
	}
	if f.payload == 0 {
		b.closed = true
		return Batch{Mark: f.mark}, nil
	}
	b.index = indexAt(b.index, b.payload, at)
	b.payload += int64(f.payload)
	return Batch{Mark: f.mark, Payload: raw[:f.payload], Unchecked: true}, nil
}

func (r *replay) segment(f replayFile, s scanner) ([]indexEntry, error) {
	var index []indexEntry
	b := segmentScan{scanner: s, end: f.start}
	for at := int64(0); ; at = s.pos {
		start := b.end
		batch, err := b.next()
		if errors.Is(err, io.EOF) {
			return index, nil
		}
		if err != nil {
			return nil, err
		}
		index = indexAt(index, start, at)
		if err := r.deliver(batch, at, s.pos); err != nil {
			return nil, err
		}
	}
}

// segmentScan reads a segment and checks that its batches follow each other.
type segmentScan struct {
	scanner
	end int64 // logical offset that the last batch has led to; < 0: not known
}

func (b *segmentScan) next() (Batch, error) {
	at := b.pos
	raw, f, err := b.scanner.next()
	if err != nil {
		return Batch{}, err
	}
	start, want := f.mark.Offset-int64(f.payload), b.end
	b.end = f.mark.Offset
	if f.payload == 0 || want >= 0 && start != want {
		return Batch{}, &formatError{at: at, reason: fmt.Sprintf("a batch leads from offset %d to %d, expected one from %d",
			start, f.mark.Offset, want)}
	}
	return Batch{Mark: f.mark, Payload: raw[:f.payload]}, nil
}
