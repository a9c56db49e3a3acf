package aof

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

// freeName returns a name for a new file at offset. A name that MANIFEST calls
// obsolete is not free even when its file is gone: a crash would make the next
// Open remove the new one.
func (l *Log) freeName(kind string, offset int64) (string, error) {
	for n := 1; ; n++ {
		name := formatName(kind, offset, n)
		l.mu.Lock()
		_, taken := l.onDisk[name]
		l.mu.Unlock()
		if taken {
			continue
		}
		_, err := l.fs.Stat(l.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", &ioError{path: l.path(name), err: err}
		}
	}
}

// trim removes the segments before the base that neither the backlog nor a
// reader needs. With next, a base whose file is in place, the log changes over
// to it first, unless its history gen was replaced meanwhile. It returns the
// bytes removed.
//
// The order is what makes a crash harmless: the manifest that calls files
// obsolete is durable before the first of them is removed.
func (l *Log) trim(next *logFile, gen int) (freed int64, err error) {
	l.manifestMu.Lock()
	defer l.manifestMu.Unlock()
	drop, m, err := l.planTrim(next, gen)
	if err != nil {
		return 0, err
	}
	if m == nil {
		return l.removeObsolete()
	}
	if err := l.writeManifest(m); err != nil {
		l.mu.Lock()
		for _, f := range drop {
			f.dropping = false
		}
		l.untrimmed = true
		l.mu.Unlock()
		return 0, err
	}
	l.mu.Lock()
	if next != nil {
		l.base = next
	}
	kept := l.segs[:0:0]
	for _, s := range l.segs {
		if !s.dropping {
			kept = append(kept, s)
		}
	}
	l.segs = kept
	l.obsoleteLocked(m.Obsolete)
	l.mu.Unlock()
	return l.removeObsolete()
}

// planTrim decides what goes and returns the manifest without it; nil: nothing
// changes.
func (l *Log) planTrim(next *logFile, gen int) (drop []*logFile, m *manifest, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if next != nil && gen != l.gen {
		return nil, nil, fmt.Errorf("%w any more: its history was replaced", ErrEpoch)
	}
	l.untrimmed = false
	base := l.base
	if next != nil {
		base = next
	}
	if base == nil {
		return nil, nil, nil
	}
	if next != nil && l.base != nil {
		drop = append(drop, l.base)
	}
	keepFrom := base.end.Offset - max(l.backlog, 0)
	for c := range l.cursors {
		if c.gen == l.gen {
			keepFrom = min(keepFrom, c.offset)
		}
	}
	var kept []*logFile
	for _, s := range l.segs {
		// Only a stretch from the front goes: the rest stays without a gap.
		if len(kept) == 0 && s.sealed && s.synced && s.end.Offset <= base.end.Offset && s.end.Offset <= keepFrom {
			drop = append(drop, s)
			continue
		}
		kept = append(kept, s)
	}
	if len(drop) == 0 && next == nil && !l.disownedLocked() {
		return nil, nil, nil
	}
	for _, f := range drop {
		f.dropping = true
	}
	obsolete := l.obsoleteNames()
	for _, f := range drop {
		obsolete = append(obsolete, f.name)
	}
	return drop, l.manifestLocked(base, kept, obsolete), nil
}

// disownedLocked says whether there are files that MANIFEST does not call
// obsolete yet.
func (l *Log) disownedLocked() bool {
	for _, called := range l.onDisk {
		if !called {
			return true
		}
	}
	return false
}

// obsoleteLocked notes what MANIFEST calls obsolete now. Files that were disowned
// since it was made wait for the next.
func (l *Log) obsoleteLocked(names []string) {
	maps.DeleteFunc(l.onDisk, func(_ string, called bool) bool { return called })
	for _, name := range names {
		l.onDisk[name] = true
	}
}

// removeObsolete removes what MANIFEST calls obsolete and then lets it forget
// the names. manifestMu is held.
func (l *Log) removeObsolete() (freed int64, err error) {
	l.mu.Lock()
	names := slices.DeleteFunc(l.obsoleteNames(), func(name string) bool { return !l.onDisk[name] })
	l.mu.Unlock()
	if len(names) == 0 {
		return 0, nil
	}
	var errs []error
	for _, name := range names {
		n, err := removeFile(l.fs, l.path(name))
		freed += n
		if err != nil {
			errs = append(errs, fmt.Errorf("remove an old file of the log: %w", err))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, l.forgetObsolete())
	}
	err = errors.Join(errs...)
	l.mu.Lock()
	l.untrimmed = err != nil
	l.mu.Unlock()
	return freed, err
}

func (l *Log) forgetObsolete() error {
	// The removals must be durable before the manifest forgets them, or a crash
	// could bring back files that nothing calls obsolete.
	if err := l.fs.SyncDir(l.o.Dir); err != nil {
		return &ioError{path: l.o.Dir, err: err}
	}
	l.mu.Lock()
	m := l.manifestLocked(l.base, l.segs, nil)
	l.mu.Unlock()
	if err := l.writeManifest(m); err != nil {
		return err
	}
	l.mu.Lock()
	l.obsoleteLocked(nil)
	l.mu.Unlock()
	return nil
}
