package pubsub

import (
	"errors"
	"fmt"
)

// Defaults of Options.
const (
	DefaultMaxBytes      = 32 << 20
	DefaultMaxMessages   = 100_000
	DefaultMaxTotal      = 256 << 20
	DefaultMaxNames      = 64 << 20
	DefaultMaxTotalNames = 256 << 20
	DefaultMaxMatchSteps = 4 << 20
)

// Options bound a Hub.
type Options struct {
	// MaxBytes and MaxMessages are how much may wait for one listener. A message
	// counts as its payload and messageCost bytes.
	MaxBytes    int64
	MaxMessages int
	// MaxTotal is how many bytes may wait for all listeners together.
	MaxTotal int64
	// MaxNames and MaxTotalNames bound the names that one listener, and all
	// together, are subscribed to, in bytes. A name counts as its length and
	// subscriptionCost bytes.
	MaxNames      int64
	MaxTotalNames int64
	// MaxMatchSteps is how many characters one Publish compares with patterns.
	// Patterns that need more than what is left of it do not match.
	MaxMatchSteps int
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	def := func(p *int64, d int64) {
		if *p == 0 {
			*p = d
		}
	}
	def(&o.MaxBytes, DefaultMaxBytes)
	def(&o.MaxTotal, DefaultMaxTotal)
	def(&o.MaxNames, DefaultMaxNames)
	def(&o.MaxTotalNames, DefaultMaxTotalNames)
	if o.MaxMessages == 0 {
		o.MaxMessages = DefaultMaxMessages
	}
	if o.MaxMatchSteps == 0 {
		o.MaxMatchSteps = DefaultMaxMatchSteps
	}
}

// Validate lists every fault.
func (o *Options) Validate() error {
	var errs []error
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"bytes of a listener", o.MaxBytes}, {"messages of a listener", int64(o.MaxMessages)},
		{"bytes of all listeners", o.MaxTotal}, {"names of a listener", o.MaxNames},
		{"names of all listeners", o.MaxTotalNames}, {"steps of a match", int64(o.MaxMatchSteps)},
	} {
		if f.value <= 0 {
			errs = append(errs, fmt.Errorf("pubsub: limit %d of %s: must be positive", f.value, f.name))
		}
	}
	return errors.Join(errs...)
}
