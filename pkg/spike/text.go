package spike

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTable writes the result for a person at a terminal.
func (r *Result) WriteTable(w io.Writer) error {
	if err := r.writeFigures(w); err != nil {
		return err
	}
	for _, f := range r.Findings() {
		if _, err := fmt.Fprintf(w, "\n* %s", f); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

func (r *Result) writeFigures(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%d points, each written %d times; %d requests/s per operation; AOFSHRINK took %.1f s, log %s → %s\n\n",
		r.Points, r.Rounds, r.Rate, r.Compacted-r.Compaction, size(r.LogBefore), size(r.LogAfter))
	fmt.Fprint(t, "p99\tbefore\tduring\tafter\tduring/before\tlongest during\t\n")
	for _, s := range r.Series {
		ratio := "-"
		if s.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f", s.Ratio)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", s.Name, millis(s.Before.P99), millis(s.During.P99), millis(s.After.P99), ratio, millis(s.During.Max))
	}
	fmt.Fprint(t, "\nhighest memory\tbefore\tduring\tafter\tduring/before\t\t\n")
	r.eachServer(func(name string, s *Server) {
		ratio := "-"
		if s.Memory.Before > 0 {
			ratio = fmt.Sprintf("%.2f", float64(s.Memory.During)/float64(s.Memory.Before))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\t\n", name, size(s.Memory.Before), size(s.Memory.During), size(s.Memory.After), ratio)
	})
	return t.Flush()
}

func (r *Result) eachServer(visit func(name string, s *Server)) {
	visit("leader", &r.Leader)
	if r.Follower != nil {
		visit("follower", r.Follower)
	}
}

// Findings are sentences about what is worth a look.
func (r *Result) Findings() []string {
	var out []string
	if r.Follower != nil {
		if caught := r.After - r.Compacted; caught > 0 {
			out = append(out, fmt.Sprintf("The follower was level again %.1f s after the compaction.", caught))
		}
		if r.Reread > 0 {
			out = append(out, fmt.Sprintf("The follower took in %s of log beside what was written: it read the leader's log again.", size(r.Reread)))
		} else {
			out = append(out, "The follower did not read the leader's log again.")
		}
		if r.Ghosts != 0 {
			out = append(out, fmt.Sprintf("The follower has %+d objects compared with the leader.", r.Ghosts))
		}
	}
	r.eachServer(func(name string, s *Server) {
		if s.Missed > 0 {
			out = append(out, fmt.Sprintf("The %s did not answer %d times when it was asked for its state.", name, s.Missed))
		}
	})
	if r.Counted < 1 {
		out = append(out, fmt.Sprintf("%.0f %% of the requests count; beside the others the host of this machine gave its processors to somebody else.", 100*r.Counted))
	}
	return append(out, r.Notes...)
}

// millis is a latency as people read it.
func millis(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.2f s", v/1000)
	case v >= 100:
		return fmt.Sprintf("%.0f ms", v)
	case v >= 10:
		return fmt.Sprintf("%.1f ms", v)
	}
	return fmt.Sprintf("%.2f ms", v)
}

// size is a number of bytes as people read it.
func size(n int64) string {
	switch f := float64(n); {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", f/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", f/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", f/1e3)
	}
	return fmt.Sprintf("%d B", n)
}
