package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Check reads the Go files under tree, the root of the module, and lists what
// goes against the plan, as "file:line: what (why)".
func Check(tree fs.FS) ([]string, error) {
	c := &checker{floors: floors(), bans: bans(), fset: token.NewFileSet()}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skip(name):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		return c.file(name, src)
	})
	if err != nil {
		return nil, fmt.Errorf("lint: %w", err)
	}
	return c.faults, nil
}

// skip tells folders that hold no code of the module.
func skip(dir string) bool {
	base := path.Base(dir)
	return dir != "." && (base[0] == '.' || base[0] == '_' || base == "testdata")
}

type checker struct {
	floors map[string]float64
	bans   []ban
	fset   *token.FileSet
	faults []string
}

func (c *checker) fault(pos token.Pos, format string, args ...any) {
	p := c.fset.Position(pos)
	c.faults = append(c.faults, fmt.Sprintf("%s:%d: %s", p.Filename, p.Line, fmt.Sprintf(format, args...)))
}

// file checks one file. Tests are held to the sizes and to init alone: they
// may use what they like.
func (c *checker) file(name string, src []byte) error {
	f, err := parser.ParseFile(c.fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	if lines := bytes.Count(src, []byte("\n")); lines >= maxFileLines {
		c.fault(f.Package, "the file has %d lines (split it by job: files have fewer than %d)", lines, maxFileLines)
	}
	pkg, test := path.Dir(name), strings.HasSuffix(name, "_test.go")
	c.functions(f, test)
	if test {
		return nil
	}
	floor, known := c.floors[pkg]
	if !known {
		c.fault(f.Package, "package %s has no floor (give it one in internal/lint/table.go)", pkg)
		return nil
	}
	c.imports(f, pkg, floor)
	for _, b := range c.bans {
		if b.holds(pkg) {
			c.ban(f, b)
		}
	}
	return nil
}

// functions checks lengths and looks for init.
func (c *checker) functions(f *ast.File, test bool) {
	for _, d := range f.Decls {
		fn, isFunc := d.(*ast.FuncDecl)
		if !isFunc {
			continue
		}
		if fn.Recv == nil && fn.Name.Name == "init" {
			c.fault(fn.Pos(), "func init (what runs before main cannot be wired, tested or turned off)")
		}
		lines := c.fset.Position(fn.End()).Line - c.fset.Position(fn.Pos()).Line + 1
		if !test && lines > maxFunctionLines {
			c.fault(fn.Pos(), "func %s has %d lines (at most %d; a screenful is better)", fn.Name.Name, lines, maxFunctionLines)
		}
	}
}

// imports checks that packages of the module stand lower.
func (c *checker) imports(f *ast.File, pkg string, floor float64) {
	for _, imp := range f.Imports {
		target, ours := strings.CutPrefix(importPath(imp), module+"/")
		if !ours {
			continue
		}
		at, known := c.floors[target]
		switch {
		case !known:
			c.fault(imp.Pos(), "imports %s, which has no floor (give it one in internal/lint/table.go)", target)
		case at >= floor:
			c.fault(imp.Pos(), "%s (floor %v) imports %s (floor %v) (imports point to a lower floor only: declare an interface here)",
				pkg, floor, target, at)
		}
	}
}

// ban looks for what b forbids.
func (c *checker) ban(f *ast.File, b ban) {
	local := make(map[string]string) // import path by the name that the file uses
	for _, imp := range f.Imports {
		p := importPath(imp)
		name := path.Base(p)
		if imp.Name != nil {
			name = imp.Name.Name
		}
		local[name] = p
		if matches(b.imports, p) && len(b.but) == 0 {
			c.fault(imp.Pos(), "imports %s (%s)", p, b.why)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if b.goStmt {
				c.fault(n.Pos(), "go statement (%s)", b.why)
			}
		case *ast.SelectorExpr:
			x, isName := n.X.(*ast.Ident)
			if !isName || local[x.Name] == "" {
				break
			}
			if p := local[x.Name]; b.forbids(p, p+"."+n.Sel.Name) {
				c.fault(n.Pos(), "%s.%s (%s)", p, n.Sel.Name, b.why)
			}
		}
		return true
	})
}

// forbids tells whether b forbids a name, written with its import path.
func (b ban) forbids(importPath, name string) bool {
	harmless := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	return slices.Contains(b.calls, name) ||
		len(b.but) > 0 && matches(b.imports, importPath) && !slices.ContainsFunc(b.but, harmless)
}

func (b ban) holds(pkg string) bool { return matches(b.in, pkg) && !matches(b.except, pkg) }

// matches tells whether one of the patterns names p.
func matches(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "/...")
		return p == prefix || open && strings.HasPrefix(p, prefix+"/")
	})
}

func importPath(imp *ast.ImportSpec) string {
	p, err := strconv.Unquote(imp.Path.Value)
	if err != nil { // the parser has refused it before
		return imp.Path.Value
	}
	return p
}

// Packages lists what the table names, sorted.
func Packages() []string { return slices.Sorted(maps.Keys(floors())) }
