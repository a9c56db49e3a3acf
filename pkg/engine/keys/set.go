package keys

import (
	"strings"

	"github.com/mmcloughlin/geohash"
	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
)

var errIDExists = &reply.Error{JSON: "id already exists", Null: true}

// setting is what the words of a SET say, whatever the state is.
type setting struct {
	object  geojson.Object // nil: it is the point
	size    int            // about the bytes of the object's JSON
	point   geometry.Point
	given   bool // object or point are set
	fields  fieldValues
	expires bool // in that many seconds
	seconds float64
	nx, xx  bool
	returns *output
}

// fieldValues are fields to be set, in the order in which they are set. The
// first ones take no memory of their own.
type fieldValues struct {
	few    [2]field.Setting
	more   []field.Setting
	len    int
	sorted field.Settings // all, once they are many and order has been called
}

func (fs *fieldValues) add(f field.Setting) {
	if fs.len < len(fs.few) {
		fs.few[fs.len] = f
	} else {
		fs.more = append(fs.more, f)
	}
	fs.len++
}

func (fs *fieldValues) at(i int) *field.Setting {
	if i < len(fs.few) {
		return &fs.few[i]
	}
	return &fs.more[i-len(fs.few)]
}

// manyFields are set in one pass over the list; fewer one after the other, which
// takes less than to sort them.
const manyFields = 16

func (fs *fieldValues) many() bool { return fs.len >= manyFields }

// order gets many fields ready to be set. It is called when all are there.
func (fs *fieldValues) order() {
	if fs.many() {
		fs.sorted = field.Sorted(append(fs.few[:], fs.more...))
	}
}

// setIn returns the list with all fields set, as SET does it.
func (fs *fieldValues) setIn(list field.List) field.List {
	if fs.many() {
		return list.SetAll(fs.sorted)
	}
	for i := range fs.len {
		f := fs.at(i)
		list = list.Set(f.Name, f.Value)
	}
	return list
}

// updateIn returns the list with all fields set that have another value, as FSET
// does it, and how many they are.
func (fs *fieldValues) updateIn(list field.List) (_ field.List, updated int) {
	if fs.many() {
		return list.UpdateAll(fs.sorted)
	}
	for i := range fs.len {
		f := fs.at(i)
		if old, _ := list.Lookup(f.Name); !old.Equals(f.Value) {
			list = list.Set(f.Name, f.Value)
			updated++
		}
	}
	return list, updated
}

// earlySetting is what readSet keeps.
type earlySetting struct {
	setting
	err error
}

// readSet is the Early step of SET. What it finds in req.Early, of a SET that is
// done, it uses again: a replay reads every SET ahead.
func (l *Limits) readSet(req *command.Request) {
	if len(req.Args) < 4 {
		return
	}
	e, used := req.Early.(*earlySetting)
	if used {
		*e = earlySetting{}
	} else {
		e = new(earlySetting)
	}
	if e.err = l.parseSetting(&e.setting, req.Args[3:]); e.err == nil {
		e.object = collection.Prepare(req.Args[2], e.object, e.size)
	}
	req.Early = e
}

// set is SET key id [FIELD name value …] [EX seconds] [NX|XX] [RETURN …]
// value, with the options on either side of the value.
func (l *Limits) set(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	if len(req.Args) < 4 {
		return reply.ErrNumArgs
	}
	if e, ok := req.Early.(*earlySetting); ok {
		if e.err != nil {
			return e.err
		}
		return e.put(req, st, ch, out)
	}
	var s setting
	if err := l.parseSetting(&s, req.Args[3:]); err != nil {
		return err
	}
	return s.put(req, st, ch, out)
}

// put records what a SET does that has been read.
func (s *setting) put(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	key, id := req.Args[1], req.Args[2]
	old, _ := st.Get(key, id)
	switch {
	case s.nx && old != nil:
		return errIDExists
	case s.xx && old == nil:
		return reply.ErrIDNull
	}
	var fields field.List
	if old != nil {
		fields = old.Fields()
	}
	fields = s.fields.setIn(fields)
	var deadline int64
	if s.expires {
		deadline = Deadline(req.Now, s.seconds)
	}
	var it *collection.Item
	if s.object == nil {
		it = collection.NewPoint(id, s.point, fields, deadline)
	} else {
		it = collection.NewItem(id, collection.Prepare(id, s.object, s.size), fields, deadline)
	}
	ch.Put(key, it, old)
	if s.returns != nil {
		s.returns.answer(it, out)
		return nil
	}
	out.OK()
	return nil
}

// parseSetting reads the words behind the id.
func (l *Limits) parseSetting(s *setting, args []string) error {
	for len(args) > 0 {
		var n int
		var err error
		switch word := args[0]; {
		case fold(word, "field"):
			n, err = l.setField(s, args)
		case fold(word, "ex"):
			n, err = setExpiry(s, args)
		case fold(word, "nx") && !s.xx:
			s.nx, n = true, 1
		case fold(word, "xx") && !s.nx:
			s.xx, n = true, 1
		case fold(word, "return"):
			n, err = parseReturn(&s.returns, args)
		default:
			n, err = l.setValue(s, args)
		}
		if err != nil {
			return err
		}
		args = args[n:]
	}
	if !s.given {
		return reply.ErrNumArgs
	}
	s.fields.order()
	return nil
}

// setField reads FIELD name value and returns the number of words.
func (l *Limits) setField(s *setting, args []string) (int, error) {
	if len(args) < 3 {
		return 0, reply.ErrNumArgs
	}
	name, v, err := l.parseField(args[1], args[2])
	if err != nil {
		return 0, err
	}
	s.fields.add(field.Setting{Name: name, Value: v})
	return 3, nil
}

// Reserved says whether a name, as it is sent, is none for a field.
func Reserved(name string) bool { return name == "z" || name == "lat" || name == "lon" }

// parseField reads a field's name and value.
func (l *Limits) parseField(name, text string) (string, field.Value, error) {
	if Reserved(name) {
		return "", field.Value{}, reply.InvalidArgument(name)
	}
	if trimmed := strings.TrimSpace(text); trimmed != "" && (trimmed[0] == '{' || trimmed[0] == '[') {
		if depth := field.Nesting(text); depth > l.MaxJSONDepth {
			return "", field.Value{}, errDepth(depth, l.MaxJSONDepth)
		}
	}
	return strings.TrimSpace(name), field.ValueOf(text), nil
}

// setExpiry reads EX seconds.
func setExpiry(s *setting, args []string) (int, error) {
	if len(args) < 2 {
		return 0, reply.ErrNumArgs
	}
	secs, err := number(args[1])
	if err != nil {
		return 0, err
	}
	s.expires, s.seconds = true, secs
	return 2, nil
}

// setValue reads the value; the last of several counts.
func (l *Limits) setValue(s *setting, args []string) (n int, err error) {
	rest := args[1:]
	switch word := args[0]; {
	case fold(word, "point"):
		n, err = s.setPoint(rest)
	case fold(word, "object"):
		if len(rest) < 1 {
			return 0, reply.ErrNumArgs
		}
		n, s.size = 1, len(rest[0])
		s.object, err = l.parseObject(rest[0])
	case fold(word, "string"):
		if len(rest) < 1 {
			return 0, reply.ErrNumArgs
		}
		n, s.size = 1, len(rest[0])
		s.object = collection.Text(strings.Clone(rest[0]))
	case fold(word, "bounds"):
		n, err = s.setBounds(rest)
	case fold(word, "hash"):
		if len(rest) < 1 {
			return 0, reply.ErrNumArgs
		}
		lat, lon := geohash.Decode(rest[0])
		n, s.object, s.point = 1, nil, geometry.Point{X: lon, Y: lat}
	default:
		return 0, reply.InvalidArgument(word)
	}
	s.given = true
	return 1 + n, err
}

// setPoint reads lat lon [z].
func (s *setting) setPoint(args []string) (int, error) {
	if len(args) < 2 {
		return 0, reply.ErrNumArgs
	}
	lat, err := number(args[0])
	if err != nil {
		return 0, err
	}
	lon, err := number(args[1])
	if err != nil {
		return 0, err
	}
	s.object, s.point = nil, geometry.Point{X: lon, Y: lat}
	if len(args) > 2 {
		if z, err := number(args[2]); err == nil {
			s.object = geojson.NewPointZ(s.point, z)
			return 3, nil
		}
	}
	return 2, nil
}

// setBounds reads minlat minlon maxlat maxlon.
func (s *setting) setBounds(args []string) (int, error) {
	if len(args) < 4 {
		return 0, reply.ErrNumArgs
	}
	var f [4]float64
	for i := range f {
		var err error
		if f[i], err = number(args[i]); err != nil {
			return 0, err
		}
	}
	s.object = geojson.NewRect(geometry.Rect{
		Min: geometry.Point{X: f[1], Y: f[0]},
		Max: geometry.Point{X: f[3], Y: f[2]},
	})
	return 4, nil
}
