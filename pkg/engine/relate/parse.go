package relate

import (
	"fmt"
	"strings"

	"github.com/tidwall/geojson"

	"evenkeel/pkg/engine/area"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// operator is what joins the members of a group.
type operator uint8

const (
	none operator = iota
	and
	or
)

// node is an area, or a group of nodes in parentheses or between operators.
type node struct {
	not     bool
	area    *area.Area // nil: a group
	op      operator
	members []*node
}

// words hands out the words of a command.
type words struct {
	all []string
	n   int
}

// next returns the next word. An empty word counts as a missing one.
func (w *words) next() (string, error) {
	word := w.peek()
	if word == "" {
		return "", reply.ErrNumArgs
	}
	w.n++
	return word, nil
}

func (w *words) peek() string {
	if w.n >= len(w.all) {
		return ""
	}
	return w.all[w.n]
}

// parser reads expressions.
type parser struct {
	words
	limits *Limits
	state  *collection.State
	locked bool // large items are not to be looked at; see command.Request
	nodes  int  // of both expressions
}

// builder puts an expression together.
type builder struct {
	current *node   // what the next word belongs to; nil at the beginning
	open    []*node // groups whose parenthesis was not closed yet
	not     bool    // an odd number of NOTs stands before the next operand
	pending bool    // an operand must follow
}

// expression reads words up to the first that has no place in an expression. With
// clip, areas must be of a kind that something can be clipped with.
func (p *parser) expression(clip bool) (*node, error) {
	var b builder
	for {
		known, err := p.operand(&b, clip)
		if err != nil {
			return nil, err
		}
		if !known {
			break
		}
	}
	root := b.current
	if b.pending || len(b.open) > 0 || root == nil || root.area == nil && len(root.members) == 0 {
		return nil, reply.ErrNumArgs
	}
	return root, nil
}

// operand reads an area, an operator or a parenthesis; known is false when the
// next word is none of them.
func (p *parser) operand(b *builder, clip bool) (known bool, err error) {
	word := strings.ToLower(p.peek())
	switch word {
	case "not", "and", "or", "(", ")":
		p.n++
		return true, p.join(b, word)
	case "circle", "object", "get", "sector":
		if clip {
			return true, reply.Plain("invalid clip type '" + p.peek() + "'")
		}
	case "point", "bounds", "hash", "quadkey", "tile":
	default:
		return false, nil
	}
	a, n, err := area.ParseOne(p.all[p.n:], area.Options{Limits: p.limits.Area, Get: p.get})
	if err != nil {
		return true, err
	}
	p.n += n
	leaf, err := p.node(b)
	if err != nil {
		return true, err
	}
	leaf.area = a
	if b.current == nil {
		b.current = leaf
	} else {
		b.current.members = append(b.current.members, leaf)
	}
	return true, nil
}

// node makes the node that stands next, with the NOT before it.
func (p *parser) node(b *builder) (*node, error) {
	if p.nodes++; p.nodes > p.limits.MaxNodes {
		return nil, reply.Plain(fmt.Sprintf("too many areas and groups, the limit is %d", p.limits.MaxNodes))
	}
	n := &node{not: b.not}
	b.not, b.pending = false, false
	return n, nil
}

// join reads a word that is no area.
func (p *parser) join(b *builder, word string) error {
	switch word {
	case "not":
		b.not, b.pending = !b.not, true
	case "(":
		group, err := p.node(b)
		if err != nil {
			return err
		}
		if b.current != nil {
			b.current.members = append(b.current.members, group)
		}
		b.current = group
		b.open = append(b.open, group)
	case ")":
		if b.pending || len(b.open) == 0 {
			return reply.InvalidArgument(word)
		}
		last := len(b.open) - 1
		b.current, b.open = b.open[last], b.open[:last]
	case "and":
		return p.operator(b, and, word)
	case "or":
		return p.operator(b, or, word)
	}
	return nil
}

// operator continues the current group with op. Only OR after AND begins a new
// group with the old one in it; AND after OR goes on with OR.
func (p *parser) operator(b *builder, op operator, word string) error {
	c := b.current
	if c == nil || b.pending {
		return reply.InvalidArgument(word)
	}
	if c.area == nil && c.op != none && c.op != op && len(c.members) < 2 {
		return reply.ErrNumArgs
	}
	switch {
	case c.area != nil, c.op == and && op == or:
		group, err := p.node(b)
		if err != nil {
			return err
		}
		group.op, group.members = op, []*node{c}
		b.current = group
	case c.op == none:
		c.op = op
	}
	b.pending = true
	return nil
}

func (p *parser) get(key, id string) (geojson.Object, error) {
	it, ok := p.state.Get(key, id)
	if !ok {
		return nil, reply.ErrKeyNotFound
	}
	if it == nil {
		return nil, reply.ErrIDNotFound
	}
	if p.locked && it.Heavy() {
		return nil, command.ErrLong
	}
	return it.Object(), nil
}
