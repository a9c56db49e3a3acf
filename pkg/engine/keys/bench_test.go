package keys

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// benchIDs is how many distinct ids the benchmarks write.
const benchIDs = 500_000

// bench is a state and what writes to it needs.
type bench struct {
	limits Limits
	st     *collection.State
	ch     collection.Change
	out    reply.Reply
	req    command.Request
}

func newBench() *bench {
	b := &bench{st: collection.NewState()}
	b.limits.EnsureDefaults()
	b.req.Now = 1_700_000_000_000
	return b
}

func (b *bench) write(tb testing.TB, w command.Write, args []string) {
	b.ch.Reset()
	b.out.Buf = b.out.Buf[:0]
	b.req.Args = args
	if err := w(&b.req, b.st, &b.ch, &b.out); err != nil {
		tb.Fatal(err)
	}
	b.st.Apply(&b.ch)
}

// benchCommands returns SETs of distinct points with one numeric field, in
// random order of ids, as clients send them and as base files hold them.
func benchCommands(n int, logged bool) [][]string {
	r := rand.New(rand.NewPCG(1, 2))
	cmds := make([][]string, n)
	for i, k := range r.Perm(n) {
		lat := strconv.FormatFloat(r.Float64()*180-90, 'f', 6, 64)
		lon := strconv.FormatFloat(r.Float64()*360-180, 'f', 6, 64)
		cmds[i] = []string{"SET", "fleet", fmt.Sprintf("truck:%06d", k), "FIELD", "speed", strconv.Itoa(k % 120)}
		if logged {
			cmds[i] = append(cmds[i], "object", `{"type":"Point","coordinates":[`+lon+","+lat+"]}")
		} else {
			cmds[i] = append(cmds[i], "POINT", lat, lon)
		}
	}
	return cmds
}

func benchmarkSet(b *testing.B, logged bool) {
	cmds := benchCommands(benchIDs, logged)
	before := liveHeap()
	s := newBench()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		s.write(b, s.limits.set, cmds[i%len(cmds)])
	}
	b.StopTimer()
	b.ReportMetric(float64(liveHeap()-before)/float64(s.st.Collection("fleet").Len()), "live-B/object")
	runtime.KeepAlive(cmds)
}

func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkSetPoint is SET … FIELD speed n POINT lat lon. Run it with
// -benchtime=500000x for the first writes, 1500000x for two rewrites more.
func BenchmarkSetPoint(b *testing.B) { benchmarkSet(b, false) }

// BenchmarkSetLogged is the same in the form of the log's base files.
func BenchmarkSetLogged(b *testing.B) { benchmarkSet(b, true) }

// BenchmarkSetReplay is a base file: the same sorted by id, on an empty state.
func BenchmarkSetReplay(b *testing.B) {
	cmds := benchCommands(benchIDs, true)
	slices.SortFunc(cmds, func(x, y []string) int { return strings.Compare(x[2], y[2]) })
	s := newBench()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%len(cmds) == 0 {
			s.st = collection.NewState()
		}
		s.write(b, s.limits.set, cmds[i%len(cmds)])
	}
}

// BenchmarkSetDuringSnapshot rewrites points while a snapshot is held.
func BenchmarkSetDuringSnapshot(b *testing.B) {
	cmds := benchCommands(benchIDs, false)
	s := newBench()
	for _, c := range cmds {
		s.write(b, s.limits.set, c)
	}
	snapshot := s.st.Snapshot()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		s.write(b, s.limits.set, cmds[i%len(cmds)])
	}
	runtime.KeepAlive(snapshot)
}

// BenchmarkGetPoint is GET of a random point.
func BenchmarkGetPoint(b *testing.B) {
	cmds := benchCommands(benchIDs, false)
	s := newBench()
	for _, c := range cmds {
		s.write(b, s.limits.set, c)
	}
	gets := make([][]string, len(cmds))
	for i, c := range cmds {
		gets[i] = []string{"GET", c[1], c[2]}
	}
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(gets), func(i, j int) { gets[i], gets[j] = gets[j], gets[i] })
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		s.out.Buf = s.out.Buf[:0]
		s.req.Args = gets[i%len(gets)]
		if err := get(&s.req, s.st, &s.out); err != nil {
			b.Fatal(err)
		}
	}
}
