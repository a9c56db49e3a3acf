package fence

import (
	"slices"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/search"
)

// writer makes the messages about one operation.
type writer struct {
	name  string
	at    time.Time
	clock []byte // the member "time", once it is needed
	item  []byte // the members that show the item, for fences of one shape
	shape search.Shape
	buf   []byte
}

func (w *writer) begin(name string, at time.Time) {
	w.name, w.at = name, at
	w.clock, w.item = w.clock[:0], w.item[:0]
}

// release gives large memory back.
func (w *writer) release() {
	const keep = 1 << 16
	if cap(w.item) > keep {
		w.item = nil
	}
	if cap(w.buf) > keep {
		w.buf = nil
	}
}

// head begins a message.
func (w *writer) head() []byte {
	b := w.buf[:0]
	b = append(b, `{"command":"`...)
	b = append(b, w.name...)
	return append(b, '"')
}

func (w *writer) time(b []byte) []byte {
	if len(w.clock) == 0 {
		w.clock = append(w.clock, `,"time":"`...)
		w.clock = append(w.at.AppendFormat(w.clock, time.RFC3339Nano), '"')
	}
	return append(b, w.clock...)
}

// end closes a message and returns a copy.
func (w *writer) end(b []byte) []byte {
	b = append(b, '}')
	w.buf = b
	return slices.Clone(b)
}

// gone tells that an object, or with nil all of the collection, is deleted.
func (w *writer) gone(f *Fence, it *collection.Item) []byte {
	b := append(w.head(), f.names...)
	if it != nil {
		b = reply.AppendString(append(b, `,"id":`...), it.ID())
	}
	return w.end(w.time(b))
}

// about begins a message about an object.
func (w *writer) about(h *hit, detect string, it *collection.Item) []byte {
	b := append(w.head(), `,"group":"`...)
	b = append(b, h.group[:]...)
	b = append(b, `","detect":"`...)
	b = append(b, detect...)
	b = append(b, '"')
	b = append(b, h.f.names...)
	b = w.time(b)
	shape := h.f.search.Shape()
	if !shape.Shared() {
		return h.f.search.AppendItem(b, it)
	}
	if len(w.item) == 0 || w.shape != shape {
		w.item, w.shape = h.f.search.AppendItem(w.item[:0], it), shape
	}
	return append(b, w.item...)
}

// moved tells what an object did to a fence.
func (w *writer) moved(h *hit, d search.Detect, it *collection.Item) []byte {
	return w.end(w.about(h, d.String(), it))
}

// roamed tells of an object and of a neighbour, if there is one.
func (w *writer) roamed(h *hit, it *collection.Item, n *neighbour, shown []*collection.Item) []byte {
	b := w.about(h, "roam", it)
	if n == nil {
		return w.end(b)
	}
	if n.away {
		b = append(b, `,"faraway":{"key":`...)
	} else {
		b = append(b, `,"nearby":{"key":`...)
	}
	b = reply.AppendString(b, h.f.search.Roam().Key)
	b = reply.AppendString(append(b, `,"id":`...), n.it.ID())
	b = appendObject(append(b, `,"object":`...), n.it)
	b = strconv.AppendFloat(append(b, `,"meters":`...), millimeters(n.meters), 'f', -1, 64)
	sep := `,"scan":[`
	for i, o := range shown {
		b = append(append(b, sep...), `{"id":`...)
		b = reply.AppendString(b, o.ID())
		if i == 0 {
			b = append(b, `,"self":true`...)
		}
		b = append(appendObject(append(b, `,"object":`...), o), '}')
		sep = ","
	}
	if len(shown) > 0 {
		b = append(b, ']')
	}
	return w.end(append(b, '}'))
}

func appendObject(b []byte, it *collection.Item) []byte {
	if t, ok := it.Object().(collection.Text); ok {
		return gjson.AppendJSONString(b, string(t))
	}
	return it.Object().AppendJSON(b)
}
