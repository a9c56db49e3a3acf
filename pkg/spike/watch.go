package spike

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"evenkeel/internal/load"
)

// watchEvery is how often a server is asked for its state.
const watchEvery = 250 * time.Millisecond

// Reading is what a server says of itself.
type Reading struct {
	At        time.Time `json:"-"`
	Seconds   float64   `json:"s"`       // since the measurement began
	Memory    int64     `json:"memory"`  // taken from the system and not given back, in bytes
	Log       int64     `json:"log"`     // aof_size, in bytes
	Objects   int64     `json:"objects"` // of all collections
	Rewriting bool      `json:"rewriting,omitempty"`
}

// read asks for a reading.
func read(c *load.Conn) (r Reading, err error) {
	asked := time.Now()
	kv, err := c.Do("SERVER", "EXT")
	if err != nil {
		return r, err
	}
	r.At = asked
	m := make(map[string]string, len(kv)/2)
	for i := 0; i+1 < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	number := func(name string) int64 {
		text, ok := m[name]
		if err != nil {
			return 0
		}
		if !ok {
			err = fmt.Errorf("the answer to SERVER EXT has no %s: it is no Tile38, or an old one", name)
			return 0
		}
		n, bad := strconv.ParseInt(text, 10, 64)
		if bad != nil {
			err = fmt.Errorf("the answer to SERVER EXT: %s is %q", name, text)
		}
		return n
	}
	r.Memory = number("sys_bytes") - number("heap_released_bytes")
	r.Log, r.Objects = number("tile38_aof_size"), number("tile38_num_objects")
	r.Rewriting = m["tile38_aof_rewrite_in_progress"] == "true"
	return r, err
}

// watcher reads a server's state again and again.
type watcher struct {
	to load.Server

	mu       sync.Mutex // guards what follows
	readings []Reading
	failures int   // answers that did not come
	failed   error // the last of them
}

// run watches until ctx ends. A server that does not answer is asked again: what
// it does then is part of what is measured.
func (w *watcher) run(ctx context.Context) {
	var c *load.Conn
	defer func() {
		if c != nil {
			_ = c.Close()
		}
	}()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		var err error
		if c == nil {
			c, err = load.Dial(ctx, w.to)
		}
		if err == nil {
			var r Reading
			if r, err = read(c); err == nil {
				w.add(r)
			} else {
				_ = c.Close()
				c = nil
			}
		}
		if err != nil && ctx.Err() == nil {
			w.miss(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *watcher) add(r Reading) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readings = append(w.readings, r)
}

func (w *watcher) miss(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures++
	w.failed = err
}

// last is the newest reading, if it is from after t.
func (w *watcher) last(t time.Time) (Reading, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.readings) == 0 {
		return Reading{}, false
	}
	r := w.readings[len(w.readings)-1]
	return r, r.At.After(t)
}

// all returns the readings, their times counted from began.
func (w *watcher) all(began time.Time) []Reading {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Reading, 0, len(w.readings))
	for _, r := range w.readings {
		r.Seconds = r.At.Sub(began).Seconds()
		out = append(out, r)
	}
	return out
}
