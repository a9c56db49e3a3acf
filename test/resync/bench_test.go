package resync

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

var objects = flag.Int("objects", 1_000_000, "objects of BenchmarkResync")

// BenchmarkResync says what a follower takes that was away while a share of all
// objects was overwritten, spread at random, and the log behind its offset was
// compacted away: bytes, bytes as a share of what a full resync would send, the
// time until it is level and ready, and the most memory that both stores
// together took for it beyond what they had. Leader and follower share the
// process.
//
//	go test -run '^$' -bench Resync -benchtime 1x ./test/resync
func BenchmarkResync(b *testing.B) {
	l, f := open(b, b.TempDir()), open(b, b.TempDir())
	l.serve()
	l.fill("fleet", 0, *objects)
	l.compact()
	f.follow(l)
	f.converge(l)
	full := l.lead.Stats().BaseBytes
	rng := rand.New(rand.NewPCG(1, 2))
	for _, share := range []float64{0, 0.001, 0.01, 0.1, 1} {
		b.Run(fmt.Sprintf("%g%%", share*100), func(b *testing.B) {
			for range b.N {
				f.unfollow()
				changed := rng.Perm(*objects)[:int(share*float64(*objects))]
				l.move("fleet", changed, rng)
				l.write("SET other x POINT 1 1")
				l.compact()
				f.net.Received.Store(0)
				before := heap()
				peak, done := watchHeap()
				began := time.Now()
				f.follow(l)
				f.converge(l)
				took := time.Since(began)
				done()
				f.resyncs(0, 1, 0)
				got := f.net.Received.Load()
				b.ReportMetric(float64(got), "bytes")
				b.ReportMetric(100*float64(got)/float64(full), "%of-full")
				b.ReportMetric(took.Seconds(), "s/resync")
				b.ReportMetric(float64(int64(peak())-int64(before))/(1<<20), "MB-extra")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// move writes the objects with these numbers anew.
func (p *pod) move(key string, numbers []int, rng *rand.Rand) {
	lines := make([]string, 0, 1000)
	for i, n := range numbers {
		lines = append(lines, fmt.Sprintf("SET %s truck%07d FIELD speed %d POINT %f %f",
			key, n, rng.IntN(90), rng.Float64()*80, rng.Float64()*170))
		if len(lines) == 1000 || i == len(numbers)-1 {
			p.write(lines...)
			lines = lines[:0]
		}
	}
}

// heap returns the bytes in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// watchHeap collects garbage again and again and remembers the most that was in
// use behind a collection, until done is called.
func watchHeap() (peak func() uint64, done func()) {
	var most uint64
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			most = max(most, heap())
			select {
			case <-stop:
				return
			case <-time.After(time.Second): // a collection is work, too
			}
		}
	}()
	return func() uint64 { return most }, func() { close(stop); <-ended }
}
