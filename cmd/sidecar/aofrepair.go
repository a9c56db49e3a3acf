package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/aoftool"
)

func (f *aofFlags) repair() *cobra.Command {
	var agreed bool
	cmd := f.command("repair DIR", "Make a damaged log whole, after saying what that takes out",
		`Verifies the log, says what would make it whole and what would be taken out of it, and
does that with --yes, or when it is agreed to on a terminal. What is taken out is kept
beside the log as *.cut-<position>. Afterwards the log is verified again.

Damage in the middle of a segment takes out everything behind it, which builds on it. A
damaged base can be made again if the segments reach back to the beginning; otherwise
follow another sidecar, or take a backup. A lost or damaged MANIFEST is made again when
the digests prove that the files belong together. Where commands are taken out, and where
MANIFEST was lost, a new epoch begins, so that no follower takes the log for the old one.`,
		func(ctx context.Context, o aoftool.Options, dir string) error {
			did, err := aoftool.Repair(ctx, o, func(r *aoftool.Repaired) (bool, error) {
				f.bar.clear()
				if !f.json {
					writeFindings(f.cmd.OutOrStdout(), r.Before, dir)
					writePlan(f.cmd.OutOrStdout(), r.Plan)
				}
				if agreed {
					return true, nil
				}
				return f.ask()
			})
			f.bar.clear()
			if did == nil {
				return err
			}
			if err != nil && !errors.Is(err, aof.ErrNoRepair) {
				return err
			}
			return errors.Join(f.tellRepaired(did, dir, err), outcome(did, err))
		})
	cmd.Flags().BoolVar(&agreed, "yes", false, "do it without asking")
	return cmd
}

// ask waits for a person's answer; without a terminal it is no.
func (f *aofFlags) ask() (bool, error) {
	in, isFile := f.cmd.InOrStdin().(*os.File)
	if f.json || !isFile || !isTerminal(in) {
		return false, nil
	}
	// Nothing is under way: an interrupt ends the program instead of waiting for an
	// answer. One that comes later is a crash, which a repair survives.
	signal.Reset(os.Interrupt)
	fmt.Fprint(f.cmd.ErrOrStderr(), "\nDo it? [y/N] ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}

// outcome is the exit status of a repair.
func outcome(did *aoftool.Repaired, err error) error {
	switch {
	case err != nil:
		return &exitError{exitDamage, err}
	case did.Plan == nil || did.Done && did.After.Clean():
		return nil
	case !did.Done && did.Before.Clean(): // a torn tail, which the next start cuts
		return nil
	}
	return &exitError{code: exitDamage}
}

func (f *aofFlags) tellRepaired(did *aoftool.Repaired, dir string, err error) error {
	return f.tell(did, func(w io.Writer) {
		switch {
		case err != nil:
			writeFindings(w, did.Before, dir)
			fmt.Fprint(w, "\nNothing was changed. What is possible: follow a sidecar that has the data (an empty directory and\n"+
				"run --follow), or take a backup. The commands before the damage: sidecar aof inspect --commands --limit 0.\n")
		case did.Plan == nil:
			fmt.Fprintf(w, "%s: the log is whole; there is nothing to repair\n", dir)
		case !did.Done:
			fmt.Fprint(w, "\nNothing was changed. To do it: sidecar aof repair --yes ", dir, "\n")
		default:
			fmt.Fprint(w, "\nDone.\n")
			for _, path := range did.Kept {
				fmt.Fprintf(w, "  kept: %s\n", path)
			}
			writeVerdict(w, did.After, dir)
		}
	})
}

// writeSum adds up what is lost for ever.
func writeSum(w io.Writer, r *aof.Repair) {
	var batches, commands, bytes int64
	for _, x := range r.Losses {
		if !x.Harmless {
			batches, commands, bytes = batches+x.Batches, commands+x.Commands, bytes+x.Bytes
		}
	}
	if bytes > 0 {
		fmt.Fprintf(w, "  lost in all: %s in %s that can be read, and what cannot be; %s of files\n",
			plural(commands, "command", "commands"), plural(batches, "batch", "batches"), bytesText(bytes))
	}
}

// writePlan says what a repair would do.
func writePlan(w io.Writer, r *aof.Repair) {
	fmt.Fprint(w, "\nTo make it whole:\n")
	for _, x := range r.Losses {
		verb := "cut"
		where := fmt.Sprintf(" at byte %s", countText(x.At))
		if x.At == 0 {
			verb, where = "take out", ""
		}
		fmt.Fprintf(w, "  %s %s%s: %s from offset %s on", verb, x.File, where, bytesText(x.Bytes), countText(x.Offset))
		if x.Batches > 0 || x.Commands > 0 {
			fmt.Fprintf(w, ", with %s and %s that can be read", plural(x.Batches, "batch", "batches"), plural(x.Commands, "command", "commands"))
		}
		if x.FirstTime > 0 {
			fmt.Fprintf(w, ",\n    from %s to %s", timeText(x.FirstTime), laterText(x.FirstTime, x.LastTime))
		}
		fmt.Fprintf(w, "\n    because: %s\n", x.Why)
		if x.Harmless {
			fmt.Fprint(w, "    no data is lost by it\n")
		}
	}
	writeSum(w, r)
	if r.Manifest {
		fmt.Fprint(w, "  write MANIFEST anew\n")
	}
	switch {
	case r.Forget && r.Base != nil:
		fmt.Fprintf(w, "  set MANIFEST aside: the next start adopts %s anew, and its times to live count from then\n", r.Base.Name)
	case r.Forget:
		fmt.Fprint(w, "  set MANIFEST aside: there are no files of a log, and the next start begins a new one\n")
	}
	if r.NewEpoch != "" {
		fmt.Fprint(w, "  begin a new epoch: followers compare what they have with it\n")
	}
	fmt.Fprintf(w, "The log would end at offset %s. What is taken out is kept beside it as *.cut-*.\n", countText(r.Offset))
}
