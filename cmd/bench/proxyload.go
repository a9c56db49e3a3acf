package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"evenkeel/internal/load"
)

// Sizes of the rounds in which ways to the engine take turns: short ones, so
// that whatever else the machine does meets all of them.
const (
	proxyRounds   = 9
	proxyRound    = 300 * time.Millisecond
	proxyPipeline = 32
	latencyRound  = time.Second
)

// proxyRow is one operation over every way, round by round.
type proxyRow struct {
	name   string
	unit   string
	better string               // what the ratio, or the difference, to direct should be; "": not compared
	values map[string][]float64 // by front, one for each round
	added  bool                 // compare by difference
	alone  bool                 // not compared: better is for the value
	failed map[string]string    // why a front has none
}

type proxyReport struct {
	fronts []*front
	rows   []*proxyRow
	busy   float64
	rate   int
}

func compareFronts(ctx context.Context, o options, all []*front, say *progress) (*proxyReport, error) {
	r := &proxyReport{fronts: all, busy: loadAverage()}
	o.duration = proxyRound
	for _, inFlight := range []int{1, proxyPipeline} {
		for _, what := range []load.Op{load.Get(collectionName), load.Set(collectionName), load.Nearby(collectionName)} {
			row := r.row(fmt.Sprintf("%s, %d in flight", what.Name, inFlight), "/s")
			row.better = map[bool]string{true: ">= 0.95", false: ">= 0.9"}[inFlight == 1]
			say.start("%s", row.name)
			cpu := &proxyRow{name: row.name + ": CPU of the proxy", unit: "µs per request", values: map[string][]float64{}, failed: row.failed}
			if err := r.rounds(ctx, row, func(f *front) (float64, error) {
				before := f.cpu()
				v, err := o.closed(what, inFlight).Run(ctx, load.Server{Addr: f.addr})
				if f.proc != nil && v > 0 {
					cpu.values[f.name] = append(cpu.values[f.name], (f.cpu()-before).Seconds()*1e6/(v*o.duration.Seconds()))
				}
				return v, err
			}); err != nil {
				return nil, err
			}
			if what.Name == "GET" {
				r.rows = append(r.rows, cpu)
			}
		}
	}
	// Half of what comes through our own proxy, the same for all.
	r.rate = max(1, int(median(r.rows[0].values["evenkeel"])/2))
	row := r.row("GET, p99 at half load", "ms")
	row.added, row.better = true, "<= 0.15"
	middle := r.row("GET, p50 at half load", "ms") // says something on a busy machine, too
	middle.added, middle.failed = true, row.failed
	say.start("%s", row.name)
	err := r.rounds(ctx, row, func(f *front) (float64, error) {
		during, cancel := context.WithTimeout(ctx, latencyRound)
		defer cancel()
		s := &load.Stream{To: load.Server{Addr: f.addr}, Op: load.Get(collectionName), Rate: r.rate, Points: o.points}
		began := time.Now()
		if err := s.Run(during); err != nil {
			return 0, err
		}
		var all []time.Duration
		for _, x := range s.Between(began.Add(latencyRound/10), began.Add(latencyRound)) {
			all = append(all, x.Latency)
		}
		middle.values[f.name] = append(middle.values[f.name], load.Quantile(all, 50).Seconds()*1e3)
		return load.Quantile(all, 99).Seconds() * 1e3, ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	idle := r.row(fmt.Sprintf("%d idle connections, memory of the proxy", idleConns), "MB")
	idle.alone, idle.better = true, "<= 150"
	say.start("%s", idle.name)
	for _, f := range all {
		if f.name == "evenkeel" { // the others need as many connections to the engine, or are told not to have so many
			mb, err := idleMemory(ctx, f)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", f.name, idle.name, err)
			}
			idle.values[f.name] = []float64{mb}
		}
	}
	return r, nil
}

func (r *proxyReport) row(name, unit string) *proxyRow {
	row := &proxyRow{name: name, unit: unit, values: map[string][]float64{}, failed: map[string]string{}}
	r.rows = append(r.rows, row)
	return row
}

// rounds measures all fronts in turns, each time beginning with another one.
func (r *proxyReport) rounds(ctx context.Context, row *proxyRow, do func(f *front) (float64, error)) error {
	for round := range proxyRounds {
		for i := range r.fronts {
			f := r.fronts[(i+round)%len(r.fronts)]
			if f.missing != "" || row.failed[f.name] != "" {
				continue
			}
			v, err := do(f)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				if f.name == "direct" || f.name == "evenkeel" {
					return fmt.Errorf("%s: %s: %w", f.name, row.name, err)
				}
				row.failed[f.name] = "refused" // it speaks a part of the protocol
				continue
			}
			row.values[f.name] = append(row.values[f.name], v)
		}
	}
	return nil
}

// cpu is the time that a proxy has used of all processors.
func (f *front) cpu() time.Duration {
	if f.proc == nil {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", f.proc.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// The name may hold spaces; what counts is behind its parenthesis.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	const ticks = 100 // a second, on every Linux that Go runs on
	return time.Duration(user+system) * time.Second / ticks
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// against is the median, over the rounds, of a front compared with direct, or alone.
func (x *proxyRow) against(name string) float64 {
	if x.alone {
		return median(x.values[name])
	}
	direct := x.values["direct"]
	var all []float64
	for i, v := range x.values[name] {
		if x.added {
			all = append(all, v-direct[i])
		} else {
			all = append(all, v/direct[i])
		}
	}
	return median(all)
}

func (r *proxyReport) write(w io.Writer, o options, engine string) error {
	fmt.Fprintf(w, "%s with %d points; %d connections; medians of %d rounds in turns, and of their ratios to direct; %d CPUs for client, proxy and engine; latency at %d requests/s\n\n",
		engine, o.points, o.conns, proxyRounds, runtime.NumCPU(), r.rate)
	if r.busy > float64(runtime.NumCPU())/2 {
		fmt.Fprintf(w, "The machine was busy at the start (load average %.1f): trust ratios more than numbers.\n\n", r.busy)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\t")
	for _, f := range r.fronts {
		fmt.Fprintf(t, "%s\t", f.name)
		if f.name != "direct" {
			fmt.Fprint(t, "\t")
		}
	}
	fmt.Fprintln(t, "target")
	for _, x := range r.rows {
		cells := []string{x.name + ", " + x.unit}
		for _, f := range r.fronts {
			var cell, compared string
			switch {
			case f.missing != "":
				cell = f.missing
			case x.failed[f.name] != "":
				cell = x.failed[f.name]
			default:
				cell = "-"
				if len(x.values[f.name]) > 0 {
					cell = number(median(x.values[f.name]))
				}
				switch {
				case x.added:
					compared = fmt.Sprintf("%+.2f", x.against(f.name))
				case x.better != "" && !x.alone:
					compared = fmt.Sprintf("%.2f", x.against(f.name))
				}
			}
			cells = append(cells, cell)
			if f.name != "direct" {
				cells = append(cells, compared)
			}
		}
		verdict := ""
		if x.better != "" {
			verdict = "MISSED"
			if met := meets(x.against("evenkeel"), x.better); met != nil && *met {
				verdict = "met"
			}
		}
		fmt.Fprintf(t, "%s\t%s %s\n", strings.Join(cells, "\t"), x.better, verdict)
	}
	return t.Flush()
}
