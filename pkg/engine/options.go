package engine

import (
	"errors"
	"strings"

	"evenkeel/pkg/engine/keys"
)

// Options are the settings of an engine; the zero value stands for the
// defaults.
type Options struct {
	// Limits bounds what clients may store. Commands from a log are not bound
	// by them; see Engine.LookupLogged.
	Limits keys.Limits
}

// EnsureDefaults sets what is not set.
func (o *Options) EnsureDefaults() { o.Limits.EnsureDefaults() }

// Validate returns an error that lists every fault.
func (o *Options) Validate() error {
	if faults := o.Limits.Faults(); len(faults) > 0 {
		return errors.New("engine: " + strings.Join(faults, "; "))
	}
	return nil
}
