package lua

import "github.com/yuin/gopher-lua/ast"

// proto is a function of a program.
type proto struct {
	name     string // of the program
	line     int
	params   []*local
	vararg   bool
	arg      *local // the table of the arguments, in a function that has ... and does not use it
	usesArgs bool   // it uses ...
	slots    int    // values of its local variables
	cells    []cellRef
	body     *block
	cost     int64 // steps that entering it counts as
}

// local is a variable of a function: a place on the stack, or, when an inner
// function refers to it, a cell that lies there.
type local struct {
	slot     int
	captured bool
}

// cellRef says where a new closure finds a cell: in a variable of the function
// that makes it, or among that function's own cells.
type cellRef struct {
	local *local // nil: among the cells
	index int
}

// compiler makes protos out of syntax trees.
type compiler struct {
	name  string
	fs    *scope
	nodes int
}

// scope is a function that is being compiled.
type scope struct {
	parent *scope
	proto  *proto
	blocks []names // the innermost is the last
	slot   int     // the next free one
	cells  map[string]upvalue
}

type names struct {
	vars map[string]*local
	slot int // the first of the block
}

type upvalue struct {
	of    *local // whose cell it is
	index int
}

func (s *scope) enter() { s.blocks = append(s.blocks, names{slot: s.slot}) }

func (s *scope) leave() {
	last := len(s.blocks) - 1
	s.slot = s.blocks[last].slot
	s.blocks = s.blocks[:last]
}

// declare makes a variable in the innermost block.
func (s *scope) declare(name string) *local {
	l := &local{slot: s.slot}
	s.slot++
	s.proto.slots = max(s.proto.slots, s.slot)
	b := &s.blocks[len(s.blocks)-1]
	if b.vars == nil {
		b.vars = map[string]*local{}
	}
	b.vars[name] = l
	return l
}

func (s *scope) find(name string) *local {
	for i := len(s.blocks) - 1; i >= 0; i-- {
		if l, ok := s.blocks[i].vars[name]; ok {
			return l
		}
	}
	return nil
}

// cell returns the index of the cell of an outer function's variable; ok is
// false when the name is global.
func (s *scope) cell(name string) (index int, of *local, ok bool) {
	if s.parent == nil {
		return 0, nil, false
	}
	ref := cellRef{local: s.parent.find(name)}
	of = ref.local
	if of == nil {
		if ref.index, of, ok = s.parent.cell(name); !ok {
			return 0, nil, false
		}
	}
	of.captured = true
	// The same name may mean another variable in another place.
	if u, known := s.cells[name]; known && u.of == of {
		return u.index, of, true
	}
	s.proto.cells = append(s.proto.cells, ref)
	index = len(s.proto.cells) - 1
	if s.cells == nil {
		s.cells = map[string]upvalue{}
	}
	s.cells[name] = upvalue{of, index}
	return index, of, true
}

// function compiles a function; method says that it has a first parameter self.
func (c *compiler) function(parent *scope, e *ast.FunctionExpr, method bool) *proto {
	p := &proto{name: c.name, line: e.Line(), vararg: e.ParList.HasVargs}
	s := &scope{parent: parent, proto: p}
	s.enter()
	if method {
		p.params = append(p.params, s.declare("self"))
	}
	for _, name := range e.ParList.Names {
		p.params = append(p.params, s.declare(name))
	}
	if p.vararg && parent != nil {
		p.arg = s.declare("arg")
	}
	before := c.nodes
	outer := c.fs
	c.fs = s
	p.body = c.block(e.Stmts)
	c.fs = outer
	s.leave()
	if p.usesArgs {
		p.arg = nil
	}
	p.cost = 1 + int64(c.nodes-before)/16
	return p
}
