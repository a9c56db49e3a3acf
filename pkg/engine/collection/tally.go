package collection

// Tally adds up the digests of items that pass by, without keeping them: it
// tells whether a file holds a state whose digest is known.
type Tally struct {
	h     hasher
	cols  map[string]Digest
	hooks Digest
}

// Add counts the items and hooks that ch would put.
func (t *Tally) Add(ch *Change) {
	if t.cols == nil {
		t.cols = map[string]Digest{}
	}
	for i := range ch.Ops() {
		switch op := &ch.Ops()[i]; op.Kind {
		case OpPut:
			t.cols[op.Key] = t.cols[op.Key].Add(t.h.item(op.New))
		case OpSetHook:
			t.hooks = t.hooks.Add(t.h.hook(op.Hook))
		}
	}
}

// Sum returns the digest of the state that the items make up.
func (t *Tally) Sum() Digest {
	d := t.hooks
	for name, c := range t.cols {
		d = d.Add(t.h.collection(name, c))
	}
	return d
}
