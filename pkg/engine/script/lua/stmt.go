package lua

// control says how a statement ended.
type control uint8

const (
	goesOn control = iota
	breaks
	returns
	tails // returns what the call on the stack returns
	jumps // to c.label
)

type stmt interface{ exec(c *Call) control }

// block is a list of statements. It is a statement, too.
type block struct {
	list   []stmt
	labels map[string]int // the statement behind each
}

func (b *block) exec(c *Call) control {
	for i := 0; i < len(b.list); i++ {
		ctl := b.list[i].exec(c)
		if ctl == goesOn {
			continue
		}
		if ctl == jumps {
			if at, ok := b.labels[c.label]; ok {
				c.m.work(1 + int64(len(b.list)))
				i = at - 1
				continue
			}
		}
		return ctl
	}
	return goesOn
}

type callStmt struct{ call *callExpr }

func (s *callStmt) exec(c *Call) control {
	s.call.do(c)
	return goesOn
}

type whileStmt struct {
	cond expr
	body *block
	cost int64
}

func (s *whileStmt) exec(c *Call) control {
	for {
		c.m.work(s.cost)
		if !s.cond.eval(c).Truth() {
			return goesOn
		}
		if ctl := s.body.exec(c); ctl == breaks {
			return goesOn
		} else if ctl != goesOn {
			return ctl
		}
	}
}

type repeatStmt struct {
	body *block
	cond expr
	cost int64
}

func (s *repeatStmt) exec(c *Call) control {
	for {
		c.m.work(s.cost)
		if ctl := s.body.exec(c); ctl == breaks {
			return goesOn
		} else if ctl != goesOn {
			return ctl
		}
		if s.cond.eval(c).Truth() {
			return goesOn
		}
	}
}

type arm struct {
	cond expr
	then *block
}

type ifStmt struct {
	arms      []arm
	otherwise *block
}

func (s *ifStmt) exec(c *Call) control {
	for i := range s.arms {
		if s.arms[i].cond.eval(c).Truth() {
			return s.arms[i].then.exec(c)
		}
	}
	if s.otherwise != nil {
		return s.otherwise.exec(c)
	}
	return goesOn
}

type numberFor struct {
	line              int
	init, limit, step expr
	v                 *local
	body              *block
	cost              int64
}

func (s *numberFor) exec(c *Call) control {
	init, limit, step := s.init.eval(c), s.limit.eval(c), Number(1)
	if s.step != nil {
		step = s.step.eval(c)
	}
	c.line = s.line
	s.check(c, init, "init")
	s.check(c, step, "step")
	s.check(c, limit, "limit")
	for i := init.n; step.n > 0 && i <= limit.n || step.n <= 0 && i >= limit.n; i += step.n {
		c.m.work(s.cost)
		c.declare(s.v, Number(i))
		if ctl := s.body.exec(c); ctl == breaks {
			return goesOn
		} else if ctl != goesOn {
			return ctl
		}
	}
	return goesOn
}

func (s *numberFor) check(c *Call, v Value, what string) {
	if !v.isNumber() {
		c.m.fail("for statement %s must be a number", what)
	}
}

type genericFor struct {
	line  int
	exprs exprList
	state int // slot of the iterator, behind it its two values
	vars  []*local
	body  *block
	cost  int64
}

func (s *genericFor) exec(c *Call) control {
	m := c.m
	base := m.top
	n := s.exprs.push(c)
	state := m.stack[c.base+s.state : c.base+s.state+3]
	clear(state)
	copy(state, m.stack[base:base+n])
	m.top = base
	for {
		m.work(s.cost)
		at := m.top
		for i := range 3 {
			m.push(m.stack[c.base+s.state+i])
		}
		c.line = s.line
		m.call(at, 2, "")
		m.top = at
		if len(m.rets) == 0 || m.rets[0].o == nil {
			return goesOn
		}
		m.stack[c.base+s.state+2] = m.rets[0]
		s.bind(c)
		if ctl := s.body.exec(c); ctl == breaks {
			return goesOn
		} else if ctl != goesOn {
			return ctl
		}
	}
}

// bind gives the loop's variables what the iterator has returned.
func (s *genericFor) bind(c *Call) {
	for i, l := range s.vars {
		var v Value
		if i < len(c.m.rets) {
			v = c.m.rets[i]
		}
		c.declare(l, v)
	}
}

type breakStmt struct{}

func (breakStmt) exec(*Call) control { return breaks }

type gotoStmt struct{ label string }

func (s *gotoStmt) exec(c *Call) control {
	c.m.work(1)
	c.label = s.label
	return jumps
}

type returnOne struct{ e expr }

func (s *returnOne) exec(c *Call) control {
	v := s.e.eval(c)
	c.m.rets = append(c.m.rets[:0], v)
	return returns
}

type returnList struct{ exprs exprList }

func (s *returnList) exec(c *Call) control {
	m := c.m
	base := m.top
	n := s.exprs.push(c)
	m.rets = append(m.rets[:0], m.stack[base:base+n]...)
	m.top = base
	return returns
}

// tailCall returns what a call returns. A Lua function takes the place of the
// one that ends, so that a recursion of this kind has no limit.
type tailCall struct{ call *callExpr }

func (s *tailCall) exec(c *Call) control {
	m := c.m
	at := m.top
	n := s.call.prepare(c)
	c.line = s.call.line
	fn, ok := m.stack[at].o.(*Function)
	if !ok || fn.native != nil {
		m.call(at, n, s.call.name)
		m.top = at
		return returns
	}
	copy(m.stack[c.at:c.at+1+n], m.stack[at:at+1+n])
	m.tail = n
	return tails
}

type declareOne struct {
	v *local
	e expr
}

func (s *declareOne) exec(c *Call) control {
	if _, ok := s.e.(*closureExpr); ok && s.v.captured {
		c.declare(s.v, Value{}) // the function may refer to itself
		v := s.e.eval(c)
		c.m.stack[c.base+s.v.slot].cell().v = v
		return goesOn
	}
	c.declare(s.v, s.e.eval(c))
	return goesOn
}

type declareList struct {
	vars  []*local
	exprs exprList
}

func (s *declareList) exec(c *Call) control {
	m := c.m
	base := m.top
	n := s.exprs.push(c)
	for i, l := range s.vars {
		var v Value
		if i < n {
			v = m.stack[base+i]
		}
		c.declare(l, v)
	}
	m.top = base
	return goesOn
}

// target is the left side of an assignment.
type target interface {
	// with returns the statement that assigns one value.
	with(e expr) stmt
	// refer pushes what the place depends on and returns how many values.
	refer(c *Call) int
	// assign assigns; what refer has pushed lies at stack[at].
	assign(c *Call, at int, v Value)
}

type setLocal struct {
	v *local
	e expr
}

func (s *setLocal) with(e expr) stmt {
	s.e = e
	return s
}

func (s *setLocal) refer(*Call) int { return 0 }

func (s *setLocal) assign(c *Call, _ int, v Value) {
	p := &c.m.stack[c.base+s.v.slot]
	if s.v.captured {
		p.cell().v = v
		return
	}
	*p = v
}

func (s *setLocal) exec(c *Call) control {
	s.assign(c, 0, s.e.eval(c))
	return goesOn
}

type setCell struct {
	index int
	e     expr
}

func (s *setCell) with(e expr) stmt {
	s.e = e
	return s
}

func (s *setCell) refer(*Call) int { return 0 }

func (s *setCell) assign(c *Call, _ int, v Value) { c.fn.cells[s.index].v = v }

func (s *setCell) exec(c *Call) control {
	s.assign(c, 0, s.e.eval(c))
	return goesOn
}

type setIndex struct {
	line            int
	obj, key, value expr
}

func (s *setIndex) with(e expr) stmt {
	s.value = e
	return s
}

func (s *setIndex) refer(c *Call) int {
	c.m.push(s.obj.eval(c))
	c.m.push(s.key.eval(c))
	return 2
}

func (s *setIndex) assign(c *Call, at int, v Value) {
	c.line = s.line
	c.m.setIndex(c.m.stack[at], c.m.stack[at+1], v)
}

func (s *setIndex) exec(c *Call) control {
	m := c.m
	at := m.top
	s.refer(c)
	v := s.value.eval(c)
	m.push(v)
	s.assign(c, at, v)
	m.top = at
	return goesOn
}

// assignList assigns several values, from right to left.
type assignList struct {
	targets []target
	exprs   exprList
}

func (s *assignList) exec(c *Call) control {
	m := c.m
	at := m.top
	var places [8]int
	list := places[:0]
	for _, t := range s.targets {
		list = append(list, m.top)
		t.refer(c)
	}
	base := m.top
	n := s.exprs.push(c)
	for i := len(s.targets) - 1; i >= 0; i-- {
		var v Value
		if i < n {
			v = m.stack[base+i]
		}
		s.targets[i].assign(c, list[i], v)
	}
	m.top = at
	return goesOn
}
