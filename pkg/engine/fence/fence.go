package fence

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/geojson/geometry"
	"github.com/tidwall/gjson"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/search"
)

// Fence is one who watches a collection: a hook, a channel or a connection.
type Fence struct {
	// Hook is the definition of the hook or channel; nil for a connection.
	Hook *collection.Hook
	// Live is what AddLive was given; nil for hooks and channels.
	Live any

	search *search.Fence
	watch  *watch // nil: removed
	serial uint64 // counts fences; a hook that is set anew is another fence
	seen   uint64 // the last search that found the fence
	rect   geometry.Rect
	place  place
	names  []byte // the members of a message from "hook" to "key"
}

// place says where a watch keeps a fence.
type place uint8

const (
	nowhere place = iota // it can never have anything to say
	always
	byRect
)

// class orders the receivers of a change.
type class uint8

const (
	toChannel class = iota
	toEndpoints
	toConnection
)

func (f *Fence) class() class {
	switch {
	case f.Hook == nil:
		return toConnection
	case f.Hook.Channel:
		return toChannel
	}
	return toEndpoints
}

// Name returns the name of the hook or channel, "" for a connection.
func (f *Fence) Name() string {
	if f.Hook == nil {
		return ""
	}
	return f.Hook.Name
}

// IsChannel says whether the messages are to be published to the channel Name.
func (f *Fence) IsChannel() bool { return f.Hook != nil && f.Hook.Channel }

// Endpoints returns where a hook's messages are to be sent.
func (f *Fence) Endpoints() []string {
	if f.Hook == nil {
		return nil
	}
	return f.Hook.Endpoints
}

// Key returns the collection that is watched.
func (f *Fence) Key() string { return f.search.Key() }

func (f *Fence) init() {
	var b []byte
	if f.Hook != nil {
		b = gjson.AppendJSONString(append(b, `,"hook":`...), f.Hook.Name)
		sep := `,"meta":{`
		for _, m := range f.Hook.Meta {
			b = gjson.AppendJSONString(append(b, sep...), m.Name)
			b = gjson.AppendJSONString(append(b, ':'), m.Value)
			sep = ","
		}
		if len(f.Hook.Meta) > 0 {
			b = append(b, '}')
		}
	}
	f.names = gjson.AppendJSONString(append(b, `,"key":`...), f.Key())
	f.setPlace()
}

// setPlace finds out when the fence is to be asked.
//
// A hook is found by the rectangle around its area as Tile38 computes it. That
// of a circle is a little smaller than the circle, and ends at the antimeridian;
// a connection is found wherever an object can lie in its area.
func (f *Fence) setPlace() {
	if f.search.Detects().Has(search.Outside) {
		f.place = always
		return
	}
	rect, ok := f.search.Rect()
	if f.Hook == nil {
		rect, ok = f.search.Reach()
	}
	if !ok || !(rect.Min.X <= rect.Max.X && rect.Min.Y <= rect.Max.Y) {
		return
	}
	f.place, f.rect = byRect, rect
}

// before orders the fences of one collection.
func (f *Fence) before(g *Fence) bool {
	if a, b := f.class(), g.class(); a != b {
		return a < b
	}
	if a, b := f.Name(), g.Name(); a != b {
		return a < b
	}
	return f.serial < g.serial
}

// Options are the settings of a Set.
type Options struct {
	// Search bounds the areas and filters of fences.
	Search search.Limits
	// Seed makes the groups of this Set different from those of others.
	Seed uint64
	// MaxNeighbours is how many neighbours of an object a roaming fence
	// reports at most, the nearest ones; default 10,000. It bounds what is
	// remembered of each object, too.
	MaxNeighbours int
	// MaxScan is how many objects SCAN shows with a neighbour at most; default
	// 1,000.
	MaxScan int
}

// EnsureDefaults sets what is not set.
func (o *Options) EnsureDefaults() {
	o.Search.EnsureDefaults()
	if o.MaxNeighbours == 0 {
		o.MaxNeighbours = 10_000
	}
	if o.MaxScan == 0 {
		o.MaxScan = 1_000
	}
}

// Validate returns an error that lists every fault.
func (o *Options) Validate() error {
	var faults []string
	if o.MaxNeighbours < 0 {
		faults = append(faults, fmt.Sprintf("MaxNeighbours is %d", o.MaxNeighbours))
	}
	if o.MaxScan < 0 {
		faults = append(faults, fmt.Sprintf("MaxScan is %d", o.MaxScan))
	}
	if len(faults) > 0 {
		return errors.New("fence: " + strings.Join(faults, "; "))
	}
	return nil
}
