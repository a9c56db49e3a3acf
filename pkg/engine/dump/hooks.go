package dump

import (
	"strings"

	"evenkeel/pkg/engine/collection"
)

// hook builds sethook name endpoints [meta name value …] [ex seconds] search,
// or setchan without the endpoints.
func (w *writer) hook(hk *collection.Hook, now int64) *writer {
	w.begin()
	if hk.Channel {
		w.add("setchan", hk.Name)
	} else {
		w.add("sethook", hk.Name, strings.Join(hk.Endpoints, ","))
	}
	for _, m := range hk.Meta {
		w.add("meta", m.Name, m.Value)
	}
	if hk.Deadline != 0 {
		w.seconds(hk.Deadline - now)
	}
	w.add(hk.Command...)
	return w
}
