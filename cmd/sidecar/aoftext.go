package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/aoftool"
)

// commandWidth bounds a command in a list, in characters.
const commandWidth = 160

// maxListed bounds how much damage a person is shown; --json has all.
const maxListed = 50

// writeReport says what was found in a directory, and what that means.
func writeReport(w io.Writer, r *aoftool.Report, dir string) {
	writeFindings(w, r, dir)
	if len(r.Files) > 0 || !r.Clean() {
		writeVerdict(w, r, dir)
	}
}

func writeFindings(w io.Writer, r *aoftool.Report, dir string) {
	switch {
	case len(r.Files) == 0 && r.Clean():
		fmt.Fprintf(w, "%s: an empty log\n", dir)
		return
	case r.Plain:
		fmt.Fprintf(w, "%s: a plain Tile38 append-only file\n", dir)
	case r.Epoch != "":
		fmt.Fprintf(w, "%s: epoch %s\n", dir, r.Epoch)
	default:
		fmt.Fprintf(w, "%s: a log without a usable manifest\n", dir)
	}
	for _, p := range r.Previous {
		fmt.Fprintf(w, "  goes on from epoch %s at offset %s\n", p.Epoch, countText(p.Offset))
	}
	writeFiles(w, r.Files)
	if len(r.Others) > 0 {
		fmt.Fprint(w, "\nBeside the log:\n")
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, o := range r.Others {
			fmt.Fprintf(tw, "  %s\t%s\t%s\n", o.Name, bytesText(o.Size), o.What)
		}
		_ = tw.Flush() // w keeps its own errors
	}
	for _, f := range r.Files {
		if f.TornBytes > 0 {
			fmt.Fprintf(w, "\nTorn tail: the last %s of %s, from byte %s on, are no whole batch. The next start cuts them off.\n",
				bytesText(f.TornBytes), f.Name, countText(f.TornAt))
		}
	}
	writeDamage(w, r.Found)
	if r.Data != nil {
		fmt.Fprintln(w)
		writeData(w, r.Data)
	}
}

func writeFiles(w io.Writer, files []*aof.FileInfo) {
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "FILE\tIS\tOFFSETS\tSIZE\tBATCHES\tCOMMANDS\tTIME\n")
	for _, f := range files {
		offsets := fmt.Sprintf("%s to %s", countText(f.Start), countText(f.End))
		if f.Kind != aof.KindSegment {
			offsets = "at " + countText(f.Start)
		}
		times := "-"
		switch {
		case f.Missing():
			offsets = "from " + countText(f.Start)
		case f.FirstTime > 0 && f.FirstTime == f.LastTime:
			times = timeText(f.FirstTime)
		case f.FirstTime > 0:
			times = timeText(f.FirstTime) + " to " + laterText(f.FirstTime, f.LastTime)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Name, isText(f), offsets,
			bytesText(f.Size), countText(f.Batches), countText(f.Commands), times)
	}
	_ = tw.Flush() // w keeps its own errors
	for _, f := range files {
		if f.ZeroBytes > 0 {
			fmt.Fprintf(w, "%s has %s of zeros between its commands, which do no harm.\n", f.Name, bytesText(f.ZeroBytes))
		}
	}
}

// isText says what a file is to the log.
func isText(f *aof.FileInfo) string {
	text := f.Role
	switch {
	case f.Kind == aof.KindAdopted && f.Sealed:
		text = "adopted"
	case f.Kind == aof.KindAdopted:
		text = "plain"
	case f.Role == aof.RoleFound:
		text = f.Kind
	}
	switch {
	case f.Missing():
		text += ", missing"
	case len(f.Damage) > 0:
		text += ", damaged"
	}
	return text
}

func writeDamage(w io.Writer, found []aof.Damage) {
	if len(found) == 0 {
		return
	}
	fmt.Fprint(w, "\nDamage:\n")
	for i, x := range found {
		if i == maxListed {
			fmt.Fprintf(w, "  … and %d more; --json lists all\n", len(found)-i)
			break
		}
		fmt.Fprintf(w, "  %s\n", x)
	}
}

func writeData(w io.Writer, d *aoftool.Data) {
	upTo := ""
	if !d.Whole {
		upTo = "before the damage, "
	}
	fmt.Fprintf(w, "State %sat offset %s: %s (%s, %s) in %s, %s, %s\n", upTo, countText(d.Offset),
		plural(int64(d.Objects), "object", "objects"), plural(int64(d.Points), "point", "points"),
		plural(int64(d.Strings), "string", "strings"), plural(int64(d.Collections), "collection", "collections"),
		plural(int64(d.Hooks), "hook", "hooks"), plural(int64(d.Channels), "channel", "channels"))
	fmt.Fprintf(w, "  digest %s, %s replayed\n", d.Digest, plural(d.Commands, "command", "commands"))
	if d.Refused > 0 {
		fmt.Fprintf(w, "  %s passed over, as Tile38 does; the first: %s\n", plural(int64(d.Refused), "command", "commands"), shorten(d.FirstRefuse, commandWidth))
	}
}

func writeVerdict(w io.Writer, r *aoftool.Report, dir string) {
	switch {
	case !r.Clean():
		fmt.Fprintf(w, "\n%s found. What can be done: sidecar aof repair %s\n", plural(int64(len(r.Found)), "fault", "faults"), dir)
	case r.Data == nil:
		fmt.Fprint(w, "\nEvery file is whole by itself; verify replays them, too.\n")
	case r.Plain:
		fmt.Fprint(w, "\nThe file can be read. It has no checksums that could tell more.\n")
	default:
		fmt.Fprint(w, "\nThe log is whole.\n")
	}
}

// writeExported says what an export wrote.
func writeExported(w io.Writer, x aoftool.Exported, to string, compacted bool) {
	fmt.Fprintf(w, "%s to %s, up to offset %s", plural(x.Commands, "command", "commands")+", "+bytesText(x.Bytes), to, countText(x.Offset))
	if x.Time > 0 {
		fmt.Fprintf(w, ", time %s", timeText(x.Time))
	}
	fmt.Fprintln(w)
	if x.Expired > 0 {
		fmt.Fprintf(w, "%s left out: their time is over\n", plural(int64(x.Expired), "object", "objects"))
	}
	if x.Relative > 0 && !compacted {
		fmt.Fprintf(w, "%s a time to live, which begins anew when the file is loaded; --compacted writes what is left of it\n",
			plural(x.Relative, "command has", "commands have"))
	}
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return countText(n) + " " + many
}

func timeText(ms int64) string { return time.UnixMilli(ms).UTC().Format(aoftool.TimeLayout) }

// laterText is timeText without the date when that is the same as of from.
func laterText(from, ms int64) string {
	text := timeText(ms)
	if day := len("2006-01-02T"); timeText(from)[:day] == text[:day] {
		return text[day:]
	}
	return text
}

// commandText writes a command on one line of at most width characters: words
// that are not plain stand in quotes, what is too long is shortened.
func commandText(args []string, width int) string {
	var b strings.Builder
	for i, a := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		if b.Len() > width {
			break
		}
		b.WriteString(wordText(a))
	}
	return shorten(b.String(), width)
}

func wordText(s string) string {
	const most = 2 * commandWidth
	cut := ""
	if len(s) > most {
		cut, s = fmt.Sprintf("…(%d bytes)", len(s)), s[:most]
	}
	plain := s != ""
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			plain = false
			break
		}
	}
	if !plain {
		s = strconv.Quote(s)
	}
	return s + cut
}

// shorten cuts s to width characters.
func shorten(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	return string(r[:width-1]) + "…"
}
