package follower_test

import (
	"context"
	"fmt"
	"testing"
)

// BenchmarkStream has a follower take a log of 500,000 commands over loopback:
// leader and follower with real logs, in one process. A batch is what writers
// share within 5 ms, or, at worst, a single command.
func BenchmarkStream(b *testing.B) {
	const commands = 500_000
	for name, apart := range map[string]int64{"shared batches": 0, "a batch each": 10} {
		b.Run(name, func(b *testing.B) {
			p := newPair(b)
			now := int64(1_700_000_000_000)
			var offset int64
			for i := range commands {
				now += apart
				offset = p.Lead.Append(b, now, "SET", fmt.Sprint("fleet:truck", i), "POINT 33.5123 -115.2345")
				if i%1000 == 0 {
					if err := p.Lead.Log.Commit(context.Background(), offset); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := p.Lead.Log.Commit(context.Background(), offset); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for range b.N {
				p.FDir = b.TempDir()
				p.startFollower()
				p.until("caught up", func() bool { return p.Follower.Status().Offset == offset })
				b.StopTimer()
				p.stopFollower()
				b.StartTimer()
			}
			b.ReportMetric(float64(commands*b.N)/b.Elapsed().Seconds(), "commands/s")
			b.SetBytes(offset)
		})
	}
}
