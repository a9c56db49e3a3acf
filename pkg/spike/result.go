package spike

import (
	"fmt"
	"time"

	"evenkeel/internal/load"
)

// Marks are the times between the phases.
type Marks struct {
	Began, Before, Compaction, Compacted, After, End time.Time
}

// window is the time of which one point of a picture is.
const window = 500 * time.Millisecond

// Quantiles of latencies, in milliseconds.
type Quantiles struct {
	Requests int     `json:"requests"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
}

// Series is one operation on one server.
type Series struct {
	Name   string    `json:"name"` // "leader SET"
	Before Quantiles `json:"before"`
	During Quantiles `json:"during"`
	After  Quantiles `json:"after"`
	Ratio  float64   `json:"p99_during_over_before"` // 0: not known
	// Windows are p99 in milliseconds of each half second from Result's begin on;
	// below 0: there was no request.
	Windows []float64 `json:"windows_p99_ms"`
}

// Memory is the highest memory of a server in a phase, in bytes.
type Memory struct {
	Before int64 `json:"before"`
	During int64 `json:"during"`
	After  int64 `json:"after"`
}

// Server is what was seen of one server.
type Server struct {
	Addr     string    `json:"addr"`
	Memory   Memory    `json:"memory"`
	Readings []Reading `json:"readings"`
	Missed   int       `json:"missed_answers,omitempty"`
}

// Result is what came out. Times are seconds since the beginning.
type Result struct {
	Key        string    `json:"key"`
	Points     int       `json:"points"`
	Rounds     int       `json:"rounds"`
	Rate       int       `json:"rate_per_operation"`
	Start      time.Time `json:"start"`
	Before     float64   `json:"before_s"`     // the phase before begins
	Compaction float64   `json:"compaction_s"` // AOFSHRINK was sent
	Compacted  float64   `json:"compacted_s"`  // … and is done
	After      float64   `json:"after_s"`      // the follower is level again
	End        float64   `json:"end_s"`
	LogBefore  int64     `json:"log_before_bytes"`
	LogAfter   int64     `json:"log_after_bytes"`
	Leader     Server    `json:"leader"`
	Follower   *Server   `json:"follower,omitempty"`
	Series     []Series  `json:"series"`
	// Reread is by how many bytes the follower's log grew from the compaction on,
	// beside what was written, if that is much: it took in the leader's log again.
	Reread int64 `json:"follower_reread_bytes"`
	// Ghosts is how many more objects the follower had than the leader at the end;
	// below 0: fewer.
	Ghosts int64 `json:"follower_objects_excess"`
	// Counted is the part of the requests that were not beside stolen processor
	// time, 0 to 1.
	Counted float64  `json:"counted"`
	Notes   []string `json:"notes,omitempty"`
}

func (s *spike) result() *Result {
	m := &s.marks
	at := func(t time.Time) float64 { return t.Sub(m.Began).Seconds() }
	r := &Result{
		Key: s.o.Key, Points: s.o.Points, Rounds: s.o.Rounds, Rate: s.o.Rate, Start: m.Began,
		Before: at(m.Before), Compaction: at(m.Compaction), Compacted: at(m.Compacted), After: at(m.After), End: at(m.End),
		Leader: s.server(s.leader), Counted: 1, Notes: s.notes,
	}
	r.LogBefore, r.LogAfter = logAt(r.Leader.Readings, r.Compaction), logAt(r.Leader.Readings, r.After)
	host := &s.host
	if r.Counted = s.counted(host); r.Counted < leastCounted {
		r.Notes = append(r.Notes, fmt.Sprintf("The machine that measured was taken away most of the time (all but %.0f %%): measure again on a quieter one.", 100*r.Counted))
		host, r.Counted = &load.Host{}, 1 // better all of them than hardly any
	}
	for i, st := range s.streams {
		r.Series = append(r.Series, s.series(host, s.names[i], st))
	}
	if s.follower != nil {
		f := s.server(s.follower)
		r.Follower = &f
		if n, k := len(r.Leader.Readings), len(f.Readings); n > 0 && k > 0 {
			lead, follow := r.Leader.Readings[n-1], f.Readings[k-1]
			r.Ghosts = follow.Objects - lead.Objects
			r.Reread = r.reread()
		}
	}
	return r
}

// reread compares how the follower's log grew from the compaction on with how the
// leader's grew before: the rate of the requests is the same.
func (r *Result) reread() int64 {
	if r.Compaction <= r.Before {
		return 0
	}
	l, f := r.Leader.Readings, r.Follower.Readings
	written := float64(logAt(l, r.Compaction)-logAt(l, r.Before)) / (r.Compaction - r.Before) * (r.After - r.Compaction)
	grown := logAt(f, r.After) - logAt(f, r.Compaction) - int64(written)
	if grown < r.LogAfter/2 { // it takes in some late, and some early
		return 0
	}
	return grown
}

// logAt is the size of the log at a time.
func logAt(rs []Reading, at float64) (size int64) {
	for _, r := range rs {
		if r.Seconds > at {
			break
		}
		size = r.Log
	}
	return size
}

func (s *spike) server(w *watcher) Server {
	out := Server{Addr: w.to.Addr, Readings: w.all(s.marks.Began)}
	m := &s.marks
	for _, r := range out.Readings {
		switch {
		case r.At.Before(m.Before):
		case r.At.Before(m.Compaction):
			out.Memory.Before = max(out.Memory.Before, r.Memory)
		case r.At.Before(m.After):
			out.Memory.During = max(out.Memory.During, r.Memory)
		default:
			out.Memory.After = max(out.Memory.After, r.Memory)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out.Missed = w.failures
	return out
}

// leastCounted is the part of the requests of each phase that must be left when
// those beside stolen processor time are left out.
const leastCounted = 0.5

// counted is the part of the requests that count, in the worst of all phases.
func (s *spike) counted(host *load.Host) float64 {
	m, least := &s.marks, 1.0
	for _, st := range s.streams {
		for _, p := range [][2]time.Time{{m.Before, m.Compaction}, {m.Compaction, m.After}, {m.After, m.End}} {
			if all := st.Between(p[0], p[1]); len(all) > 0 {
				_, part := host.Left(all)
				least = min(least, part)
			}
		}
	}
	return least
}

// series sums one stream up.
func (s *spike) series(host *load.Host, name string, st *load.Stream) (x Series) {
	m := &s.marks
	x.Name = name
	for _, p := range []struct {
		to         *Quantiles
		begin, end time.Time
	}{{&x.Before, m.Before, m.Compaction}, {&x.During, m.Compaction, m.After}, {&x.After, m.After, m.End}} {
		latencies, _ := host.Left(st.Between(p.begin, p.end))
		*p.to = Quantiles{
			Requests: len(latencies), P50: ms(load.Quantile(latencies, 50)),
			P99: ms(load.Quantile(latencies, 99)), Max: ms(load.Quantile(latencies, 100)),
		}
	}
	if x.Before.P99 > 0 {
		x.Ratio = x.During.P99 / x.Before.P99
	}
	for t := m.Began; t.Before(m.End); t = t.Add(window) {
		v := -1.0
		if all := st.Between(t, t.Add(window)); len(all) > 0 {
			latencies := make([]time.Duration, 0, len(all))
			for _, one := range all {
				latencies = append(latencies, one.Latency)
			}
			v = ms(load.Quantile(latencies, 99))
		}
		x.Windows = append(x.Windows, v)
	}
	return x
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
