package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"evenkeel/internal/load"
)

// itself is this process as a server.
func itself() *server {
	return &server{name: "sidecar", cmd: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}}
}

// The highest memory of a time is seen although it is gone at its end.
func TestPeak(t *testing.T) {
	const block = 64 << 20
	m, err := watch(itself(), func() error { return nil }, func() error {
		b := make([]byte, block)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		time.Sleep(5 * sampleEvery)
		b[0]++ // it is used until here
		return nil
	})
	if err != nil || m.during < m.before+block*9/10 || m.during > m.before+4*block {
		t.Errorf("%+v, %v; want 64 MiB more during", m, err)
	}
	stop := errors.New("stop")
	if _, err := watch(itself(), func() error { return nil }, func() error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	gone := &server{name: "gone", cmd: &exec.Cmd{Process: &os.Process{Pid: 1 << 30}}}
	if _, err := watch(gone, func() error { return nil }, func() error { return nil }); err == nil {
		t.Error("the memory of a process that does not exist was read")
	}
}

// What is overwritten: SETs while it compacted, objects that were hit twice once.
func TestOverwritten(t *testing.T) {
	at := around{compaction: time.Unix(100, 0), compacted: time.Unix(110, 0)}
	s := &load.Stream{}
	for i := range 3000 { // a hundred a second, from ten seconds before to ten after
		s.Add(load.Sample{At: time.Unix(90, int64(i)*1e7)})
	}
	for points, want := range map[int]float64{1_000_000: 999.5, 1000: 632.1, 10: 10} {
		if got := at.overwritten(s, points); got < want-0.1 || got > want+0.1 {
			t.Errorf("%v of %d objects, want %v", got, points, want)
		}
	}
}

func TestReportMemory(t *testing.T) {
	r := newReport(small)
	r.Servers = []string{"sidecar"}
	b := &bench{o: options{points: 1000}, report: r}
	s := &server{name: "sidecar", empty: 10e6}
	b.reportMemory(s, s, "leader, writes", highest{before: 110e6, during: 116e6}, 50) // 50 objects of 100 kB
	b.reportMemory(s, s, "leader, quiet", highest{before: 110e6, during: 112.2e6}, 0)
	var table strings.Builder
	if err := r.writeTable(&table); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(table.String()), " ")
	for _, want := range []string{
		"leader, writes, before 110 MB", "leader, writes, highest during 116 MB", "leader, writes, overwritten meanwhile (estimate) 5.00 MB",
		"leader, writes, extra beside that 0.91 % of before <= 1 met", "leader, quiet, extra beside that 2.00 % of before <= 1 MISSED",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
	if strings.Contains(got, "leader, quiet, overwritten") {
		t.Errorf("something was overwritten without requests:\n%s", &table)
	}
}

// A time before that was disturbed makes no compaction good.
func TestDisturbedBefore(t *testing.T) {
	for before, want := range map[time.Duration]bool{10 * time.Millisecond: true, 30 * time.Millisecond: false} {
		r := newReport(small)
		r.Servers = []string{"sidecar"}
		st := &load.Stream{Op: load.Get(collectionName)}
		second := func(n int64) time.Time { return time.Unix(n, 0) }
		for _, x := range []load.Sample{{At: second(1), Latency: before}, {At: second(2), Latency: 5 * time.Millisecond}, {At: second(4), Latency: 10 * time.Millisecond}} {
			st.Add(x)
		}
		at := around{before: second(1), compaction: second(2), compacted: second(3), after: second(4), end: second(5)}
		(&bench{o: small, report: r, host: &load.Host{}}).reportStream(&server{name: "sidecar"}, st, "leader GET", at)
		last := r.Rows[len(r.Rows)-1]
		if last.Name != "p99 leader GET, during/before" || (last.Met != nil) != want {
			t.Errorf("%v before, 10 ms after: %+v, want a verdict: %v", before, last, want)
		}
	}
}
