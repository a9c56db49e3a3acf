package load

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// mostStolen is how much of the processors, in percent, the host of a virtual
	// machine may give to others in a second that is to count: latencies near one
	// millisecond do not survive more.
	mostStolen = 0.9
	// echo is how long after such a second requests still wait for each other.
	echo = 300 * time.Millisecond
)

// stolen is the processor time since the machine's start, and how much of it the
// host gave to others, in ticks. Source: proc(5), /proc/stat.
type stolen struct{ all, steal float64 }

func readStolen() (s stolen, err error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return s, err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	const user, steal = 1, 8
	if len(fields) <= steal || fields[0] != "cpu" {
		return s, fmt.Errorf("/proc/stat begins with %.100q", line)
	}
	for i := user; i <= steal; i++ {
		n, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return s, fmt.Errorf("/proc/stat: %w", err)
		}
		s.all += n
		if i == steal {
			s.steal = n
		}
	}
	return s, nil
}

// since returns how much was stolen since an earlier time, in percent.
func (s stolen) since(earlier stolen) float64 {
	if s.all == earlier.all {
		return 0
	}
	return 100 * (s.steal - earlier.steal) / (s.all - earlier.all)
}

// Host knows when the machine was not ours.
type Host struct {
	mu   sync.Mutex // guards away
	away []span     // in order
}

type span struct{ from, to time.Time }

// Watch looks every second until ctx ends.
func (h *Host) Watch(ctx context.Context) error {
	last, err := readStolen()
	if err != nil {
		return err
	}
	from := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := readStolen()
		if err != nil {
			return err
		}
		if now.since(last) > mostStolen {
			h.took(span{from, time.Now().Add(echo)})
		}
		last, from = now, time.Now()
	}
}

func (h *Host) took(s span) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = append(h.away, s)
}

// Left takes those samples out that are of a time when the machine was not ours,
// and returns their latencies, and which part of all they are.
func (h *Host) Left(samples []Sample) (latencies []time.Duration, part float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range samples {
		if !h.wasAway(x.At) {
			latencies = append(latencies, x.Latency)
		}
	}
	if len(samples) > 0 {
		part = float64(len(latencies)) / float64(len(samples))
	}
	return latencies, part
}

// wasAway is called with the lock held.
func (h *Host) wasAway(at time.Time) bool {
	for _, s := range h.away {
		if at.After(s.from) && at.Before(s.to) {
			return true
		}
	}
	return false
}
