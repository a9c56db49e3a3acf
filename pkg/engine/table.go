package engine

import (
	"maps"
	"slices"

	"evenkeel/pkg/engine/command"
)

// Commands lists all commands by name.
func (e *Engine) Commands() []*command.Spec {
	specs := make([]*command.Spec, 0, len(e.table))
	for _, name := range slices.Sorted(maps.Keys(e.table)) {
		specs = append(specs, e.table[name])
	}
	return specs
}
