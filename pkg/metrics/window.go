package metrics

import (
	"math"
	"time"
)

// windowTurn is how often the window moves on: it reaches back one to two
// turns, so about as far as Tile38's ten minutes.
const windowTurn = 5 * time.Minute

// window remembers earlier counts of one command, so that quantiles can be
// taken of the last minutes alone. It moves when it is read, by scrapes.
type window struct {
	turned   time.Time
	old, mid []uint64 // the counts two turns and one turn ago; nil before that
}

// recent is what was counted within the window that ends with counts.
func (w *window) recent(now time.Time, counts []uint64) []uint64 {
	out := make([]uint64, len(counts))
	for i, n := range counts {
		out[i] = n
		if w.old != nil {
			out[i] -= w.old[i]
		}
	}
	switch age := now.Sub(w.turned); {
	case w.turned.IsZero():
		w.turned = now
	case age >= 2*windowTurn: // nobody looked for so long: all that is older goes
		w.old, w.mid, w.turned = counts, counts, now
	case age >= windowTurn:
		w.old, w.mid, w.turned = w.mid, counts, now
	}
	return out
}

// quantiles reads those that Tile38 shows. Without any duration they are NaN,
// as in any Prometheus summary.
func (s *scale) quantiles(counts []uint64) map[float64]float64 {
	out := map[float64]float64{0.5: 0, 0.9: 0, 0.95: 0, 0.99: 0}
	some := false
	for _, n := range counts {
		some = some || n > 0
	}
	for q := range out {
		out[q] = math.NaN()
		if some {
			out[q] = s.quantile(q, counts)
		}
	}
	return out
}
