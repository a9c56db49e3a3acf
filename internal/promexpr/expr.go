package promexpr

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Expr is an expression, and where it stands.
type Expr struct {
	Where string // file, and panel or rule
	Text  string // with Grafana's variables, if it is of a dashboard
}

// Query returns the expression with Grafana's variables filled in, so that it asks
// for everything.
func (e Expr) Query() string {
	return strings.NewReplacer(
		"$__rate_interval", "1m", "$__interval", "15s", "$__range", "1h",
		"$namespace", ".+", "$job", ".+", "$pod", ".+",
	).Replace(e.Text)
}

// Parse says what is wrong with the expression.
func (e Expr) Parse() (parser.Expr, error) {
	if at := strings.IndexByte(e.Query(), '$'); at >= 0 {
		return nil, fmt.Errorf("%s: an unknown variable: %s", e.Where, e.Query()[at:])
	}
	parsed, err := parser.ParseExpr(e.Query())
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", e.Where, err, e.Text)
	}
	return parsed, nil
}

// Selector is a metric that an expression asks for, and the labels that it goes by.
type Selector struct {
	Metric   string
	Matchers []*labels.Matcher // without the name
}

// Selectors lists what the expression asks for.
func (e Expr) Selectors() ([]Selector, error) {
	parsed, err := e.Parse()
	if err != nil {
		return nil, err
	}
	var out []Selector
	var unnamed error
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		s := Selector{Metric: v.Name}
		for _, m := range v.LabelMatchers {
			if m.Name != labels.MetricName {
				s.Matchers = append(s.Matchers, m)
			}
		}
		if s.Metric == "" {
			unnamed = fmt.Errorf("%s: a selector without the name of a metric: %s", e.Where, v)
		}
		out = append(out, s)
		return nil
	})
	return out, unnamed
}

// Metrics lists the metrics that expressions ask for, each once. The series of a
// histogram count as the histogram.
func Metrics(exprs []Expr) ([]string, error) {
	names := map[string]bool{}
	for _, e := range exprs {
		ss, err := e.Selectors()
		if err != nil {
			return nil, err
		}
		for _, s := range ss {
			names[Family(s.Metric)] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// Family is the metric that a series belongs to. No metric of ours but a histogram
// or a summary ends like these.
func Family(series string) string {
	for _, end := range []string{"_bucket", "_count", "_sum"} {
		if name, cut := strings.CutSuffix(series, end); cut {
			return name
		}
	}
	return series
}
