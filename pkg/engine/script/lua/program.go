package lua

import (
	"fmt"
	"strings"

	glua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// Program is a compiled script. It does not change, so any number of machines
// can run it at once.
type Program struct {
	main  *proto
	nodes int
}

// nodeSize is about what a node of a program takes in memory, in bytes.
const nodeSize = 100

// Size returns about how many bytes the program takes.
func (p *Program) Size() int { return p.nodes * nodeSize }

// Bounds on programs, so that neither compiler nor machine can be led into a
// recursion that is too deep.
const (
	maxDepth = 200    // expressions and blocks in each other
	maxChain = 10_000 // a .. b .. c …, a or b or c …, elseif …
	// maxChecked is how many nodes a program may have for gopher-lua's compiler
	// to be asked about it: its time rises with the square of their number. In a
	// larger one, a break without loop or a goto without label ends the function.
	maxChecked = 10_000
)

// Compile reads a script. Errors have the texts of gopher-lua, whose parser and
// compiler are asked.
func Compile(name, source string) (p *Program, err error) {
	defer func() {
		if r := recover(); r != nil { // a fault of parser or compiler
			p, err = nil, fmt.Errorf("%s: cannot be compiled: %v", name, r)
		}
	}()
	chunk, err := parse.Parse(strings.NewReader(source), name)
	if err != nil {
		return nil, err
	}
	d := depths{}
	if !d.block(chunk, 0) {
		return nil, fmt.Errorf("%s: is nested too deep; the limit is %d levels", name, maxDepth)
	}
	c := compiler{name: name}
	main := c.function(nil, &ast.FunctionExpr{ParList: &ast.ParList{HasVargs: true}, Stmts: chunk}, false)
	main.line = 0
	// gopher-lua finds what is wrong beyond the grammar. It changes the tree, so
	// it comes last.
	if d.nodes <= maxChecked {
		if _, err := glua.Compile(chunk, name); err != nil {
			return nil, err
		}
	}
	return &Program{main: main, nodes: c.nodes + d.nodes + len(source)/nodeSize}, nil
}

// depths looks whether a program is nested too deep. What is made flat later is
// followed in a loop.
type depths struct{ nodes int }

func (d *depths) block(stmts []ast.Stmt, depth int) bool {
	if depth > maxDepth {
		return false
	}
	for _, s := range stmts {
		d.nodes++
		if !d.stmt(s, depth+1) {
			return false
		}
	}
	return true
}

func (d *depths) stmt(s ast.Stmt, depth int) bool {
	switch s := s.(type) {
	case *ast.AssignStmt:
		return d.exprs(depth, s.Lhs...) && d.exprs(depth, s.Rhs...)
	case *ast.LocalAssignStmt:
		return d.exprs(depth, s.Exprs...)
	case *ast.FuncCallStmt:
		return d.exprs(depth, s.Expr)
	case *ast.DoBlockStmt:
		return d.block(s.Stmts, depth)
	case *ast.WhileStmt:
		return d.exprs(depth, s.Condition) && d.block(s.Stmts, depth)
	case *ast.RepeatStmt:
		return d.exprs(depth, s.Condition) && d.block(s.Stmts, depth)
	case *ast.IfStmt:
		for chain := 0; chain < maxChain; chain++ {
			if !d.exprs(depth, s.Condition) || !d.block(s.Then, depth) {
				return false
			}
			next := elseIf(s)
			if next == nil {
				return d.block(s.Else, depth)
			}
			s = next
		}
		return false
	case *ast.NumberForStmt:
		return d.exprs(depth, s.Init, s.Limit, s.Step) && d.block(s.Stmts, depth)
	case *ast.GenericForStmt:
		return d.exprs(depth, s.Exprs...) && d.block(s.Stmts, depth)
	case *ast.FuncDefStmt:
		return d.exprs(depth, s.Name.Func, s.Name.Receiver, s.Func)
	case *ast.ReturnStmt:
		return d.exprs(depth, s.Exprs...)
	}
	return true
}

// elseIf returns the statement that the else part consists of, if it is a lone
// if.
func elseIf(s *ast.IfStmt) *ast.IfStmt {
	if len(s.Else) != 1 {
		return nil
	}
	next, _ := s.Else[0].(*ast.IfStmt)
	return next
}

func (d *depths) exprs(depth int, exprs ...ast.Expr) bool {
	for _, e := range exprs {
		if !d.expr(e, depth) {
			return false
		}
	}
	return true
}

func (d *depths) expr(e ast.Expr, depth int) bool {
	if depth > maxDepth {
		return false
	}
	d.nodes++
	depth++
	switch e := e.(type) {
	case *ast.AttrGetExpr:
		return d.exprs(depth, e.Object, e.Key)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			if !d.exprs(depth, f.Key, f.Value) {
				return false
			}
		}
	case *ast.FuncCallExpr:
		return d.exprs(depth, e.Func, e.Receiver) && d.exprs(depth, e.Args...)
	case *ast.LogicalOpExpr:
		list, ok := operands(e)
		return ok && d.exprs(depth, list...)
	case *ast.StringConcatOpExpr:
		list, ok := concatenated(e)
		return ok && d.exprs(depth, list...)
	case *ast.RelationalOpExpr:
		return d.exprs(depth, e.Lhs, e.Rhs)
	case *ast.ArithmeticOpExpr:
		return d.exprs(depth, e.Lhs, e.Rhs)
	case *ast.UnaryMinusOpExpr:
		return d.expr(e.Expr, depth)
	case *ast.UnaryNotOpExpr:
		return d.expr(e.Expr, depth)
	case *ast.UnaryLenOpExpr:
		return d.expr(e.Expr, depth)
	case *ast.FunctionExpr:
		return d.block(e.Stmts, depth)
	}
	return true
}

// operands returns a, b, c of a or b or c; ok is false when there are too many.
func operands(e *ast.LogicalOpExpr) (list []ast.Expr, ok bool) {
	op := e.Operator
	for len(list) < maxChain {
		list = append(list, e.Rhs)
		l, same := e.Lhs.(*ast.LogicalOpExpr)
		if !same || l.Operator != op {
			list = append(list, e.Lhs)
			for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
				list[i], list[j] = list[j], list[i]
			}
			return list, true
		}
		e = l
	}
	return nil, false
}

// concatenated returns a, b, c of a .. b .. c.
func concatenated(e *ast.StringConcatOpExpr) (list []ast.Expr, ok bool) {
	for len(list) < maxChain {
		list = append(list, e.Lhs)
		r, same := e.Rhs.(*ast.StringConcatOpExpr)
		if !same {
			return append(list, e.Rhs), true
		}
		e = r
	}
	return nil, false
}
