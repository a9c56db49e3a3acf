package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// bar shows a person on a terminal how far something is; elsewhere it shows
// nothing. It belongs to one goroutine at a time.
type bar struct {
	w     io.Writer // nil: no terminal
	label string
	begun time.Time
	last  time.Time
	done  int64
	shown bool
	text  func(int64) string // writes done and total; nil: as bytes
}

// barWidth is the number of cells between the brackets.
const barWidth = 28

// newBar returns a bar on w if that is a terminal.
func newBar(w io.Writer, label string) *bar {
	b := &bar{label: label}
	if f, ok := w.(*os.File); ok && isTerminal(f) {
		b.w = w
	}
	return b
}

// update draws the bar, ten times a second at most. What takes less than that is
// not worth one.
func (b *bar) update(done, total int64) {
	now := time.Now()
	if b.last.IsZero() || done < b.done { // another round begins
		b.begun, b.last = now, now
	}
	b.done = done
	if b.w == nil || total <= 0 || now.Sub(b.last) < 100*time.Millisecond {
		return
	}
	b.last, b.shown = now, true
	_, _ = fmt.Fprintf(b.w, "\r%s\x1b[K", b.draw(done, total, now.Sub(b.begun)))
}

// draw is a line without its end.
func (b *bar) draw(done, total int64, took time.Duration) string {
	text := b.text
	if text == nil {
		text = bytesText
	}
	done = min(done, total)
	cells := int(done * barWidth / total)
	fill := strings.Repeat("=", cells)
	if cells < barWidth {
		fill += ">" + strings.Repeat(" ", barWidth-cells-1)
	}
	rate := float64(done) / max(took.Seconds(), 0.001)
	return fmt.Sprintf("%s [%s] %3d %% of %s, %s/s", b.label, fill, done*100/total, text(total), text(int64(rate)))
}

// clear takes the bar off the screen, so that what is said next has the line.
func (b *bar) clear() {
	if b.shown {
		_, _ = io.WriteString(b.w, "\r\x1b[K")
		b.shown = false
	}
}

// bytesText writes a size for a person: 512 B, 1.5 KiB, 64 MiB.
func bytesText(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), 0
	for v >= 1<<10 && unit < 4 {
		v /= 1 << 10
		unit++
	}
	digits := 1
	if v >= 100 {
		digits = 0
	}
	text := fmt.Sprintf("%.*f", digits, v)
	return strings.TrimSuffix(text, ".0") + " " + []string{"B", "KiB", "MiB", "GiB", "TiB"}[unit]
}

// countText writes a number with its thousands apart: 1,234,567.
func countText(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
