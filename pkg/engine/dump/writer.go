package dump

import "evenkeel/pkg/engine/collection"

// Writer builds the commands that Items visits one at a time. The slice that it
// returns is valid until the next call.
type Writer struct{ w writer }

// Item returns the command that makes it in the collection key.
func (w *Writer) Item(key string, it *collection.Item, now int64) []string {
	return w.w.item(key, it, nil, now).args()
}

// Hook returns the command that makes a hook or channel.
func (w *Writer) Hook(hk *collection.Hook, now int64) []string { return w.w.hook(hk, now).args() }
