package hooks

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// What a write pays under the store's lock, and for the commit without a sync.
func BenchmarkAppend(b *testing.B) {
	msg := []byte(strings.Repeat("m", 250))
	for _, batch := range []int{1, 100} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			box := newInbox()
			q, err := tryOpen(b.TempDir(), withLocal(box), func(o *Options) { o.MaxBytes = 1 << 40 })
			if err != nil {
				b.Fatal(err)
			}
			q.SetHook("h", []string{"kafka://h/t"})
			b.ReportAllocs()
			for b.Loop() {
				for range batch {
					q.Append("h", msg)
				}
				if err := q.Commit(bg); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			if err := q.Stop(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
