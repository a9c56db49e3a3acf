package collection

// Hasher makes the digests of single items and hooks, of which those of
// collections and states are sums. Its buffer is reused; one goroutine uses it.
type Hasher struct{ h hasher }

// Item returns the digest of an item.
func (h *Hasher) Item(it *Item) Digest {
	defer h.h.trim()
	return h.h.item(it)
}

// Hook returns the digest of a hook or channel.
func (h *Hasher) Hook(hk *Hook) Digest {
	defer h.h.trim()
	return h.h.hook(hk)
}
