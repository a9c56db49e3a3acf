package engine

import (
	"errors"
	"strings"

	"evenkeel/pkg/engine/keys"
	"evenkeel/pkg/engine/script"
)

// Options are the settings of an engine; the zero value stands for the
// defaults.
type Options struct {
	// Limits bounds what clients may store. Commands from a log are not bound
	// by them; see Engine.LookupLogged.
	Limits keys.Limits
	// Script bounds what scripts may cost, and has their clock.
	Script script.Limits
	// Seed makes the groups in the messages of fences different from those of
	// other engines.
	Seed uint64
}

// EnsureDefaults sets what is not set.
func (o *Options) EnsureDefaults() {
	o.Limits.EnsureDefaults()
	o.Script.EnsureDefaults()
}

// Validate returns an error that lists every fault.
func (o *Options) Validate() error {
	err := o.Script.Validate()
	if faults := o.Limits.Faults(); len(faults) > 0 {
		err = errors.Join(errors.New("engine: "+strings.Join(faults, "; ")), err)
	}
	return err
}
