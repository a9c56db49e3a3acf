package promexpr

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
)

// Rule is a rule of a rule file.
type Rule struct {
	Expr
	Record, Alert string // one of them
	Labels        map[string]string
	Annotations   map[string]string
}

// Rules reads a file of rules, as strictly as Prometheus does: unknown words, and
// templates that do not parse, are errors.
func Rules(file string) ([]Rule, error) {
	text, err := os.ReadFile(file) // #nosec G304 -- a test names it
	if err != nil {
		return nil, err
	}
	groups, faults := rulefmt.Parse(text, false, model.UTF8Validation)
	if len(faults) > 0 {
		return nil, fmt.Errorf("%s: %w", file, errors.Join(faults...))
	}
	var out []Rule
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			out = append(out, Rule{
				Expr:   Expr{Where: fmt.Sprintf("%s: %s%s", filepath.Base(file), r.Record, r.Alert), Text: r.Expr},
				Record: r.Record, Alert: r.Alert, Labels: r.Labels, Annotations: r.Annotations,
			})
		}
	}
	return out, nil
}
