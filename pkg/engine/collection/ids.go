package collection

import "hash/maphash"

// idTable finds items by a hash of their ids. It stands in for the tree by id
// while a log is replayed. Items lie in the order in which their ids came,
// which is often the order in which they come again.
type idTable struct {
	seed   maphash.Seed
	slots  []idSlot // open addressing, a power of two of them
	items  []*Item  // nil: it was removed
	hashes []uint32 // of the items' ids
	live   int
	last   int // where get found an item: the next change is most likely to it
}

// idSlot points to an item; the hash spares most looks at others.
type idSlot struct {
	hash uint32
	at   uint32 // 1 + the place in items; 0: the slot is free
}

func newIDTable() *idTable { return &idTable{seed: maphash.MakeSeed()} }

func (t *idTable) hash(id string) uint32 {
	return uint32(maphash.String(t.seed, id)) // #nosec G115 -- half of a hash is a hash
}

// find returns the place in items of the one with this id, or -1.
func (t *idTable) find(id string, hash uint32) int {
	if len(t.slots) == 0 {
		return -1
	}
	mask := len(t.slots) - 1
	for i := int(hash) & mask; t.slots[i].at != 0; i = (i + 1) & mask {
		if t.slots[i].hash != hash {
			continue
		}
		at := int(t.slots[i].at) - 1
		if it := t.items[at]; it != nil && it.id == id {
			return at
		}
	}
	return -1
}

func (t *idTable) get(id string) *Item {
	at := t.find(id, t.hash(id))
	if at < 0 {
		return nil
	}
	t.last = at
	return t.items[at]
}

// put adds it, or puts it in the place of old, the item with its id.
func (t *idTable) put(it, old *Item) {
	if old != nil {
		if at := t.place(old); at >= 0 {
			t.items[at] = it
			return
		}
	}
	h := t.hash(it.id)
	if 4*(len(t.items)+1) > 3*len(t.slots) {
		t.grow()
	}
	t.items, t.hashes = append(t.items, it), append(t.hashes, h)
	t.live++
	t.point(h, len(t.items))
}

// point puts an item, by its place in items plus one, into a slot.
func (t *idTable) point(hash uint32, at int) {
	mask := len(t.slots) - 1
	i := int(hash) & mask
	for t.slots[i].at != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = idSlot{hash, uint32(at)} // #nosec G115 -- there is no memory for so many
}

// grow makes room: it forgets removed items, and then has at least as many free
// slots as items.
func (t *idTable) grow() {
	n := 0
	for i, it := range t.items {
		if it != nil {
			t.items[n], t.hashes[n] = it, t.hashes[i]
			n++
		}
	}
	clear(t.items[n:])
	t.items, t.hashes = t.items[:n], t.hashes[:n]
	size := 16
	for size < 2*(n+1) {
		size *= 2
	}
	t.slots = make([]idSlot, size)
	for i, h := range t.hashes {
		t.point(h, i+1)
	}
}

// remove takes out an item.
func (t *idTable) remove(it *Item) {
	if at := t.place(it); at >= 0 {
		t.items[at] = nil
		t.live--
	}
}

// place returns where the item with it's id stands, or -1.
func (t *idTable) place(it *Item) int {
	if t.last < len(t.items) && t.items[t.last] == it {
		return t.last
	}
	return t.find(it.id, t.hash(it.id))
}
