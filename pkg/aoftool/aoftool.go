package aoftool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine"
)

// Options say what to work on.
type Options struct {
	FS  fsx.FS // default: the operating system's
	Dir string // the data directory; required
	// Now is the wall clock in Unix milliseconds.
	Now func() int64
	// Progress hears of bytes read and to be read.
	Progress func(done, total int64)
	Engine   engine.Options
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.FS == nil {
		o.FS = fsx.OS{}
	}
	if o.Now == nil {
		o.Now = func() int64 { return time.Now().UnixMilli() }
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	o.Engine.EnsureDefaults()
}

// Validate lists every fault.
func (o *Options) Validate() error {
	if o.Dir == "" {
		return errors.New("aoftool: no data directory")
	}
	return o.Engine.Validate()
}

// Errors that callers tell apart with errors.Is.
var (
	// ErrDamaged says that a directory has to be repaired first.
	ErrDamaged = errors.New("the log is damaged")
	// ErrEmpty says that there is no log.
	ErrEmpty = errors.New("there is no log in the directory")
)

// work is a directory that is being looked at.
type work struct {
	o    Options
	d    *aof.Directory
	lock io.Closer
	progress
}

// progress counts bytes of all scans.
type progress struct{ done, total int64 }

// look locks the directory, for reading or for itself, and reads its names.
func look(o Options, exclusive bool) (*work, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	// Lock would make the lock file in any folder; there has to be one.
	if st, err := o.FS.Stat(o.Dir); err != nil {
		return nil, err
	} else if !st.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", o.Dir)
	}
	lock := o.FS.LockRead
	if exclusive {
		lock = o.FS.Lock
	}
	held, err := lock(o.Dir)
	if err != nil {
		return nil, err
	}
	w := &work{o: o, lock: held}
	err = w.read()
	if err == nil && len(w.d.Files) == 0 && w.d.Manifest == "missing" {
		err = fmt.Errorf("%s: %w", o.Dir, ErrEmpty)
	}
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return w, nil
}

// read reads the directory anew.
func (w *work) read() (err error) {
	if w.d, err = aof.Inspect(w.o.FS, w.o.Dir); err != nil {
		return err
	}
	w.d.AdoptTime = w.o.Now()
	w.progress = progress{}
	for _, f := range w.d.Files {
		w.total += f.Size
	}
	return nil
}

// scan reads one file.
func (w *work) scan(ctx context.Context, f *aof.FileInfo, visit aof.Visit) error {
	return w.d.Scan(ctx, f, visit, func(n int64) {
		w.done += n
		w.o.Progress(min(w.done, w.total), w.total)
	})
}

// Inspect reads every file of the log and checks it by itself.
func Inspect(ctx context.Context, o Options) (_ *Report, err error) {
	w, err := look(o, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.lock.Close()) }()
	for _, f := range w.d.Files {
		if err := w.scan(ctx, f, nil); err != nil {
			return nil, err
		}
	}
	w.d.Check()
	return w.report(), nil
}
