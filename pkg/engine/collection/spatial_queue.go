package collection

// near is a node and a lower bound for the keys of all that lies in it.
type near struct {
	dist float64
	node *rnode
}

// queue is a binary heap of nodes.
type queue []near

// before orders by distance, NaN after all else.
func before(a, b float64) bool {
	return a < b || b != b && a == a
}

func (q *queue) push(e near) {
	h := append(*q, e)
	i := len(h) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !before(e.dist, h[p].dist) {
			break
		}
		h[i] = h[p]
		i = p
	}
	h[i] = e
	*q = h
}

func (q *queue) pop() near {
	h := *q
	top, last := h[0], h[len(h)-1]
	h[len(h)-1] = near{}
	h = h[:len(h)-1]
	i := 0
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && before(h[c+1].dist, h[c].dist) {
			c++
		}
		if !before(h[c].dist, last.dist) {
			break
		}
		h[i] = h[c]
		i = c
	}
	if len(h) > 0 {
		h[i] = last
	}
	*q = h
	return top
}
