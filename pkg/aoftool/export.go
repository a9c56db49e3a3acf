package aoftool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/tidwall/redcon"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/aof"
	"evenkeel/pkg/store"
)

// ExportOptions say which part of a log is exported, and how.
type ExportOptions struct {
	Until       *int64 // batches with a later time stay out; Unix milliseconds; nil: no limit
	UntilOffset *int64 // batches that end behind it stay out
	// Compacted writes one command for each live object, with the time that it has
	// left now, instead of the history.
	Compacted bool
}

// Exported is what an export wrote.
type Exported struct {
	Bytes    int64 `json:"bytes"`
	Commands int64 `json:"commands"`
	Offset   int64 `json:"offset"`         // logical, of what is in it
	Time     int64 `json:"time,omitempty"` // of the last batch in it, Unix milliseconds
	Expired  int   `json:"expired"`        // compacted: left out because their time was over
	// Relative is the number of commands with a time to live, which counts from the
	// moment the file is loaded. A compacted export has what is left of it.
	Relative int64 `json:"relative"`
}

// TooEarlyError says that the log does not reach back so far.
type TooEarlyError struct {
	Offset, Time int64 // the earliest that there is; Time is Unix milliseconds
	Adopted      bool  // it is an adopted file, which has no times
}

func (e *TooEarlyError) Error() string {
	what := ""
	if e.Adopted {
		what = ", when a plain append-only file, which has no times of its own, was adopted"
	}
	return fmt.Sprintf("the log does not reach back so far: the earliest is offset %d, time %s%s",
		e.Offset, time.UnixMilli(e.Time).UTC().Format(TimeLayout), what)
}

// TimeLayout is how times are written: RFC 3339 with milliseconds.
const TimeLayout = "2006-01-02T15:04:05.000Z07:00"

// Export writes the log as a plain Tile38 append-only file.
func Export(ctx context.Context, o Options, e ExportOptions, to io.Writer) (_ Exported, err error) {
	w, err := look(o, false)
	if err != nil {
		return Exported{}, err
	}
	defer func() { err = errors.Join(err, w.lock.Close()) }()
	files, err := w.reach(e)
	if err != nil {
		return Exported{}, err
	}
	w.total = 0
	for _, f := range files {
		w.total += f.Size
	}
	x := &export{w: w, e: e, files: files, to: to}
	if e.Compacted {
		err = x.compacted(ctx)
	} else {
		err = x.history(ctx)
	}
	return x.out, err
}

// ExportFile is Export into a new file, which is there whole or not at all.
func ExportFile(ctx context.Context, o Options, e ExportOptions, path string) (Exported, error) {
	o.EnsureDefaults()
	if _, err := o.FS.Stat(path); err == nil {
		return Exported{}, fmt.Errorf("%s exists; choose another name or remove it", path)
	}
	r, w := io.Pipe()
	type result struct {
		out Exported
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := Export(ctx, o, e, w)
		_ = w.CloseWithError(err) // never fails
		done <- result{out, err}
	}()
	err := fsx.CopyFileAtomic(o.FS, path, r)
	_ = r.CloseWithError(err) // never fails
	res := <-done
	if res.err != nil {
		return res.out, res.err
	}
	return res.out, err
}

// reach returns the files to export: the base and what is behind it, or, when
// that is too late, the backlog if it reaches back to offset 0.
func (w *work) reach(e ExportOptions) ([]*aof.FileInfo, error) {
	if w.d.Manifest != "ok" && !w.d.Plain {
		return nil, fmt.Errorf("%w: %s: run repair first", ErrDamaged, w.d.Damage[0])
	}
	base := w.d.Base()
	log := w.d.OfRole(aof.RoleLog)
	if base == nil {
		return log, nil
	}
	m, _, sealed := base.Mark()
	if !sealed { // a plain file
		if e.Until != nil || e.UntilOffset != nil {
			return nil, errors.New("a plain append-only file has no times and no offsets: it can be exported only whole")
		}
		return w.d.Files, nil
	}
	early := e.Until != nil && *e.Until < m.Time || e.UntilOffset != nil && *e.UntilOffset < m.Offset
	if !early {
		return append([]*aof.FileInfo{base}, log...), nil
	}
	backlog := w.d.OfRole(aof.RoleBacklog)
	if len(backlog) > 0 && backlog[0].Start == 0 {
		return append(backlog, log...), nil
	}
	return nil, &TooEarlyError{Offset: m.Offset, Time: m.Time, Adopted: base.Kind == aof.KindAdopted}
}

// export is the work of Export.
type export struct {
	w     *work
	e     ExportOptions
	files []*aof.FileInfo
	to    io.Writer
	out   Exported
}

// errLimit ends an export at its limit.
var errLimit = errors.New("the limit is reached")

// batches visits the batches that belong into the export.
func (x *export) batches(ctx context.Context, visit func(aof.Batch) error) error {
	end := int64(-1)
	for _, f := range x.files {
		if end >= 0 && f.Start != end {
			return fmt.Errorf("%w: the commands from offset %d to %d are missing: run repair first", ErrDamaged, end, f.Start)
		}
		err := x.w.scan(ctx, f, func(_ int64, b aof.Batch) error {
			if x.e.Until != nil && b.Time > *x.e.Until || x.e.UntilOffset != nil && b.Offset > *x.e.UntilOffset {
				return errLimit
			}
			x.out.Offset, x.out.Time = b.Offset, max(x.out.Time, b.Time)
			return visit(b)
		})
		if errors.Is(err, errLimit) {
			return nil
		}
		if err != nil {
			return err
		}
		if !f.Whole() {
			return fmt.Errorf("%w: %s: run repair first, or export what comes before the damage with a limit at offset %d",
				ErrDamaged, f.Damage[0], x.out.Offset)
		}
		end = f.End
	}
	return nil
}

func (x *export) write(b []byte) error {
	n, err := x.to.Write(b)
	x.out.Bytes += int64(n)
	return err
}

func (x *export) history(ctx context.Context) error {
	return x.batches(ctx, func(b aof.Batch) error {
		err := aof.EachRaw(b.Payload, func(words [][]byte) error {
			x.out.Commands++
			if relative(words) {
				x.out.Relative++
			}
			return nil
		})
		if err != nil {
			return err
		}
		return x.write(b.Payload)
	})
}

// relative says whether a command sets a time to live.
func relative(words [][]byte) bool {
	name := string(bytes.ToLower(words[0]))
	switch name {
	case "expire":
		return true
	case "set", "sethook", "setchan":
		for _, word := range words[1 : len(words)-1] {
			if len(word) == 2 && bytes.EqualFold(word, []byte("ex")) {
				return true
			}
		}
	}
	return false
}

func (x *export) compacted(ctx context.Context) error {
	off, err := store.Rebuild(ctx, x.w.o.Engine, x.batches)
	if err != nil {
		return err
	}
	now := x.w.o.Now()
	if x.out.Expired, err = off.Expire(now); err != nil {
		return err
	}
	var buf []byte
	err = off.Dump(now, func(args []string) error {
		x.out.Commands++
		buf = redcon.AppendArray(buf[:0], len(args))
		for _, arg := range args {
			buf = redcon.AppendBulkString(buf, arg)
		}
		return x.write(buf)
	})
	return err
}

// Command is a command of a log.
type Command struct {
	File   string   `json:"file"`
	Offset int64    `json:"offset"` // logical, of its beginning; in a base, of the base
	Time   int64    `json:"time"`   // of its batch, Unix milliseconds
	Args   []string `json:"args"`
}

// Commands visits the commands from offset from on; with from < 0 the base's
// first, which make the state there, and then those behind it. It ends after
// limit commands, unless limit is 0. Args are valid during the call.
func Commands(ctx context.Context, o Options, from, limit int64, visit func(Command) error) (err error) {
	w, err := look(o, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.lock.Close()) }()
	if limit <= 0 {
		limit = math.MaxInt64
	}
	for _, f := range w.d.Files {
		segment := f.Kind == aof.KindSegment
		if f.Role == aof.RoleBacklog && from < 0 || !segment && from >= 0 {
			continue
		}
		err := w.scan(ctx, f, func(_ int64, b aof.Batch) error {
			at := b.Offset
			if segment {
				at -= int64(len(b.Payload))
			}
			if segment && b.Offset <= from {
				return nil
			}
			return aof.EachCommand(b.Payload, func(args []string) error {
				c := Command{File: f.Name, Offset: at, Time: b.Time, Args: args}
				if segment {
					at += encodedSize(args)
				}
				if segment && c.Offset < from {
					return nil
				}
				if limit--; limit < 0 {
					return errLimit
				}
				return visit(c)
			})
		})
		if errors.Is(err, errLimit) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if all := w.d.All(); len(all) > 0 {
		return fmt.Errorf("%w: %s: the list has gaps", ErrDamaged, all[0])
	}
	return nil
}

// encodedSize is the number of bytes of a command in a log.
func encodedSize(args []string) int64 {
	n := int64(len(redcon.AppendArray(nil, len(args))))
	for _, a := range args {
		n += int64(len(redcon.AppendArray(nil, len(a))) + len(a) + 2)
	}
	return n
}
