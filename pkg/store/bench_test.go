package store

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

const (
	benchPoints = 500_000
	benchRounds = 3
)

// benchDir writes a log of 1.5 million SETs as cmd/bench does: eight clients write
// an eighth of the points each, 50 to a batch, three times.
func benchDir(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	s, l := benchOpen(b, dir)
	rnd := rand.New(rand.NewPCG(1, 2))
	coordinate := func(edge float64) string { return strconv.FormatFloat((rnd.Float64()*2-1)*edge, 'f', 6, 64) }
	set := s.Lookup("set")
	const clients, batch = 8, 50
	ws := make([]Write, batch)
	var out reply.Reply
	for i := range benchPoints * benchRounds / batch {
		client, turn := i%clients, i/clients*batch%(benchPoints/clients)
		for j := range ws {
			args := []string{"SET", "fleet", "truck:" + strconv.Itoa(client*benchPoints/clients+turn+j), "FIELD", "speed", strconv.Itoa(rnd.IntN(120)),
				"POINT", coordinate(90), coordinate(180)}
			ws[j] = Write{Spec: set, Request: command.Request{Args: args, Name: "set"}}
		}
		out.Buf = out.Buf[:0]
		if err := s.Commit(context.Background(), s.Write(ws, &out)); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	return dir
}

func benchOpen(b *testing.B, dir string) (*Store, *aof.Log) {
	b.Helper()
	l, err := aof.Open(aof.Options{Dir: dir, Fsync: aof.FsyncNo, Now: func() int64 { return time.Now().UnixMilli() }})
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(context.Background(), Options{Log: l})
	if err != nil {
		b.Fatal(err)
	}
	return s, l
}

// BenchmarkReplay is a restart: opening the log and replaying it. Resident memory
// is that of the last one of a process: run it with -benchtime=1x.
func BenchmarkReplay(b *testing.B) {
	dir := benchDir(b)
	debug.FreeOSMemory()
	var cpu time.Duration
	b.ResetTimer()
	for range b.N {
		began := cpuTime(b)
		s, l := benchOpen(b, dir)
		b.StopTimer()
		cpu += cpuTime(b) - began
		if st := s.Stats(); st.Objects != benchPoints || st.DigestMismatch != 0 {
			b.Fatalf("replayed to %+v", st)
		}
		b.ReportMetric(float64(residentBytes(b))/1e6, "resident-MB")
		if err := l.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	n := float64(b.N) * benchPoints * benchRounds
	b.ReportMetric(n/b.Elapsed().Seconds(), "commands/s")
	b.ReportMetric(float64(cpu.Nanoseconds())/n, "cpu-ns/command")
}

// cpuTime is what the process has used, user and system.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// residentBytes is the resident memory of the process.
func residentBytes(b *testing.B) int64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
