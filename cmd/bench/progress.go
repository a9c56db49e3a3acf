package main

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// progress says what goes on: on a terminal in one line that is written anew,
// elsewhere in a line for each stage.
type progress struct {
	w        *os.File
	terminal bool
	began    time.Time

	mu    sync.Mutex // guards what follows
	stage string
	drawn time.Time
}

func newProgress(w *os.File) *progress {
	info, err := w.Stat()
	return &progress{w: w, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0, began: time.Now()}
}

// start begins a stage.
func (p *progress) start(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stage = fmt.Sprintf(format, args...)
	p.drawn = time.Time{}
	p.draw("")
	if !p.terminal {
		fmt.Fprintln(p.w)
	}
}

// part tells how much of the stage is done. It may be called often and from
// several goroutines.
func (p *progress) part(done, of int) {
	if !p.terminal {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.drawn) >= 100*time.Millisecond {
		p.drawn = now
		p.draw(fmt.Sprintf(" %d %%", 100*done/of))
	}
}

// end clears the line.
func (p *progress) end() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func (p *progress) draw(more string) {
	front := ""
	if p.terminal {
		front = "\r\x1b[K"
	}
	fmt.Fprintf(p.w, "%s[%4.0f s] %s%s", front, time.Since(p.began).Seconds(), p.stage, more)
}
