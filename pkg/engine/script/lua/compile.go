package lua

import (
	"math"

	"github.com/yuin/gopher-lua/ast"
)

// block compiles statements with a scope of their own.
func (c *compiler) block(stmts []ast.Stmt) *block {
	c.fs.enter()
	b := c.statements(stmts)
	c.fs.leave()
	return b
}

func (c *compiler) statements(stmts []ast.Stmt) *block {
	b := &block{list: make([]stmt, 0, len(stmts))}
	for _, s := range stmts {
		c.nodes++
		if l, ok := s.(*ast.LabelStmt); ok {
			if b.labels == nil {
				b.labels = map[string]int{}
			}
			b.labels[l.Name] = len(b.list)
			continue
		}
		b.list = append(b.list, c.stmt(s))
	}
	return b
}

func (c *compiler) stmt(s ast.Stmt) stmt {
	switch s := s.(type) {
	case *ast.AssignStmt:
		return c.assign(s)
	case *ast.LocalAssignStmt:
		return c.localAssign(s)
	case *ast.FuncCallStmt:
		call, _ := s.Expr.(*ast.FuncCallExpr)
		return &callStmt{c.call(call)}
	case *ast.DoBlockStmt:
		return c.block(s.Stmts)
	case *ast.WhileStmt:
		before := c.nodes
		w := &whileStmt{cond: c.expr(s.Condition), body: c.block(s.Stmts)}
		w.cost = c.cost(before)
		return w
	case *ast.RepeatStmt:
		before := c.nodes
		c.fs.enter() // the condition sees the variables of the block
		r := &repeatStmt{body: c.statements(s.Stmts)}
		r.cond = c.expr(s.Condition)
		c.fs.leave()
		r.cost = c.cost(before)
		return r
	case *ast.IfStmt:
		return c.ifElse(s)
	case *ast.NumberForStmt:
		return c.numberFor(s)
	case *ast.GenericForStmt:
		return c.genericFor(s)
	case *ast.FuncDefStmt:
		return c.funcDef(s)
	case *ast.ReturnStmt:
		return c.returns(s)
	case *ast.BreakStmt:
		return breakStmt{}
	case *ast.GotoStmt:
		return &gotoStmt{label: s.Label}
	}
	panic("statement of an unknown kind")
}

// cost returns how many steps one turn of a loop counts as.
func (c *compiler) cost(before int) int64 { return 1 + int64(c.nodes-before)/16 }

func (c *compiler) ifElse(s *ast.IfStmt) stmt {
	out := &ifStmt{}
	for {
		out.arms = append(out.arms, arm{c.expr(s.Condition), c.block(s.Then)})
		next := elseIf(s)
		if next == nil {
			break
		}
		s = next
	}
	if len(s.Else) > 0 {
		out.otherwise = c.block(s.Else)
	}
	return out
}

func (c *compiler) numberFor(s *ast.NumberForStmt) stmt {
	before := c.nodes
	f := &numberFor{line: s.Line(), init: c.expr(s.Init), limit: c.expr(s.Limit)}
	if s.Step != nil {
		f.step = c.expr(s.Step)
	}
	c.fs.enter()
	f.v = c.fs.declare(s.Name)
	f.body = c.block(s.Stmts)
	c.fs.leave()
	f.cost = c.cost(before)
	return f
}

func (c *compiler) genericFor(s *ast.GenericForStmt) stmt {
	before := c.nodes
	f := &genericFor{line: s.Line(), exprs: c.list(s.Exprs)}
	c.fs.enter()
	f.state = c.fs.slot
	for _, name := range []string{"(for generator)", "(for state)", "(for control)"} {
		c.fs.declare(name)
	}
	for _, name := range s.Names {
		f.vars = append(f.vars, c.fs.declare(name))
	}
	f.body = c.block(s.Stmts)
	c.fs.leave()
	f.cost = c.cost(before)
	return f
}

func (c *compiler) funcDef(s *ast.FuncDefStmt) stmt {
	if s.Name.Func == nil {
		return &setIndex{
			line: s.Name.Receiver.Line(), obj: c.expr(s.Name.Receiver), key: c.constant(s.Name.Method),
			value: &closureExpr{c.function(c.fs, s.Func, true)},
		}
	}
	target := c.target(s.Name.Func)
	return target.with(&closureExpr{c.function(c.fs, s.Func, false)})
}

func (c *compiler) returns(s *ast.ReturnStmt) stmt {
	if len(s.Exprs) == 1 {
		switch e := s.Exprs[0].(type) {
		case *ast.FuncCallExpr:
			if !e.AdjustRet {
				return &tailCall{c.call(e)}
			}
		case *ast.Comma3Expr:
			if !e.AdjustRet {
				break
			}
			return &returnOne{c.expr(e)}
		default:
			return &returnOne{c.expr(e)}
		}
	}
	return &returnList{c.list(s.Exprs)}
}

// list compiles expressions of which the last may give any number of values.
func (c *compiler) list(exprs []ast.Expr) exprList {
	var l exprList
	for i, e := range exprs {
		x := c.expr(e)
		if m, ok := x.(multi); ok && i == len(exprs)-1 {
			l.last = m
			break
		}
		l.list = append(l.list, x)
	}
	return l
}

func (c *compiler) localAssign(s *ast.LocalAssignStmt) stmt {
	if len(s.Names) == 1 && len(s.Exprs) == 1 {
		if f, ok := s.Exprs[0].(*ast.FunctionExpr); ok { // it may call itself
			v := c.fs.declare(s.Names[0])
			return &declareOne{v, &closureExpr{c.function(c.fs, f, false)}}
		}
		e := c.expr(s.Exprs[0])
		return &declareOne{c.fs.declare(s.Names[0]), e}
	}
	d := &declareList{exprs: c.list(s.Exprs)}
	for _, name := range s.Names {
		d.vars = append(d.vars, c.fs.declare(name))
	}
	return d
}

// target compiles the left side of an assignment, without a value.
func (c *compiler) target(e ast.Expr) target {
	c.nodes++
	switch e := e.(type) {
	case *ast.IdentExpr:
		if l := c.fs.find(e.Value); l != nil {
			return &setLocal{v: l}
		}
		if i, _, ok := c.fs.cell(e.Value); ok {
			return &setCell{index: i}
		}
		return &setIndex{line: e.Line(), obj: globalsExpr{}, key: c.constant(e.Value)}
	case *ast.AttrGetExpr:
		return &setIndex{line: e.Line(), obj: c.expr(e.Object), key: c.expr(e.Key)}
	}
	panic("assignment to something unknown")
}

func (c *compiler) assign(s *ast.AssignStmt) stmt {
	if len(s.Lhs) == 1 && len(s.Rhs) == 1 {
		return c.target(s.Lhs[0]).with(c.expr(s.Rhs[0]))
	}
	a := &assignList{}
	for _, l := range s.Lhs {
		a.targets = append(a.targets, c.target(l))
	}
	a.exprs = c.list(s.Rhs)
	return a
}

func (c *compiler) constant(s string) *constExpr {
	return &constExpr{constant(s)}
}

func (c *compiler) expr(e ast.Expr) expr {
	c.nodes++
	switch e := e.(type) {
	case *ast.NilExpr:
		return &constExpr{}
	case *ast.TrueExpr:
		return &constExpr{Bool(true)}
	case *ast.FalseExpr:
		return &constExpr{Bool(false)}
	case *ast.NumberExpr:
		n, ok := parseNumber(e.Value)
		if !ok {
			n = math.NaN()
		}
		return &constExpr{Number(n)}
	case *ast.StringExpr:
		return c.constant(e.Value)
	case *ast.Comma3Expr:
		c.fs.proto.usesArgs = true
		if e.AdjustRet {
			return &firstExpr{varargExpr{}}
		}
		return varargExpr{}
	case *ast.IdentExpr:
		return c.ident(e)
	case *ast.AttrGetExpr:
		return &indexExpr{line: e.Line(), obj: c.expr(e.Object), key: c.expr(e.Key)}
	case *ast.TableExpr:
		return c.table(e)
	case *ast.FuncCallExpr:
		if e.AdjustRet {
			return &firstExpr{c.call(e)}
		}
		return c.call(e)
	case *ast.FunctionExpr:
		return &closureExpr{c.function(c.fs, e, false)}
	}
	return c.operator(e)
}

func (c *compiler) operator(e ast.Expr) expr {
	switch e := e.(type) {
	case *ast.LogicalOpExpr:
		list, _ := operands(e)
		l := &logicalExpr{or: e.Operator == "or"}
		for _, x := range list {
			l.list = append(l.list, c.expr(x))
		}
		return l
	case *ast.StringConcatOpExpr:
		list, _ := concatenated(e)
		x := &concatExpr{line: e.Line()}
		for _, part := range list {
			x.list = append(x.list, c.expr(part))
		}
		return x
	case *ast.RelationalOpExpr:
		return c.relation(e)
	case *ast.ArithmeticOpExpr:
		return &arithExpr{line: e.Line(), op: e.Operator[0], pair: c.pair(e.Lhs, e.Rhs)}
	case *ast.UnaryMinusOpExpr:
		return &minusExpr{e.Line(), c.expr(e.Expr)}
	case *ast.UnaryNotOpExpr:
		return &notExpr{c.expr(e.Expr)}
	case *ast.UnaryLenOpExpr:
		return &lenExpr{e.Line(), c.expr(e.Expr)}
	}
	panic("expression of an unknown kind")
}

func (c *compiler) relation(e *ast.RelationalOpExpr) expr {
	p := c.pair(e.Lhs, e.Rhs)
	switch e.Operator {
	case "==", "~=":
		return &equalExpr{not: e.Operator == "~=", pair: p}
	case ">", ">=":
		// As in gopher-lua, a > b is b < a, with a evaluated first.
		return &lessExpr{line: e.Line(), orEqual: e.Operator == ">=", swap: true, pair: p}
	}
	return &lessExpr{line: e.Line(), orEqual: e.Operator == "<=", pair: p}
}

// pair compiles two operands. The left one is kept where a tally finds it while
// the right one is evaluated, if that can allocate.
func (c *compiler) pair(l, r ast.Expr) pair {
	p := pair{l: c.expr(l), r: c.expr(r)}
	switch p.r.(type) {
	case *constExpr, *localExpr, *cellExpr:
	default:
		p.hold = true
	}
	return p
}

func (c *compiler) ident(e *ast.IdentExpr) expr {
	if l := c.fs.find(e.Value); l != nil {
		return &localExpr{l}
	}
	if i, _, ok := c.fs.cell(e.Value); ok {
		return &cellExpr{i}
	}
	return &globalExpr{line: e.Line(), name: e.Value}
}

func (c *compiler) table(e *ast.TableExpr) expr {
	t := &tableExpr{line: e.Line()}
	for i, f := range e.Fields {
		v := c.expr(f.Value)
		if f.Key != nil {
			t.items = append(t.items, tableItem{key: c.expr(f.Key), value: v})
			continue
		}
		if m, ok := v.(multi); ok && i == len(e.Fields)-1 {
			t.last = m
			break
		}
		t.items = append(t.items, tableItem{value: v})
		t.length++
	}
	return t
}

func (c *compiler) call(e *ast.FuncCallExpr) *callExpr {
	c.nodes++
	x := &callExpr{line: e.Line()}
	if e.Func != nil {
		x.fn = c.expr(e.Func)
		switch f := e.Func.(type) {
		case *ast.IdentExpr:
			x.name = f.Value
		case *ast.AttrGetExpr:
			if k, ok := f.Key.(*ast.StringExpr); ok {
				x.name = k.Value
			}
		}
		if x.name == "" {
			x.name = "?"
		}
	} else {
		x.fn = c.expr(e.Receiver)
		x.method = constant(e.Method)
		x.name = e.Method
	}
	x.args = c.list(e.Args)
	return x
}
