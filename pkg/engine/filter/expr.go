package filter

import (
	"fmt"
	"math"
	"regexp"

	"github.com/tidwall/expr"
	"github.com/tidwall/geojson"
	"github.com/tidwall/gjson"
	"github.com/tidwall/match"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
)

// expression is a WHERE with an expression. Names in it are, in this order:
// this, id, type, the item's fields, and the members of its GeoJSON
// (properties, …); a name that is none of them is 0. Texts compare without
// regard to case. What cannot be evaluated does not hold.
type expression struct {
	text      string
	maxRegexp int
	regexps   map[string]*regexp.Regexp // nil: malformed
	ctx       expr.Context
	self      self
}

// self is the item itself as a value in an expression: it is true.
type self struct{ it *collection.Item }

// Bool is true.
func (s *self) Bool() bool { return true }

// document is a JSON object or array as a value in an expression. It is false,
// and the only thing one can do with it is to look into it.
type document struct{ json gjson.Result }

// Bool is false.
func (d *document) Bool() bool { return false }

// String returns the JSON text.
func (d *document) String() string { return d.json.Raw }

func (f *Filter) parseExpr(text string) (*expression, error) {
	f.EnsureDefaults()
	if len(text) > f.MaxExpr {
		return nil, reply.Plain(fmt.Sprintf("expression is too long: %d bytes, the limit is %d", len(text), f.MaxExpr))
	}
	e := &expression{text: text, maxRegexp: f.MaxRegexp}
	e.ctx = expr.Context{Extender: e, NoCase: true}
	return e, nil
}

func (e *expression) holds(it *collection.Item) bool {
	e.self.it = it
	v, err := expr.Eval(e.text, &e.ctx)
	return err == nil && v.Bool()
}

// Ref implements expr.Extender: the value of a name, or of a member of a value.
func (e *expression) Ref(info expr.RefInfo, _ *expr.Context) (expr.Value, error) {
	if !info.Chain {
		if info.Ident == "this" {
			return expr.Object(&e.self), nil
		}
		return itemValue(e.self.it, info.Ident), nil
	}
	switch o := info.Value.Value().(type) {
	case *self:
		return itemValue(o.it, info.Ident), nil
	case *document:
		return jsonValue(o.json.Get(escape(info.Ident))), nil
	}
	if info.Ident == "match" && info.Value.TypeOf() == "string" {
		return expr.Function("match"), nil
	}
	return expr.Undefined, nil
}

// escape makes a member's name out of a path of gjson.
func escape(name string) string {
	for i := range len(name) {
		switch name[i] {
		case '.', '*', '?', '|', '#', '@', '\\', '!', '{', '[':
			return gjson.Escape(name)
		}
	}
	return name
}

func itemValue(it *collection.Item, name string) expr.Value {
	obj := it.Object()
	switch name {
	case "id":
		if m := obj.Members(); m != "" {
			if id := gjson.Get(m, "id"); id.Exists() {
				return jsonValue(id)
			}
		}
		return expr.String(it.ID())
	case "type":
		if it.IsText() {
			return expr.Undefined
		}
		return expr.String(typeOf(obj))
	}
	if v := it.Fields().Get(name); !v.IsZero() {
		return fieldValue(v)
	}
	if m := obj.Members(); m != "" {
		if v := gjson.Get(m, escape(name)); v.Exists() {
			return jsonValue(v)
		}
	}
	return expr.Number(0)
}

// typeOf returns the GeoJSON type of an object.
func typeOf(obj geojson.Object) string {
	switch obj.(type) {
	case *geojson.SimplePoint, *geojson.Point:
		return "Point"
	case *geojson.Rect, *geojson.Polygon:
		return "Polygon"
	case *geojson.LineString:
		return "LineString"
	case *geojson.MultiPoint:
		return "MultiPoint"
	case *geojson.MultiLineString:
		return "MultiLineString"
	case *geojson.MultiPolygon:
		return "MultiPolygon"
	case *geojson.GeometryCollection:
		return "GeometryCollection"
	case *geojson.FeatureCollection:
		return "FeatureCollection"
	}
	return "Feature"
}

func fieldValue(v field.Value) expr.Value {
	switch v.Kind() {
	case field.Null:
		return expr.Null
	case field.False, field.True:
		return expr.Bool(v.Kind() == field.True)
	case field.Number:
		if n := v.Num(); !math.IsNaN(n) && !math.IsInf(n, 0) {
			return expr.Number(n)
		}
	case field.JSON:
		return jsonValue(gjson.Parse(v.Data()))
	}
	return expr.String(v.Data())
}

func jsonValue(r gjson.Result) expr.Value {
	switch r.Type {
	case gjson.True, gjson.False:
		return expr.Bool(r.Type == gjson.True)
	case gjson.Number:
		return expr.Number(r.Num)
	case gjson.String:
		return expr.String(r.Str)
	case gjson.JSON:
		return expr.Object(&document{r})
	}
	if r.Exists() {
		return expr.Null
	}
	return expr.Undefined
}

// Call implements expr.Extender: text.match(pattern).
func (e *expression) Call(info expr.CallInfo, _ *expr.Context) (expr.Value, error) {
	if info.Chain && info.Ident == "match" {
		ok, _ := match.MatchLimitNoCase(info.Value.String(), info.Args.At(0).String(), matchEffort)
		return expr.Bool(ok), nil
	}
	return expr.Undefined, nil
}

// matchEffort times the length of a text is how many steps a match may take.
const matchEffort = 1000

// Op implements expr.Extender: =~, and comparisons with documents.
func (e *expression) Op(info expr.OpInfo, _ *expr.Context) (expr.Value, error) {
	if info.Op == expr.OpRegex {
		re := e.regexp(info.Right.String())
		return expr.Bool(re != nil && re.MatchString(info.Left.String())), nil
	}
	return expr.Undefined, nil
}

// maxRegexps is how many compiled regular expressions a query keeps. There are
// more than one in a query when the expression computes them.
const maxRegexps = 16

func (e *expression) regexp(text string) *regexp.Regexp {
	if re, ok := e.regexps[text]; ok {
		return re
	}
	if len(text) > e.maxRegexp {
		return nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		re = nil
	}
	if e.regexps == nil || len(e.regexps) >= maxRegexps {
		e.regexps = map[string]*regexp.Regexp{}
	}
	e.regexps[text] = re
	return re
}
