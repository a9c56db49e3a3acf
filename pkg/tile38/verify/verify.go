package verify

import (
	"context"
	"slices"
)

// Object is one object as a server shows it.
type Object struct {
	ID     string
	Text   bool    // a STRING; else Value is GeoJSON
	Value  string  // a BOUNDS is a polygon, as everywhere in answers
	Fields []Field // those that are there, ordered by name
	// Expires is when it ends, in Unix milliseconds of this machine's clock; 0 is
	// never. A live server tells whole seconds, so it is half a second off at most.
	Expires int64
}

// Field is a field of an object. Value is spelt as FIELD takes it: strings stand
// in quotes.
type Field struct{ Name, Value string }

// Hook is a webhook or a channel.
type Hook struct {
	Name      string
	Channel   bool
	Key       string // the collection that it watches
	Endpoints []string
	Meta      []Field // ordered by name; values as they are, without quotes
	Command   []string
	Expires   int64 // as in Object
}

// Source gives objects in the order of the bytes of their ids, and collections in
// that of their names. Its methods may run beside each other.
type Source interface {
	// Collections returns the names of all collections.
	Collections(ctx context.Context) ([]string, error)
	// Scan visits the objects of a collection whose ids are not less than from,
	// until visit returns false. To go on behind an id, add a zero byte to it. A
	// collection that is not there is empty.
	Scan(ctx context.Context, key, from string, visit func(Object) bool) error
	// Look returns the objects with these ids, nil for each that is not there.
	Look(ctx context.Context, key string, ids []string) ([]*Object, error)
	// Hooks returns hooks and channels, ordered by name.
	Hooks(ctx context.Context) ([]Hook, error)
}

func orderFields(f []Field) []Field {
	slices.SortFunc(f, func(a, b Field) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
	return f
}
