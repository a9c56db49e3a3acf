package aof

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"evenkeel/internal/fsx"
)

// Recovery is what Open found and did, for a line that a person reads.
type Recovery struct {
	New bool // the directory was empty: a new history began
	// Clean says that the log was closed in good order. Otherwise its end may be
	// missing, which somebody who follows it may have.
	Clean       bool
	AdoptedFrom string // path of the plain append-only file that was taken over

	// A torn tail: CutBytes bytes of CutFile from file position CutAt on were no
	// whole batch; they are in KeptIn now. CutFile is empty when there was none.
	CutFile  string
	CutAt    int64
	CutBytes int64
	KeptIn   string

	// SetAside are segments behind a torn one, under their new names: a crash of
	// the machine took what came before them.
	SetAside []string
	// Continued are segments that the manifest did not know yet.
	Continued []string
	// Removed are leftovers of interrupted work.
	Removed []string
	// Ignored are files that look like the log's and are no part of it.
	Ignored []string
}

// opening is the work of Open: everything is decided first, in memory; then it
// is done.
type opening struct {
	l       *Log
	entries []fs.DirEntry

	m        *manifest // what is on the disk; nil: nothing
	rewrite  bool      // MANIFEST has to be written
	cut      *cutPlan
	setAside []string   // names of segments
	remove   []string   // names of leftovers
	active   *logFile   // the last segment, when it is not sealed
	unsynced []*logFile // segments found complete of which nobody knows whether they are durable
	end      Mark       // of the log
	crc      uint32     // of the active segment up to the end
}

// cutPlan is a tail to be taken off a file and kept beside it.
type cutPlan struct {
	name     string
	at, size int64
}

// Open opens the log in o.Dir: it takes the directory's lock and reads the
// manifest, or adopts a plain appendonly.aof, or starts a new history. A torn
// tail is cut off and kept. Damage is an error (*DamageError), and nothing is
// changed then.
func Open(o Options) (_ *Log, err error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := makeDir(o.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	lock, err := o.FS.Lock(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open the log in %s: %w", o.Dir, err), lock.Close())
		}
	}()
	l := &Log{
		o: o, fs: o.FS, clock: o.Clock, logger: o.Logger, lock: lock,
		turn:    make(chan struct{}, 1),
		onDisk:  map[string]bool{},
		policy:  o.Fsync,
		backlog: o.BacklogBytes,
		cursors: map[*cursor]struct{}{},
		kick:    make(chan struct{}, 1),
		quit:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	op := &opening{l: l}
	if err := op.decide(); err != nil {
		return nil, err
	}
	if err := op.carryOut(); err != nil {
		return nil, err
	}
	go l.work()
	l.wakeWorker()
	return l, nil
}

// makeDir creates dir when it is missing, durably.
func makeDir(fsys fsx.FS, dir string) error {
	_, err := fsys.Stat(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fsys.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(filepath.Clean(dir)))
}

// decide reads the directory and plans; it changes nothing.
func (op *opening) decide() error {
	l := op.l
	var err error
	if op.entries, err = l.fs.ReadDir(l.o.Dir); err != nil {
		return err
	}
	b, err := fsx.ReadFile(l.fs, l.path(manifestName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return op.decideWithout()
	case err != nil:
		return err
	}
	if op.m, err = decodeManifest(b); err != nil {
		return fmt.Errorf("%s: %w", l.path(manifestName), err)
	}
	return op.decideFrom(op.m)
}

// decideWithout handles a directory without MANIFEST.
func (op *opening) decideWithout() error {
	l := op.l
	adopt := false
	for _, e := range op.entries {
		n, ok := parseName(e.Name())
		switch {
		case !ok:
		case n.kind == kindAdopted:
			adopt = true
		default:
			return &DamageError{File: l.path(manifestName), Offset: -1,
				Reason: "it is missing, but there is " + e.Name()}
		}
	}
	var err error
	if l.epoch, err = NewEpochID(); err != nil {
		return err
	}
	op.rewrite = true
	op.leftovers()
	if adopt {
		return op.decideAdoption()
	}
	l.recovery.New = true
	return nil
}

// decideFrom handles a directory with a manifest.
func (op *opening) decideFrom(m *manifest) error {
	l := op.l
	l.epoch, l.previous = m.Epoch, m.Previous
	var open *logFile
	for _, mf := range m.Files {
		f, err := fileOf(mf)
		if err != nil {
			return fmt.Errorf("%s: %w", l.path(manifestName), err)
		}
		if err := op.checkFile(f); err != nil {
			return err
		}
		if f.kind != kindSegment {
			l.base = f
			continue
		}
		l.segs = append(l.segs, f)
		if !f.sealed {
			open = f
		}
	}
	if err := op.checkChain(); err != nil {
		return err
	}
	for _, name := range m.Obsolete {
		l.onDisk[name] = true
	}
	op.end = op.sealedEnd()
	if err := op.followOn(open); err != nil {
		return err
	}
	if m.ClosedAt != nil {
		l.recovery.Clean = *m.ClosedAt == op.end.Offset
		op.rewrite = true // it holds until something is appended
	}
	op.leftovers()
	return nil
}

// checkFile compares what MANIFEST says of f with the disk.
func (op *opening) checkFile(f *logFile) error {
	path := op.l.path(f.name)
	st, err := op.l.fs.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &DamageError{File: path, Offset: -1, Reason: "it is missing"}
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return &DamageError{File: path, Offset: -1, Reason: "it is not a file"}
	case f.sealed && st.Size() != f.size:
		return &DamageError{File: path, Offset: -1,
			Reason: fmt.Sprintf("it has %d bytes, the manifest says %d", st.Size(), f.size)}
	}
	return nil
}

// checkChain says whether the files of the manifest follow each other.
func (op *opening) checkChain() error {
	l := op.l
	damage := func(f *logFile, format string, args ...any) error {
		return &DamageError{File: l.path(f.name), Offset: -1, Reason: fmt.Sprintf(format, args...)}
	}
	for i, s := range l.segs {
		if i > 0 && l.segs[i-1].end.Offset != s.start {
			return damage(s, "it starts at offset %d, the segment before it ends at %d", s.start, l.segs[i-1].end.Offset)
		}
	}
	start := int64(0)
	if l.base != nil {
		start = l.base.end.Offset
	}
	if len(l.segs) == 0 {
		return nil
	}
	first, last := l.segs[0], l.segs[len(l.segs)-1]
	if first.start > start {
		return damage(first, "it starts at offset %d, the commands since %d are missing", first.start, start)
	}
	if last.sealed && last.end.Offset < start {
		return damage(last, "it ends at offset %d, the base is at %d", last.end.Offset, start)
	}
	for _, s := range l.segs {
		if s.start < start && (!s.sealed || s.end.Offset > start) {
			return damage(s, "the base at offset %d is not at its end", start)
		}
	}
	return nil
}

// sealedEnd returns where the sealed files lead to.
func (op *opening) sealedEnd() Mark {
	var m Mark
	if op.l.base != nil {
		m = op.l.base.end
	}
	for _, s := range op.l.segs {
		if s.sealed && s.end.Offset >= m.Offset {
			t := max(m.Time, s.end.Time)
			m = s.end
			m.Time = t
		}
	}
	return m
}

// leftovers plans the removal of what interrupted work left behind.
func (op *opening) leftovers() {
	l := op.l
	known := map[string]bool{}
	if l.base != nil {
		known[l.base.name] = true
	}
	for _, s := range l.segs {
		known[s.name] = true
	}
	for _, name := range op.setAside {
		known[name] = true
	}
	for _, e := range op.entries {
		name := e.Name()
		n, ours := parseName(name)
		switch {
		case !e.Type().IsRegular() || known[name]:
		case isTemp(name), l.onDisk[name], ours && n.kind == kindBase:
			// A base that MANIFEST does not name was never installed, or is replaced.
			op.remove = append(op.remove, name)
		case ours:
			l.recovery.Ignored = append(l.recovery.Ignored, l.path(name))
		}
	}
}

// isTemp says whether name is that of an unfinished file of a log.
func isTemp(name string) bool {
	whole, ok := strings.CutSuffix(name, fsx.TempSuffix)
	if !ok {
		return false
	}
	if at := strings.Index(whole, cutInfix); at >= 0 {
		whole = whole[:at]
		_, ok := parseName(whole)
		return ok
	}
	if strings.HasPrefix(whole, lostName) {
		return true
	}
	n, ok := parseName(whole)
	return whole == manifestName || ok && n.kind != kindAdopted
}

// carryOut does what is decided. Every step may be the last one before a crash:
// the next Open then decides the same, or finds it done.
func (op *opening) carryOut() error {
	l := op.l
	for _, name := range op.remove {
		if _, err := removeFile(l.fs, l.path(name)); err != nil {
			return err
		}
		l.recovery.Removed = append(l.recovery.Removed, l.path(name))
	}
	for _, name := range op.setAside {
		if err := op.putAside(name); err != nil {
			return err
		}
	}
	if op.cut != nil {
		if err := op.cutTail(); err != nil {
			return err
		}
	}
	if err := op.syncFound(); err != nil {
		return err
	}
	if err := op.openActive(); err != nil {
		return err
	}
	if op.rewrite {
		if err := l.writeManifest(l.manifestLocked(l.base, l.segs, nil)); err != nil {
			return errors.Join(err, l.closeActive())
		}
	}
	clear(l.onDisk)
	l.last, l.boxed, l.seen = op.end, op.end, op.end
	l.w.mark, l.w.start = op.end, op.end
	l.fastSeen.Store(op.end.Offset)
	return nil
}

// syncFound makes durable what the manifest is going to rely on.
func (op *opening) syncFound() error {
	l := op.l
	if len(op.remove) > 0 || len(op.unsynced) > 0 {
		if err := l.fs.SyncDir(l.o.Dir); err != nil {
			return err
		}
	}
	for _, s := range op.unsynced {
		f, err := l.fs.OpenFile(l.path(s.name), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = f.Sync()
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
		s.synced = true
	}
	op.rewrite = op.rewrite || len(l.onDisk) > 0
	return nil
}

// openActive opens the last segment for writing and makes sure that what was
// found in it is on the disk: nobody knows whether it had been synced.
func (op *opening) openActive() error {
	l := op.l
	l.published = true
	if op.active == nil {
		return nil
	}
	path := l.path(op.active.name)
	f, err := l.fs.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	size := op.active.visible
	h := &handle{f: f, seg: op.active, path: path, pos: size, crc: op.crc, known: size, knownCRC: op.crc}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	h.synced, h.syncedCRC = size, op.crc
	l.w.file, l.current = h, h
	l.segBytes = size
	return nil
}

func (l *Log) closeActive() error {
	if l.current == nil {
		return nil
	}
	return l.current.f.Close()
}

func (op *opening) putAside(name string) error {
	l := op.l
	kept, err := l.keptName(name, 0)
	if err != nil {
		return err
	}
	if err := l.fs.Rename(l.path(name), kept); err != nil {
		return err
	}
	if err := l.fs.SyncDir(l.o.Dir); err != nil {
		return err
	}
	l.recovery.SetAside = append(l.recovery.SetAside, kept)
	return nil
}

// cutTail copies the tail beside the file, then takes it off.
func (op *opening) cutTail() error {
	l, c := op.l, op.cut
	path := l.path(c.name)
	kept, err := l.keptName(c.name, c.at)
	if err != nil {
		return err
	}
	f, err := l.fs.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("cut the torn tail at byte %d: %w", c.at, err)
	}
	err = fsx.CopyFileAtomic(l.fs, kept, io.NewSectionReader(f, c.at, c.size))
	if err == nil {
		err = f.Truncate(c.at)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("cut the torn tail of %s at byte %d: %w", path, c.at, err)
	}
	l.recovery.CutFile, l.recovery.CutAt, l.recovery.CutBytes = path, c.at, c.size
	l.recovery.KeptIn = kept
	return nil
}

// keptName returns a free path for the bytes of name from file position at on.
func (l *Log) keptName(name string, at int64) (string, error) {
	path := fmt.Sprintf("%s%s%d", l.path(name), cutInfix, at)
	for n := 1; ; n++ {
		p := path
		if n > 1 {
			p = fmt.Sprintf("%s.%d", path, n)
		}
		_, err := l.fs.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			return p, nil
		}
		if err != nil {
			return "", err
		}
	}
}

// removeFile removes path and returns how many bytes that freed. A file that is
// not there is no error.
func removeFile(fsys fsx.FS, path string) (int64, error) {
	st, err := fsys.Stat(path)
	if err == nil {
		err = fsys.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
