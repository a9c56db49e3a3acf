package collection

// Change is what a command is going to do: a list of operations, recorded
// before any of them happens. Fences are matched against it, too.
type Change struct{ ops []Op }

// OpKind says what an Op does.
type OpKind uint8

// The kinds of operations.
const (
	OpPut        OpKind = iota + 1 // New takes the place of Old (nil: there is none)
	OpRemove                       // Old goes, and its collection if it was the last
	OpDrop                         // the collection Key goes
	OpRename                       // the collection Key becomes NewKey, which goes if it exists
	OpFlush                        // everything goes, hooks too
	OpSetHook                      // Hook takes the place of the one with its name
	OpRemoveHook                   // Hook goes
)

// Op is one operation of a Change.
type Op struct {
	Kind     OpKind
	Key      string
	NewKey   string
	New, Old *Item
	Hook     *Hook
	Compiled any // of OpSetHook: see SetCompiledHook; may be nil
}

// Put records that it takes the place of old, the item of collection key with
// the same id; old is nil when there is none.
func (ch *Change) Put(key string, it, old *Item) {
	ch.ops = append(ch.ops, Op{Kind: OpPut, Key: key, New: it, Old: old})
}

// Remove records that old leaves the collection key.
func (ch *Change) Remove(key string, old *Item) {
	ch.ops = append(ch.ops, Op{Kind: OpRemove, Key: key, Old: old})
}

// Drop records that the collection key, which exists, goes.
func (ch *Change) Drop(key string) { ch.ops = append(ch.ops, Op{Kind: OpDrop, Key: key}) }

// Rename records that the collection key, which exists, becomes newKey.
func (ch *Change) Rename(key, newKey string) {
	ch.ops = append(ch.ops, Op{Kind: OpRename, Key: key, NewKey: newKey})
}

// Flush records that all collections go.
func (ch *Change) Flush() { ch.ops = append(ch.ops, Op{Kind: OpFlush}) }

// Empty says whether nothing is recorded.
func (ch *Change) Empty() bool { return len(ch.ops) == 0 }

// Ops returns the operations in order; they are not to be changed.
func (ch *Change) Ops() []Op { return ch.ops }

// Reset forgets all operations and keeps their memory for the next command.
func (ch *Change) Reset() {
	clear(ch.ops)
	ch.ops = ch.ops[:0]
}
