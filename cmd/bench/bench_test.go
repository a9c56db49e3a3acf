package main

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/redcon"
	"go.uber.org/goleak"

	"evenkeel/internal/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers every command until the test ends; the nth (from 1) first waits
// for stall(n).
func serve(t *testing.T, commands *atomic.Int64, stall func(n int64)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := redcon.NewServer("", func(c redcon.Conn, cmd redcon.Command) {
		n := commands.Add(1)
		if stall != nil {
			stall(n)
		}
		switch string(cmd.Args[0]) {
		case "FAIL":
			c.WriteError("ERR no")
		case "GET":
			c.WriteArray(2)
			c.WriteBulkString("a")
			c.WriteNull()
		default:
			c.WriteString("OK")
		}
	}, nil, nil)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return ln.Addr().String()
}

var small = options{points: 1000, rounds: 2, conns: 3, pipeline: 7, duration: 20 * time.Millisecond, phase: time.Second, rate: 2000}

func TestLoadWritesEveryObjectEveryRound(t *testing.T) {
	var commands atomic.Int64
	var last atomic.Int64
	addr := serve(t, &commands, nil)
	took, err := fill(t.Context(), addr, small, func(done, of int) {
		if of == 2000 {
			last.Store(max(last.Load(), int64(done)))
		}
	})
	if err != nil || took <= 0 || commands.Load() != 2000 {
		t.Errorf("%d commands in %v, %v; want 2000", commands.Load(), took, err)
	}
	if last.Load() == 0 {
		t.Error("no progress was told")
	}
}

func TestThroughput(t *testing.T) {
	var commands atomic.Int64
	addr := serve(t, &commands, nil)
	rate, err := throughput(t.Context(), addr, small, load.Get(collectionName), 5)
	if err != nil || rate <= 0 || commands.Load()%5 != 0 {
		t.Errorf("%v requests/s, %d commands, %v", rate, commands.Load(), err)
	}
	bad := load.Op{Name: "FAIL", Request: func(b []byte, _, _ int) []byte { return load.AppendCommand(b, "FAIL") }}
	if _, err := throughput(t.Context(), addr, small, bad, 1); !errors.As(err, new(load.ReplyError)) {
		t.Errorf("error replies: %v", err)
	}
}

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
