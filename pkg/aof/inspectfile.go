package aof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

const (
	// maxDamage bounds what is listed of one file.
	maxDamage = 1000
	// searchBytes bounds how far behind damage the next batch is looked for.
	searchBytes = 256 << 20
)

// Visit gets a batch, as Replay would deliver it, which begins at byte at of its
// file; the payload is valid during the call only.
type Visit func(at int64, b Batch) error

// Scan reads a file to its end and notes in f what it holds. Damaged stretches are
// noted and passed over as far as a valid batch can be found behind them; visit,
// which may be nil, gets what comes before the first. progress, which may be nil,
// gets bytes as they are read. An error is one of reading, or of visit.
func (d *Directory) Scan(ctx context.Context, f *FileInfo, visit Visit, progress func(bytes int64)) (err error) {
	if f.missing {
		return nil
	}
	path := d.op.l.path(f.Name)
	h, err := d.op.l.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	defer func() {
		if cerr := h.Close(); err == nil {
			err = cerr
		}
	}()
	f.reset()
	s := fileScan{ctx: ctx, d: d, i: f, visit: visit, progress: progress}
	s.open(newWindow(h, 0, f.Size))
	if err := s.run(); err != nil {
		return fmt.Errorf("scan %s: %w", path, err)
	}
	return nil
}

// reset forgets what an earlier scan found.
func (f *FileInfo) reset() {
	*f = FileInfo{
		Name: f.Name, Kind: f.Kind, Role: f.Role, Listed: f.Listed, Sealed: f.Sealed, Size: f.Size,
		Start: f.Start, End: f.Start, Damage: slices.Clone(f.known), f: f.f, known: f.known,
	}
	if f.Kind == kindAdopted && !f.Sealed {
		f.Start, f.End = 0, 0
	}
}

// fileScan is the work of Scan.
type fileScan struct {
	ctx      context.Context
	d        *Directory
	i        *FileInfo
	visit    Visit
	progress func(bytes int64)

	w       *window
	segment segmentScan
	base    baseScan
	adopted commandScanner
	told    int64
	broken  bool // something before w.pos is damaged
}

// open lets the scan go on in w.
func (s *fileScan) open(w *window) {
	s.w = w
	switch s.i.Kind {
	case kindSegment:
		s.segment.scanner = scanner{w}
	case kindBase:
		s.base.scanner = scanner{w}
	default:
		s.adopted = commandScanner{w, replayBytes}
	}
}

func (s *fileScan) run() error {
	s.segment.end = s.i.Start
	s.base.want, s.base.learn = Mark{Offset: s.i.Start, Time: -1}, true
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		at := s.w.pos
		b, err := s.next()
		if s.progress != nil {
			s.progress(s.w.pos - s.told)
			s.told = s.w.pos
		}
		fe, format := errors.AsType[*formatError](err)
		switch {
		case err == nil:
			if err := s.take(at, b); err != nil {
				return err
			}
		case errors.Is(err, io.EOF):
			return s.end()
		case errors.Is(err, errTorn):
			fe = &formatError{at: s.w.limit, reason: err.Error()}
			fallthrough
		case format:
			// Of a plain file only a command that begins as one can be torn.
			torn := s.mayBeTorn() && (errors.Is(err, errTorn) || s.i.Kind == kindSegment)
			if more, err := s.stumble(at, fe, torn); !more {
				return err
			}
		default:
			return err
		}
	}
}

// next returns the next batch.
func (s *fileScan) next() (Batch, error) {
	switch s.i.Kind {
	case kindSegment:
		return s.segment.next()
	case kindBase:
		return s.base.next()
	}
	at := s.w.pos
	run, err := s.adopted.next()
	s.i.ZeroBytes += s.w.pos - at - int64(len(run))
	m := Mark{Offset: s.i.Payload + int64(len(run)), Time: s.d.AdoptTime}
	if s.i.Sealed {
		m = Mark{Offset: s.i.f.end.Offset, Time: s.i.f.end.Time}
	}
	return Batch{Mark: m, Payload: run, Unchecked: true}, err
}

// take counts a valid batch and hands it over.
func (s *fileScan) take(at int64, b Batch) error {
	i := s.i
	if len(b.Payload) > 0 {
		i.Payload += int64(len(b.Payload))
		i.Commands += countCommands(b.Payload)
		i.End = b.Offset
	}
	if i.Kind == kindAdopted {
		if !i.Sealed {
			i.Start = i.Payload
		}
	} else if len(b.Payload) > 0 {
		i.Batches++
		if i.FirstTime == 0 {
			i.FirstTime = b.Time
		}
		i.LastTime = max(i.LastTime, b.Time)
	}
	if s.broken {
		if i.lostTime == 0 {
			i.lostTime = b.Time
		}
		return nil
	}
	i.good = prefix{pos: s.w.pos, mark: b.Mark, batches: i.Batches, commands: i.Commands}
	if s.visit == nil {
		return nil
	}
	return s.visit(at, b)
}

func countCommands(payload []byte) (n int64) {
	for i := 0; i < len(payload); n++ {
		next, s := skipCommand(payload, i)
		if s != found {
			return n
		}
		i = next
	}
	return n
}

// stumble notes what is wrong with the batch that began at byte at and finds the
// next valid one; more: there is one. torn: a crash can have left it so.
func (s *fileScan) stumble(at int64, fe *formatError, torn bool) (more bool, err error) {
	if s.i.Kind != kindAdopted && s.w.pos > at { // valid, but not here
		s.note(Damage{At: at, Reason: fe.reason})
		return len(s.i.Damage) < maxDamage, nil
	}
	at = s.w.pos
	start, ok, err := s.search()
	if err != nil {
		return false, err
	}
	if ok && start < 0 && torn && !s.broken {
		s.i.TornAt, s.i.TornBytes = at, s.w.left()
		s.tell(s.w.left())
		return false, nil
	}
	reason := fmt.Sprintf("%s (reading stopped at byte %d)", fe.reason, fe.at)
	if start < 0 || len(s.i.Damage)+1 >= maxDamage {
		s.note(Damage{At: at, Bytes: s.w.left(), Reason: reason})
		s.tell(s.w.left())
		return false, nil
	}
	s.note(Damage{At: at, Bytes: int64(start), Reason: reason})
	s.tell(int64(start))
	s.told += int64(start)
	s.segment.end = -1 // whatever comes
	s.open(newWindow(s.w.f, at+int64(start), s.w.limit))
	return true, nil
}

// search looks for the next valid batch, or command of an adopted file: start is
// its distance from here, below 0 when there is none; not ok: it takes too long to
// tell. It looks near first: a file may be damaged often.
func (s *fileScan) search() (start int, ok bool, err error) {
	find := findBatch
	if s.i.Kind == kindAdopted {
		find = findCommand
	}
	most := min(s.w.left(), searchBytes)
	for size := int64(1 << 20); ; size *= 16 {
		tail := make([]byte, min(size, most))
		if _, err := s.w.f.ReadAt(tail, s.w.pos); err != nil && !errors.Is(err, io.EOF) {
			return -1, false, fmt.Errorf("read at %d: %w", s.w.pos, err)
		}
		if start, ok = find(tail); start >= 0 || size >= most {
			return start, ok, nil
		}
	}
}

func (s *fileScan) tell(n int64) {
	if s.progress != nil {
		s.progress(n)
	}
}

func (s *fileScan) note(x Damage) {
	x.File = s.i.Name
	s.i.Damage = append(s.i.Damage, x)
	s.broken = true
}

// mayBeTorn says whether a crash can have left the file without its end: it is
// the last one, and was being written.
func (s *fileScan) mayBeTorn() bool {
	if s.i.Sealed || s.i.Kind == kindBase || s.i.Kind == kindAdopted && !s.d.Plain {
		return false
	}
	for _, f := range s.d.Files {
		if f.Kind == kindSegment && f.Start > s.i.Start && !f.missing {
			return false
		}
	}
	return true
}

// end compares what was read with what MANIFEST says.
func (s *fileScan) end() error {
	i := s.i
	if s.broken {
		return nil
	}
	i.good.pos, i.crc = s.w.pos, s.w.crc
	if i.good.mark == (Mark{}) {
		i.good.mark.Offset = i.Start
	}
	if !i.Sealed || i.missing {
		return nil
	}
	s.facts(i.f, i.good.mark)
	if i.Kind == kindAdopted && len(i.Damage) == 0 && s.visit != nil {
		return s.visit(s.w.pos, Batch{Mark: i.f.end, Unchecked: !i.f.digestKnown})
	}
	return nil
}

// facts compares the file, whose content is valid by itself, with f.
func (s *fileScan) facts(f *logFile, last Mark) {
	differs := func(what string, is, want any) {
		s.note(Damage{At: -1, Reason: fmt.Sprintf("its %s is %v, the manifest says %v", what, is, want)})
	}
	if s.w.crc != f.crc {
		differs("checksum", fmt.Sprintf("%08x", s.w.crc), fmt.Sprintf("%08x", f.crc))
	}
	if f.kind != kindSegment && s.i.Payload != f.payload {
		differs("size without annotations", s.i.Payload, f.payload)
	}
	if f.kind == kindAdopted {
		return
	}
	if last.Offset != f.end.Offset {
		differs("end", last.Offset, f.end.Offset)
	}
	if f.digestKnown && s.i.good.pos > 0 && last.Digest != f.end.Digest {
		differs("digest", last.Digest, f.end.Digest)
	}
	// The time of a segment's end is not before its last batch: a follower that
	// compacts may be ahead of its leader.
	if last.Time > f.end.Time || f.kind == kindBase && last.Time != f.end.Time {
		differs("time", last.Time, f.end.Time)
	}
}

// Check compares, when all files are scanned, how they follow each other. It is
// called once.
func (d *Directory) Check() {
	if d.m == nil {
		return
	}
	end, known := Mark{}, true // what the files so far lead to
	for _, f := range d.Files {
		switch {
		case f.Role == RoleBase:
			if f.f.digestKnown && f.Whole() && known && end.Offset == f.f.end.Offset && end.Digest != f.f.end.Digest {
				d.damage(f.Name, "its digest is %v, the segments before it lead to %v", f.f.end.Digest, end.Digest)
			}
			end, known = f.f.end, f.f.digestKnown
			continue
		case !f.Listed && f.Start != end.Offset:
			d.damage(f.Name, "it begins at offset %d, the log before it ends at %d", f.Start, end.Offset)
		}
		if f.f.startKnown && known && f.Start == end.Offset && f.f.startDigest != end.Digest {
			d.damage(manifestName, "%s begins with the digest %v, what is before it ends with %v", f.Name, f.f.startDigest, end.Digest)
		}
		end, known = f.good.mark, f.Whole() && f.good.pos > 0
	}
}
