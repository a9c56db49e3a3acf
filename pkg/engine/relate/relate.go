package relate

import (
	"strings"

	"evenkeel/pkg/engine/area"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// Limits bounds what one TEST may cost.
type Limits struct {
	Area area.Limits
	// MaxNodes is how many areas and groups the two expressions may have
	// together; default 1000.
	MaxNodes int
}

// EnsureDefaults sets what is zero to its default.
func (l *Limits) EnsureDefaults() {
	l.Area.EnsureDefaults()
	if l.MaxNodes == 0 {
		l.MaxNodes = 1000
	}
}

// Commands lists the commands of this package.
func (l Limits) Commands() []command.Spec {
	l.EnsureDefaults()
	return []command.Spec{{
		Name: "test",
		Read: func(req *command.Request, st *collection.State, out *reply.Reply) error {
			q, err := l.parse(req.Args[1:], st, req.Locked)
			if err != nil {
				return err
			}
			return q.answer(req.Pause, out)
		},
	}}
}

// query is a TEST as it was asked for.
type query struct {
	left, right *node
	within      bool // else: intersects
	clip        bool // answer what of the left area lies in the right one
}

// parse reads the words behind the command's name.
func (l *Limits) parse(args []string, st *collection.State, locked bool) (*query, error) {
	p := parser{words: words{all: args}, limits: l, state: st, locked: locked}
	var q query
	var err error
	if q.left, err = p.expression(false); err != nil {
		return nil, err
	}
	word, err := p.next()
	if err != nil {
		return nil, err
	}
	switch strings.ToLower(word) {
	case "within":
		q.within = true
	case "intersects":
	default:
		return nil, reply.InvalidArgument(word)
	}
	if strings.EqualFold(p.peek(), "clip") {
		if q.within {
			return nil, reply.InvalidArgument(p.peek())
		}
		q.clip = true
		p.n++
	}
	if q.right, err = p.expression(q.clip); err != nil {
		return nil, err
	}
	if q.clip && (q.left.area == nil || q.right.area == nil) {
		return nil, reply.InvalidArgument("clip")
	}
	if p.n < len(args) {
		return nil, reply.ErrNumArgs
	}
	return &q, nil
}

func (q *query) answer(pause func() error, out *reply.Reply) error {
	c := comparison{within: q.within, pause: pause}
	result := c.compare(q.left, q.left.not, q.right, q.right.not, false)
	switch {
	case c.err != nil:
		return c.err
	case !result || !q.clip:
		out.Bool("result", result)
	default:
		return q.part(out)
	}
	return nil
}

// part answers 1 and what of the left area lies in the right one, a rectangle.
func (q *query) part(out *reply.Reply) error {
	obj := q.left.area.Object
	if text, ok := obj.(collection.Text); ok {
		json, err := text.MarshalJSON()
		if err != nil {
			return err
		}
		obj = collection.Text(json)
	} else {
		obj = area.Clip(obj, q.right.area.Rect)
	}
	if out.JSON {
		out.Bool("result", true)
		out.Member("object")
		out.Buf = obj.AppendJSON(out.Buf)
		return nil
	}
	out.Array(2)
	out.Bool("", true)
	out.Object(obj)
	return nil
}
