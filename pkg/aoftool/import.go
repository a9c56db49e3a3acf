package aoftool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/aof"
	"evenkeel/pkg/store"
)

// Imported is what an import made.
type Imported struct {
	Data  *Data  `json:"data"`  // what the new directory leads to
	Bytes int64  `json:"bytes"` // of the file
	Torn  int64  `json:"torn"`  // bytes at its end that were no whole command and stayed out
	Epoch string `json:"epoch"`
}

// Import makes the data directory o.Dir, which is missing or empty, from a plain
// Tile38 append-only file. Times to live that the file says count from o.Now. The
// digest of the new log is compared with that of the file.
func Import(ctx context.Context, o Options, path string) (*Imported, error) {
	o.EnsureDefaults()
	if err := checkEmpty(o.FS, o.Dir); err != nil {
		return nil, err
	}
	now := o.Now()
	o.Now = func() int64 { return now }
	source, err := plain(ctx, o, path)
	if err != nil {
		return nil, err
	}
	if !source.Clean() {
		return nil, fmt.Errorf("%s: %w: %s", path, ErrDamaged, source.Found[0])
	}
	if err := o.FS.MkdirAll(o.Dir, 0o750); err != nil {
		return nil, err
	}
	file := source.Files[0]
	if err := copyFile(o.FS, path, filepath.Join(o.Dir, aof.AdoptedName), file.Size-file.TornBytes); err != nil {
		return nil, err
	}
	if _, err := compact(ctx, o, CompactOptions{BacklogBytes: -1}); err != nil {
		return nil, fmt.Errorf("import: %w; empty %s before you try again", err, o.Dir)
	}
	after, err := Verify(ctx, o)
	switch {
	case err != nil:
		return nil, err
	case !after.Clean():
		return nil, fmt.Errorf("import: %w: %s", ErrDamaged, after.Found[0])
	case after.Data.Digest != source.Data.Digest:
		return nil, fmt.Errorf("import: the new log leads to the digest %s, the file to %s", after.Data.Digest, source.Data.Digest)
	}
	return &Imported{Data: after.Data, Bytes: file.Size, Torn: file.TornBytes, Epoch: after.Epoch}, nil
}

// checkEmpty says whether a directory can be made.
func checkEmpty(fsys fsx.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty: there is %s; import makes a new directory", dir, entries[0].Name())
	}
	return err
}

// plain verifies one append-only file, wherever it lies.
func plain(ctx context.Context, o Options, path string) (*Report, error) {
	d, err := aof.InspectPlain(o.FS, path)
	if err != nil {
		return nil, err
	}
	d.AdoptTime = o.Now()
	w := &work{o: o, d: d, progress: progress{total: d.Files[0].Size}}
	return w.verify(ctx)
}

// copyFile copies the first size bytes of a file.
func copyFile(fsys fsx.FS, from, to string, size int64) (err error) {
	f, err := fsys.OpenFile(from, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return fsx.CopyFileAtomic(fsys, to, io.NewSectionReader(f, 0, size))
}

// CompactOptions configure Compact.
type CompactOptions struct {
	// BacklogBytes is how much of the log before the new base is kept for followers
	// that come back, in bytes of commands; negative: nothing; 0: the default.
	BacklogBytes int64
}

// Compacted is what a compaction did. Sizes are bytes of the log's files.
type Compacted struct {
	Before  int64 `json:"bytes_before"`
	After   int64 `json:"bytes_after"`
	Offset  int64 `json:"offset"` // logical, of the new base
	Objects int64 `json:"objects"`
	Data    *Data `json:"data"` // what the directory leads to now
}

// Compact replays the log, writes the state as its new base, compares digests,
// and removes what is not needed any more. The log may have a torn tail; a
// damaged one is an error that wraps ErrDamaged.
func Compact(ctx context.Context, o Options, c CompactOptions) (*Compacted, error) {
	w, err := look(o, false)
	if err != nil {
		return nil, err
	}
	if err := w.lock.Close(); err != nil {
		return nil, err
	}
	before := sizes(w.d)
	if known := w.d.All(); len(known) > 0 {
		return nil, fmt.Errorf("%w: %s: run repair first", ErrDamaged, known[0])
	}
	o = w.o
	did, err := compact(ctx, o, c)
	if err != nil {
		if de, ok := errors.AsType[*aof.DamageError](err); ok {
			return nil, fmt.Errorf("%w: %w: run repair first", ErrDamaged, de)
		}
		return nil, err
	}
	after, err := Verify(ctx, o)
	if err != nil {
		return nil, err
	}
	if !after.Clean() {
		return nil, fmt.Errorf("after the compaction: %w: %s", ErrDamaged, after.Found[0])
	}
	return &Compacted{
		Before: before, After: sizes(after.Directory), Offset: did.Offset, Objects: did.Objects, Data: after.Data,
	}, nil
}

func sizes(d *aof.Directory) (n int64) {
	for _, f := range d.Files {
		n += f.Size
	}
	return n
}

// compact opens the log as a sidecar does and compacts it.
func compact(ctx context.Context, o Options, c CompactOptions) (did store.Compaction, err error) {
	l, err := aof.Open(aof.Options{FS: o.FS, Dir: o.Dir, BacklogBytes: c.BacklogBytes, Now: o.Now})
	if err != nil {
		return did, err
	}
	defer func() { err = errors.Join(err, l.Close(context.WithoutCancel(ctx))) }()
	s, err := store.Open(ctx, store.Options{Log: l, Engine: o.Engine, Now: o.Now, CompactCPU: 100, Progress: o.Progress})
	if err != nil {
		return did, err
	}
	return s.Compact(ctx)
}
