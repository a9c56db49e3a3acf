package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/aof"
	"evenkeel/pkg/aoftool"
	"evenkeel/pkg/compactor"
)

// exitDamage is the status of `sidecar aof` when there is damage: found and left
// as it is.
const exitDamage = 2

// aofFlags are what all of `sidecar aof` know.
type aofFlags struct {
	json bool
	cmd  *cobra.Command
	bar  *bar
}

func aofCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "aof",
		Short: "Look at, verify, repair, export, import or compact a log that nobody serves",
		Long: `Works on a data directory while no sidecar runs on it.

Exit status:
  0  done, and nothing is wrong; a torn tail, which a crash leaves, is nothing wrong
  1  it could not be done: a wrong flag, a file that cannot be read, a live sidecar
  2  there is damage: found by inspect or verify, in the way of export, import or
     compact, or left by a repair that was not agreed to or is not possible`,
	}
	f := &aofFlags{}
	cmd.PersistentFlags().BoolVar(&f.json, "json", false, "write what was found as JSON")
	cmd.AddCommand(f.inspect(), f.verify(), f.repair(), f.export(), f.imports(), f.compact())
	return cmd
}

// command makes a subcommand on one path.
func (f *aofFlags) command(use, short, long string, run func(ctx context.Context, o aoftool.Options, path string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.cmd, f.bar = cmd, newBar(cmd.ErrOrStderr(), cmd.Name())
			o := aoftool.Options{Dir: args[0], Progress: f.bar.update}
			err := run(cmd.Context(), o, args[0])
			f.bar.clear()
			return explain(err)
		},
	}
}

// explain says what a person can do about an error.
func explain(err error) error {
	locked, isLocked := errors.AsType[*fsx.LockedError](err)
	coded, isCoded := errors.AsType[*exitError](err)
	switch {
	case err == nil:
		return nil
	case isCoded:
		return coded
	case isLocked:
		return &exitError{1, fmt.Errorf("%w: stop that sidecar first, or work on a copy of the directory", locked)}
	case errors.Is(err, context.Canceled):
		return &exitError{1, errors.New("interrupted")}
	case errors.Is(err, aoftool.ErrDamaged), errors.Is(err, aof.ErrNoRepair):
		return &exitError{exitDamage, err}
	case errors.Is(err, fs.ErrPermission):
		return &exitError{1, fmt.Errorf("%w: run it as the user that owns the directory", err)}
	}
	return &exitError{1, err}
}

// tell writes v as JSON, or text for a person.
func (f *aofFlags) tell(v any, text func(w io.Writer)) error {
	f.bar.clear()
	w := f.cmd.OutOrStdout()
	if !f.json {
		text(w)
		return nil
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// verdict is the exit status for a report.
func verdict(r *aoftool.Report) error {
	if r.Clean() {
		return nil
	}
	return &exitError{code: exitDamage}
}

func (f *aofFlags) verify() *cobra.Command {
	return f.command("verify DIR", "Compare every checksum, offset and digest of a log",
		`Reads every file and replays the log: every checksum, every offset, every fact in
MANIFEST and the digest behind every batch is compared. All damage is listed, as
far as one can read on. A plain Tile38 directory (appendonly.aof alone) has no
checksums: there, only what is no command is found.

Nothing is changed. A read-only directory will do.`,
		func(ctx context.Context, o aoftool.Options, dir string) error {
			r, err := aoftool.Verify(ctx, o)
			if err != nil {
				return err
			}
			return errors.Join(f.tell(r, func(w io.Writer) { writeReport(w, r, dir) }), verdict(r))
		})
}

func (f *aofFlags) inspect() *cobra.Command {
	var commands bool
	var from, limit int64
	cmd := f.command("inspect DIR", "Show what a log's directory holds",
		`Lists the files of the log, what each holds, and what lies beside them. Every file
is read and checked by itself, but nothing is replayed; verify does that.
With --commands it lists the commands.

Nothing is changed. A read-only directory will do.`,
		func(ctx context.Context, o aoftool.Options, dir string) error {
			if commands {
				return f.listCommands(ctx, o, from, limit)
			}
			r, err := aoftool.Inspect(ctx, o)
			if err != nil {
				return err
			}
			return errors.Join(f.tell(r, func(w io.Writer) { writeReport(w, r, dir) }), verdict(r))
		})
	cmd.Flags().BoolVar(&commands, "commands", false, "list the commands: first those of the base, then those behind it; with --json one object a line")
	cmd.Flags().Int64Var(&from, "from", -1, "list from this logical offset on, as far back as the log reaches, without the base")
	cmd.Flags().Int64Var(&limit, "limit", 100, "list so many commands; 0 is all")
	return cmd
}

func (f *aofFlags) listCommands(ctx context.Context, o aoftool.Options, from, limit int64) error {
	w := f.cmd.OutOrStdout()
	e := json.NewEncoder(w)
	o.Progress = nil // the list itself is the progress
	return aoftool.Commands(ctx, o, from, limit, func(c aoftool.Command) error {
		if f.json {
			return e.Encode(c)
		}
		_, err := fmt.Fprintf(w, "%12d  %s  %s\n", c.Offset, timeText(c.Time), commandText(c.Args, commandWidth))
		return err
	})
}

func (f *aofFlags) export() *cobra.Command {
	var out, until string
	var untilOffset int64
	var compacted bool
	cmd := f.command("export DIR -o FILE|-", "Write a log as a plain Tile38 append-only file",
		`Writes the commands of the log without its annotations: a file that Tile38 loads.
With --until or --until-offset it ends there: every batch whose time is at or before
TIME is in it. The log reaches back to its base (or to its beginning, while the
backlog does); what is older is gone, and asking for it is an error.

Times to live: the history has EX and EXPIRE as they were sent, and who loads the file
counts them from that moment. With --compacted there is one command for each object
that lives now, with the time that it has left.`,
		func(ctx context.Context, o aoftool.Options, _ string) error {
			e := aoftool.ExportOptions{Compacted: compacted}
			if until != "" {
				t, err := parseTime(until)
				if err != nil {
					return fmt.Errorf("--until: %w", err)
				}
				e.Until = &t
			}
			if f.cmd.Flags().Changed("until-offset") {
				e.UntilOffset = &untilOffset
			}
			return f.writeExport(ctx, o, e, out)
		})
	cmd.Flags().StringVarP(&out, "output", "o", "", "the new file; - is the standard output")
	cmd.Flags().StringVar(&until, "until", "", "leave out what is later: RFC 3339, or Unix milliseconds")
	cmd.Flags().Int64Var(&untilOffset, "until-offset", 0, "leave out batches that end behind this logical offset")
	cmd.Flags().BoolVar(&compacted, "compacted", false, "one command for each live object instead of the history")
	_ = cmd.MarkFlagRequired("output") // the flag is there
	return cmd
}

func (f *aofFlags) writeExport(ctx context.Context, o aoftool.Options, e aoftool.ExportOptions, out string) error {
	if out == "-" {
		done, err := aoftool.Export(ctx, o, e, f.cmd.OutOrStdout())
		f.bar.clear()
		if err == nil && !f.json {
			writeExported(f.cmd.ErrOrStderr(), done, "the standard output", e.Compacted)
		}
		return err
	}
	done, err := aoftool.ExportFile(ctx, o, e, out)
	if err != nil {
		return err
	}
	return f.tell(done, func(w io.Writer) { writeExported(w, done, out, e.Compacted) })
}

func (f *aofFlags) imports() *cobra.Command {
	var dir, written string
	cmd := f.command("import FILE -o DIR", "Make a data directory from a plain Tile38 append-only file",
		`Makes a new data directory, which must not exist or be empty, whose log holds the
state that FILE leads to. The new log is verified and its digest compared with that of
FILE. Times to live in FILE count from now, as when Tile38 loads it, or from --written.`,
		func(ctx context.Context, o aoftool.Options, file string) error {
			o.Dir = dir
			if written != "" {
				t, err := parseTime(written)
				if err != nil {
					return fmt.Errorf("--written: %w", err)
				}
				o.Now = func() int64 { return t }
			}
			did, err := aoftool.Import(ctx, o, file)
			if err != nil {
				return err
			}
			return f.tell(did, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %s became the log in %s\n", file, bytesText(did.Bytes), dir)
				if did.Torn > 0 {
					fmt.Fprintf(w, "its last %s are no whole command and stayed out\n", bytesText(did.Torn))
				}
				writeData(w, did.Data)
			})
		})
	cmd.Flags().StringVarP(&dir, "output", "o", "", "the new data directory")
	cmd.Flags().StringVar(&written, "written", "", "when FILE was written: RFC 3339, or Unix milliseconds (default now)")
	_ = cmd.MarkFlagRequired("output") // the flag is there
	return cmd
}

func (f *aofFlags) compact() *cobra.Command {
	var backlog string
	cmd := f.command("compact DIR", "Write a log's state as its new base and drop what is not needed any more",
		`Replays the log, writes the state as the new base, reads that back and compares
digests, then removes the old files. Offsets stay: followers that are not further back
than --backlog-size go on as if nothing had been.`,
		func(ctx context.Context, o aoftool.Options, dir string) error {
			keep, err := compactor.ParseSize(backlog)
			if err != nil || keep < 0 {
				return fmt.Errorf("--backlog-size %q: want a size: bytes, or kb, mb, gb", backlog)
			}
			if keep == 0 {
				keep = -1 // nothing
			}
			did, err := aoftool.Compact(ctx, o, aoftool.CompactOptions{BacklogBytes: keep})
			if err != nil {
				return err
			}
			return f.tell(did, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %s before, %s now, with the base at offset %s\n",
					dir, bytesText(did.Before), bytesText(did.After), countText(did.Offset))
				writeData(w, did.Data)
			})
		})
	cmd.Flags().StringVar(&backlog, "backlog-size", "64mb", "log that is kept behind the new base for followers that were away; 0 is nothing")
	return cmd
}

// parseTime reads RFC 3339 or Unix milliseconds.
func parseTime(s string) (int64, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && ms >= 0 {
		return ms, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, fmt.Errorf("%q: want a time as 2006-01-02T15:04:05Z, or Unix milliseconds", s)
	}
	return t.UnixMilli(), nil
}
