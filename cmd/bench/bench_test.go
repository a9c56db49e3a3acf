package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var small = options{points: 1000, rounds: 2, conns: 3, pipeline: 7, duration: 20 * time.Millisecond, phase: time.Second, rate: 2000}

func TestReport(t *testing.T) {
	r := newReport(small)
	r.Servers = []string{"sidecar", "tile38"}
	ours, theirs := &server{name: "sidecar"}, &server{name: "tile38"}
	r.add(row{Name: "load", Unit: "s", Target: "<= 0.6"}, ours, 5)
	r.add(row{Name: "load", Unit: "s", Target: "<= 0.6"}, theirs, 10)
	r.add(row{Name: "rate", Target: ">= 2", MoreIsBetter: true}, ours, 150)
	r.add(row{Name: "rate", Target: ">= 2", MoreIsBetter: true}, theirs, 100)
	r.add(row{Name: "p99", Own: "<= 1.1"}, ours, 1.05)
	var table, js strings.Builder
	if err := errors.Join(r.writeTable(&table), r.writeJSON(&js)); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{{"load", "5.00", "10.0", "s", "0.50", "<=", "0.6", "met"}, {"rate", "150", "100", "1.50", ">=", "2", "MISSED"}, {"p99", "1.05", "-", "<=", "1.1", "met"}} {
		found := false
		for line := range strings.Lines(table.String()) {
			found = found || strings.Join(strings.Fields(line), " ") == strings.Join(want, " ")
		}
		if !found {
			t.Errorf("no line %q in\n%s", want, &table)
		}
	}
	r.Busy, r.CPUs = 1.5, 2
	var warned strings.Builder
	if err := r.writeTable(&warned); err != nil || !strings.Contains(warned.String(), "load average 1.5") {
		t.Errorf("no warning of a busy machine, %v:\n%s", err, &warned)
	}
	var back report
	if err := json.Unmarshal([]byte(js.String()), &back); err != nil || len(back.Rows) != 3 || *back.Rows[0].Ratio != 0.5 || !*back.Rows[0].Met {
		t.Errorf("%v:\n%s", err, &js)
	}
}

func TestBadFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"no server":             {},
		"--points must be":      {"--tile38", "x", "--points", "0"},
		"unexpected argument":   {"--tile38", "x", "more"},
		"--rate 200000 is more": {"--tile38", "x", "--rate", "200000"},
		"start tile38":          {"--tile38", t.TempDir() + "/nothing", "--dir", t.TempDir()},
	} {
		if err := run(t.Context(), args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}
