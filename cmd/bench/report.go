package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
)

// report is what a run has measured.
type report struct {
	Fences   bool     `json:"fences"` // what was measured: fences
	Points   int      `json:"points"`
	Rounds   int      `json:"rounds"`
	Conns    int      `json:"conns"`
	Pipeline int      `json:"pipeline"`
	Rate     int      `json:"rate_per_operation"`
	CPUs     int      `json:"cpus"`
	Busy     float64  `json:"load_average_at_start"` // processes that wanted a CPU, over the last minute
	Servers  []string `json:"servers"`
	Rows     []*row   `json:"rows"`
}

// row is one number of every server.
type row struct {
	Name         string             `json:"name"`
	Unit         string             `json:"unit,omitempty"`
	MoreIsBetter bool               `json:"more_is_better"`
	Values       map[string]float64 `json:"values"`               // by server
	Ratio        *float64           `json:"ratio,omitempty"`      // of the first server to the last
	Target       string             `json:"target,omitempty"`     // what the ratio should be
	Own          string             `json:"own_target,omitempty"` // what the first server's value should be
	Met          *bool              `json:"target_met,omitempty"` // whether it is
}

func newReport(o options) *report {
	r := &report{Fences: o.fences, Points: o.points, Rounds: o.rounds, Conns: o.conns, Pipeline: o.pipeline, Rate: o.rate, CPUs: runtime.NumCPU(), Busy: loadAverage()}
	if o.fences {
		r.Points, r.Rounds, r.Rate = o.fencePoints(), 1, 0
	}
	return r
}

// loadAverage is that of the last minute; 0 when it cannot be read.
func loadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), " ")
	n, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return n
}

// add notes the value of a server; the row is made by its first.
func (r *report) add(as row, s *server, value float64) {
	at := -1
	for i, old := range r.Rows {
		if old.Name == as.Name {
			at = i
		}
	}
	if at < 0 {
		as.Values = make(map[string]float64)
		r.Rows = append(r.Rows, &as)
		at = len(r.Rows) - 1
	}
	r.Rows[at].Values[s.name] = value
	r.Rows[at].compare(r.Servers)
}

// compare fills in the ratio, and whether the target is met, once the values
// are there.
func (x *row) compare(servers []string) {
	first, last := servers[0], servers[len(servers)-1]
	if v, there := x.Values[first]; there && x.Own != "" {
		x.Met = meets(v, x.Own)
	}
	a, hasA := x.Values[first]
	b, hasB := x.Values[last]
	if first == last || !hasA || !hasB || b == 0 {
		return
	}
	ratio := a / b
	x.Ratio = &ratio
	if x.Target != "" {
		x.Met = meets(ratio, x.Target)
	}
}

// meets reads a target such as "<= 0.6".
func meets(v float64, target string) *bool {
	sign, number, _ := strings.Cut(target, " ")
	limit, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return nil
	}
	met := sign == "<=" && v <= limit || sign == ">=" && v >= limit
	return &met
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r *report) writeTable(w io.Writer) error {
	what := fmt.Sprintf("%d points, each written %d times; %d connections; latencies at %d requests/s per operation", r.Points, r.Rounds, r.Conns, r.Rate)
	if r.Fences {
		what = fmt.Sprintf("%d objects that move; %d connections, %d requests in flight on each", r.Points, r.Conns, r.Pipeline)
	}
	fmt.Fprintf(w, "%s; %d CPUs\n\n", what, r.CPUs)
	if r.Busy > float64(r.CPUs)/2 {
		fmt.Fprintf(w, "The machine was busy at the start (load average %.1f): do not trust latencies.\n\n", r.Busy)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\t%s\t\tratio\ttarget\t\n", strings.Join(r.Servers, "\t"))
	for _, x := range r.Rows {
		fmt.Fprint(t, x.Name)
		for _, s := range r.Servers {
			v, there := x.Values[s]
			if !there {
				fmt.Fprint(t, "\t-")
				continue
			}
			fmt.Fprint(t, "\t", number(v))
		}
		ratio, verdict := "", ""
		if x.Ratio != nil {
			ratio = fmt.Sprintf("%.2f", *x.Ratio)
		}
		if x.Met != nil {
			verdict = map[bool]string{true: "met", false: "MISSED"}[*x.Met]
		}
		fmt.Fprintf(t, "\t%s\t%s\t%s%s\t%s\n", x.Unit, ratio, x.Target, x.Own, verdict)
	}
	return t.Flush()
}

// number writes v with three digits or more.
func number(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}
