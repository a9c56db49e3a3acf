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

// setting is what the words of a SET say.
type setting struct {
	object   geojson.Object // nil: it is the point
	point    geometry.Point
	given    bool // object or point are set
	fields   field.List
	deadline int64
	nx, xx   bool
	returns  *output
}

// set is SET key id [FIELD name value …] [EX seconds] [NX|XX] [RETURN …]
// value, with the options on either side of the value.
func (l *Limits) set(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	args := req.Args
	if len(args) < 4 {
		return reply.ErrNumArgs
	}
	key, id := args[1], args[2]
	old, _ := st.Get(key, id)
	var s setting
	if old != nil {
		s.fields = old.Fields()
	}
	if err := l.parseSetting(&s, args[3:], req.Now); err != nil {
		return err
	}
	switch {
	case s.nx && old != nil:
		return errIDExists
	case s.xx && old == nil:
		return reply.ErrIDNull
	}
	var it *collection.Item
	if s.object == nil {
		it = collection.NewPoint(id, s.point, s.fields, s.deadline)
	} else {
		it = collection.NewItem(id, s.object, s.fields, s.deadline)
	}
	ch.Put(key, it, old)
	if s.returns != nil {
		s.returns.write(it, out)
		return nil
	}
	out.OK()
	return nil
}

// parseSetting reads the words behind the id.
func (l *Limits) parseSetting(s *setting, args []string, now int64) error {
	for len(args) > 0 {
		var n int
		var err error
		switch word := args[0]; {
		case fold(word, "field"):
			n, err = l.setField(s, args)
		case fold(word, "ex"):
			n, err = setExpiry(s, args, now)
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
	s.fields = s.fields.Set(name, v)
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
func setExpiry(s *setting, args []string, now int64) (int, error) {
	if len(args) < 2 {
		return 0, reply.ErrNumArgs
	}
	secs, err := number(args[1])
	if err != nil {
		return 0, err
	}
	s.deadline = Deadline(now, secs)
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
		n = 1
		s.object, err = l.parseObject(rest[0])
	case fold(word, "string"):
		if len(rest) < 1 {
			return 0, reply.ErrNumArgs
		}
		n, s.object = 1, collection.Text(strings.Clone(rest[0]))
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
