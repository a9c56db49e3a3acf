package search

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
)

// places is how many different searches there are: so many that what they meet
// is not in the processor's caches from the last time.
const places = 32768

// BenchmarkSearch searches 500,000 random points all over the world, from other
// places each time.
func BenchmarkSearch(b *testing.B) {
	const n = 500_000
	rnd := rand.New(rand.NewPCG(1, 2))
	point := func() (lat, lon float64) { return rnd.Float64()*130 - 60, rnd.Float64()*360 - 180 }
	st := collection.NewState()
	var ch collection.Change
	for i := range n {
		lat, lon := point()
		var l field.List
		l = l.Set("speed", field.ValueOf(strconv.Itoa(i%100)))
		ch.Put("k", collection.NewPoint("p"+strconv.Itoa(i), geometry.Point{X: lon, Y: lat}, l, 0), nil)
		if i%1000 == 999 {
			st.Apply(&ch)
			ch.Reset()
		}
	}
	at := func(lat, lon float64) (string, string) {
		return strconv.FormatFloat(lat, 'f', 5, 64), strconv.FormatFloat(lon, 'f', 5, 64)
	}
	for _, c := range []struct {
		name string
		args func(lat, lon float64) []string
	}{
		{"nearby-10", func(lat, lon float64) []string {
			y, x := at(lat, lon)
			return []string{"NEARBY", "k", "LIMIT", "10", "POINT", y, x}
		}},
		{"nearby-100", func(lat, lon float64) []string {
			y, x := at(lat, lon)
			return []string{"NEARBY", "k", "LIMIT", "100", "POINT", y, x}
		}},
		{"nearby-10-ids", func(lat, lon float64) []string {
			y, x := at(lat, lon)
			return []string{"NEARBY", "k", "LIMIT", "10", "IDS", "POINT", y, x}
		}},
		{"intersects-circle-100km-ids", func(lat, lon float64) []string {
			y, x := at(lat, lon)
			return []string{"INTERSECTS", "k", "LIMIT", "1000", "IDS", "CIRCLE", y, x, "100000"}
		}},
		{"intersects-circle-100km", func(lat, lon float64) []string {
			y, x := at(lat, lon)
			return []string{"INTERSECTS", "k", "CIRCLE", y, x, "100000"}
		}},
		{"intersects-circle-100km-count", func(lat, lon float64) []string {
			y, x := at(lat, lon)
			return []string{"INTERSECTS", "k", "COUNT", "CIRCLE", y, x, "100000"}
		}},
		{"within-bounds", func(lat, lon float64) []string {
			y, x := at(lat, lon)
			yy, xx := at(lat+2, lon+2)
			return []string{"WITHIN", "k", "BOUNDS", y, x, yy, xx}
		}},
		{"scan-where", func(_, _ float64) []string {
			return []string{"SCAN", "k", "LIMIT", "100", "WHERE", "speed", "30", "50"}
		}},
		{"scan-where-expr", func(_, _ float64) []string {
			return []string{"SCAN", "k", "LIMIT", "100", "WHERE", "speed >= 30 && speed <= 50"}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			specs := map[string]command.Spec{}
			for _, s := range Commands() {
				specs[s.Name] = s
			}
			var reqs []command.Request
			for range places {
				args := c.args(point())
				reqs = append(reqs, command.Request{Args: args, Name: strings.ToLower(args[0])})
			}
			out := &reply.Reply{}
			b.ReportAllocs()
			b.ResetTimer()
			before := processorTime(b)
			for i := range b.N {
				req := &reqs[i%len(reqs)]
				out.Buf = out.Buf[:0]
				if err := specs[req.Name].Read(req, st, out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// processorTime is the processor time that the process has used, with the
// garbage collector's and without that of others on the machine.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
