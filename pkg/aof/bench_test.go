package aof

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// benchLog writes a log of n commands, eight to a batch, and reopens it.
func benchLog(b *testing.B, n int) *Log {
	b.Helper()
	dir := b.TempDir()
	l, err := tryOpen(dir)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < n; i += 8 {
		if _, err := l.Begin(int64(i)); err != nil {
			b.Fatal(err)
		}
		for j := range 8 {
			l.Add(set(i + j))
		}
		off := l.End(Digest{1, 2})
		if i%800 == 0 {
			if err := l.Commit(bg, off); err != nil {
				b.Fatal(err)
			}
		}
	}
	closeLog(b, l)
	return openLog(b, dir)
}

func BenchmarkCommit(b *testing.B) {
	for _, policy := range []FsyncPolicy{FsyncAlways, FsyncEverySecond, FsyncNo} {
		for _, writers := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("%v/writers=%d", policy, writers), func(b *testing.B) {
				l := openLog(b, b.TempDir(), func(o *Options) { o.Fsync = policy })
				args := set(12345)
				var store sync.Mutex
				work := make(chan struct{}, 1024)
				var wg sync.WaitGroup
				b.ReportAllocs()
				b.SetBytes(int64(len(command(args...))))
				for range writers {
					wg.Go(func() {
						for range work {
							store.Lock()
							if _, err := l.Begin(1); err != nil {
								b.Error(err)
							}
							l.Add(args)
							off := l.End(Digest{1, 2})
							store.Unlock()
							if err := l.Commit(bg, off); err != nil {
								b.Error(err)
							}
						}
					})
				}
				b.ResetTimer()
				for range b.N {
					work <- struct{}{}
				}
				close(work)
				wg.Wait()
				b.StopTimer()
				s := l.Stats()
				b.ReportMetric(float64(b.N)/float64(max(s.Flushes, 1)), "commits/flush")
			})
		}
	}
}

// BenchmarkAppend is the part of a write that happens under the store's lock.
func BenchmarkAppend(b *testing.B) {
	l := openLog(b, b.TempDir())
	args := set(12345)
	b.ReportAllocs()
	for i := range b.N {
		if _, err := l.Begin(int64(i)); err != nil {
			b.Fatal(err)
		}
		l.Add(args)
		off := l.End(Digest{1, 2})
		if i%1000 == 0 {
			if err := l.Commit(bg, off); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkReplay(b *testing.B) {
	l := benchLog(b, 1_000_000)
	b.SetBytes(l.Stats().SinceBytes)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := l.Replay(bg, func(Batch) error { return nil }, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReplayAdopted(b *testing.B) {
	var content []byte
	for i := range 500_000 {
		content = append(content, command(set(i)...)...)
	}
	dir, _ := adoptDir(b, content)
	l := openLog(b, dir)
	b.SetBytes(int64(len(content)))
	b.ResetTimer()
	for range b.N {
		if err := l.Replay(bg, func(Batch) error { return nil }, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	l := benchLog(b, 500_000)
	dir := l.o.Dir
	size := l.Stats().SinceBytes
	closeLog(b, l)
	b.SetBytes(size)
	b.ResetTimer()
	for range b.N {
		x, err := tryOpen(dir)
		if err != nil {
			b.Fatal(err)
		}
		closeLog(b, x)
	}
}

func BenchmarkEachCommand(b *testing.B) {
	var payload []byte
	const n = 1000
	for i := range n {
		payload = append(payload, command(set(i)...)...)
	}
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	count := 0
	for range b.N {
		if err := EachCommand(payload, func([]string) error { count++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(count)/b.Elapsed().Seconds()/1e6, "Mcmds/s")
}

func BenchmarkTail(b *testing.B) {
	l := benchLog(b, 1_000_000)
	total := l.Stats().SinceBytes
	b.SetBytes(total)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		tail, err := l.Tail(Position{l.epoch, 0}, Digest{})
		if err != nil {
			b.Fatal(err)
		}
		for got := int64(0); got < total; {
			raw, _, err := tail.Next(bg)
			if err != nil {
				b.Fatal(err)
			}
			got += int64(len(raw))
		}
		if err := tail.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBase(b *testing.B) {
	l := openLog(b, b.TempDir())
	args := set(12345)
	b.SetBytes(int64(len(command(args...))))
	w, err := l.CreateBase(l.Seal(1, Digest{}))
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		if err := w.Add(args); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := w.Install(bg); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if _, err := os.Stat(filepath.Join(l.o.Dir, formatName(kindBase, 0, 1))); err != nil {
		b.Error(err)
	}
}
