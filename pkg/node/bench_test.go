package node

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkForward: clients that write through a follower, by their number and that
// of the connections to the leader, beside those that write to the leader itself (0
// connections).
//
//	go test -run '^$' -bench Forward -benchtime 20000x ./pkg/node
func BenchmarkForward(b *testing.B) {
	for _, clients := range []int{1, 16, 128} {
		for _, depth := range []int{1, 32} {
			for _, links := range []int{0, 1, 4, 16, 64, 128} {
				if links > 1 && links/4 > clients {
					continue
				}
				b.Run(fmt.Sprintf("clients=%d/pipeline=%d/connections=%d", clients, depth, links), func(b *testing.B) {
					benchForward(b, clients, depth, links)
				})
			}
		}
	}
}

func benchForward(b *testing.B, clients, depth, links int) {
	quiet := func(o *Options) { o.Logger = slog.New(slog.DiscardHandler) }
	lead := serve(b, b.TempDir(), config{change: quiet})
	to := lead
	if links > 0 {
		to = serve(b, b.TempDir(), config{follow: lead.addr, change: func(o *Options) {
			quiet(o)
			o.Forward = &Forward{MaxLinks: links}
		}})
		level(b, lead, to)
	}
	one := encode("SET bench object POINT 33.5 -115.5")
	pipeline := ""
	for range depth {
		pipeline += one
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	conns := make([]net.Conn, clients)
	for i := range conns {
		conns[i] = to.dial()
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			answers := make([]byte, 5*depth)
			for left.Add(-int64(depth)) > -int64(depth) {
				if _, err := io.WriteString(c, pipeline); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(c, answers); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

// BenchmarkFollowerReads: what it costs a follower to look at where a read is to be
// answered. 0: nothing is forwarded, 1: something might be.
func BenchmarkFollowerReads(b *testing.B) {
	const depth = 100
	for _, forwards := range []int{0, 1} {
		b.Run(fmt.Sprintf("forwards=%d", forwards), func(b *testing.B) {
			quiet := func(o *Options) { o.Logger = slog.New(slog.DiscardHandler) }
			lead := serve(b, b.TempDir(), config{change: quiet})
			lead.dial().do("SET bench object POINT 33.5 -115.5")
			fol := serve(b, b.TempDir(), config{follow: lead.addr, change: func(o *Options) {
				quiet(o)
				if forwards > 0 {
					o.Forward = &Forward{}
				}
			}})
			level(b, lead, fol)
			until(b, "readiness", func() bool { ok, _ := fol.node.Ready(); return ok })
			c, pipeline := fol.dial(), ""
			for range depth {
				pipeline += encode("GET bench object POINT")
			}
			answers := make([]byte, depth*len("*2\r\n$4\r\n33.5\r\n$6\r\n-115.5\r\n"))
			b.ResetTimer()
			for range (b.N + depth - 1) / depth {
				if _, err := io.WriteString(c, pipeline); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, answers); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
