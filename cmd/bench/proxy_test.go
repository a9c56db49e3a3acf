package main

import (
	"strings"
	"testing"
)

func TestProxyReport(t *testing.T) {
	all := []*front{{name: "direct"}, {name: "evenkeel"}, {name: "haproxy", missing: "not installed"}, {name: "twemproxy"}}
	r := &proxyReport{fronts: all, rate: 10}
	row := r.row("GET", "/s")
	row.better = ">= 0.95"
	row.values = map[string][]float64{"direct": {100, 200, 50}, "evenkeel": {98, 100, 49}}
	row.failed["twemproxy"] = "refused"
	late := r.row("p99", "ms")
	late.better, late.added = "<= 0.15", true
	late.values = map[string][]float64{"direct": {1, 2, 3}, "evenkeel": {1.5, 2.5, 3.5}, "twemproxy": {1, 2, 3}}
	r.row("CPU", "µs").values = map[string][]float64{"evenkeel": {7}}
	middle := r.row("p50", "ms")
	middle.added = true
	middle.values = map[string][]float64{"direct": {1, 2, 3}, "evenkeel": {2, 3, 4}}
	idle := r.row("idle", "MB")
	idle.alone, idle.better, idle.values = true, "<= 150", map[string][]float64{"evenkeel": {77}}
	var out strings.Builder
	if err := r.write(&out, options{}, "tile38"); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"GET, /s 100 98.0 0.98 not installed refused >= 0.95 met",
		"p99, ms 2.00 2.50 +0.50 not installed 2.00 +0.00 <= 0.15 MISSED",
		"p50, ms 2.00 3.00 +1.00 not installed -",
		"idle, MB - 77.0 not installed - <= 150 met",
		"CPU, µs - 7.00 not installed -",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
}
