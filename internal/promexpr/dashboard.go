package promexpr

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Columns is the width of Grafana's grid.
const Columns = 24

// source is what a panel's data source has to be: the variable.
const source = "${datasource}"

// Dashboard is a dashboard, as far as it is checked.
type Dashboard struct {
	File  string `json:"-"`
	UID   string `json:"uid"`
	Title string `json:"title"`

	Panels     []Panel `json:"panels"`
	Templating struct {
		List []struct {
			Name, Type string
			Query      json.RawMessage
		}
	} `json:"templating"`
	Annotations struct {
		List []struct {
			Name, Expr string
			Datasource datasource
		}
	} `json:"annotations"`
}

// Panel is a panel or a row.
type Panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  datasource
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct {
		RefID, Expr string
		Datasource  datasource
	}
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct {
				Steps []struct {
					Value *float64
					Color string
				}
			}
		}
	}
}

type datasource struct{ Type, UID string }

// Dashboards reads all dashboards of a folder.
func Dashboards(dir string) ([]Dashboard, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no dashboard", dir)
	}
	all := make([]Dashboard, len(files))
	for i, file := range files {
		text, err := os.ReadFile(file) // #nosec G304 -- a test names the folder
		if err != nil {
			return nil, err
		}
		all[i].File = filepath.Base(file)
		if err := json.Unmarshal(text, &all[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return all, nil
}

// Exprs lists the expressions: of panels, annotations and variables.
func (d Dashboard) Exprs() []Expr {
	var out []Expr
	for _, p := range d.Panels {
		for _, t := range p.Targets {
			out = append(out, Expr{Where: fmt.Sprintf("%s: panel %q, query %s", d.File, p.Title, t.RefID), Text: t.Expr})
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			out = append(out, Expr{Where: fmt.Sprintf("%s: annotation %q", d.File, a.Name), Text: a.Expr})
		}
	}
	for _, v := range d.Templating.List {
		var query string
		if v.Type != "query" || json.Unmarshal(v.Query, &query) != nil {
			continue
		}
		selector := strings.TrimSuffix(strings.TrimPrefix(query, "label_values("), ", "+v.Name+")")
		out = append(out, Expr{Where: fmt.Sprintf("%s: variable %q", d.File, v.Name), Text: selector})
	}
	return out
}

// Faults lists what a reader of the dashboard would miss or stumble over: a panel
// without a title, unit, description or query, a fixed data source, an expression that
// the variables do not narrow, panels that lie on each other or outside of the grid.
func (d Dashboard) Faults() (faults []string) {
	fault := func(format string, args ...any) {
		faults = append(faults, d.File+": "+fmt.Sprintf(format, args...))
	}
	for _, name := range []string{"datasource", "namespace", "job", "pod"} {
		found := false
		for _, v := range d.Templating.List {
			found = found || v.Name == name
		}
		if !found {
			fault("no variable %s", name)
		}
	}
	for _, a := range d.Annotations.List {
		if a.Datasource.UID != source {
			fault("annotation %q: data source %q, want %s", a.Name, a.Datasource.UID, source)
		}
	}
	ids := map[int]bool{}
	for i, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			fault("panel %q: its id %d is 0 or taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		for _, f := range p.faults() {
			fault("panel %q: %s", p.Title, f)
		}
		for _, q := range d.Panels[:i] {
			if p.overlaps(q) {
				fault("panel %q lies on %q", p.Title, q.Title)
			}
		}
	}
	return append(faults, d.unnarrowed()...)
}

// unnarrowed lists the expressions that ask for pods which nobody has chosen.
func (d Dashboard) unnarrowed() (faults []string) {
	for _, e := range d.Exprs() {
		if strings.Contains(e.Where, ": variable ") {
			continue
		}
		for at, rest := 0, e.Text; ; at++ {
			i := strings.IndexByte(rest, '{')
			if i < 0 {
				if at == 0 {
					faults = append(faults, e.Where+": no variable narrows it: "+e.Text)
				}
				break
			}
			if rest = rest[i:]; !strings.HasPrefix(rest, `{namespace=~"$namespace", job=~"$job", pod=~"$pod"`) {
				faults = append(faults, e.Where+": not narrowed by the variables: "+rest)
			}
			rest = rest[1:]
		}
	}
	return faults
}

func (p Panel) faults() (faults []string) {
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	at := p.GridPos
	fault(p.Title == "", "no title")
	fault(at.X < 0 || at.Y < 0 || at.W <= 0 || at.H <= 0 || at.X+at.W > Columns, "it lies at %+v, outside of %d columns", at, Columns)
	if p.Type == "row" {
		return faults
	}
	fault(p.Description == "", "no description")
	fault(p.FieldConfig.Defaults.Unit == "", "no unit")
	fault(p.Datasource.UID != source, "data source %q, want %s", p.Datasource.UID, source)
	fault(len(p.Targets) == 0, "no query")
	refs := map[string]bool{}
	for _, t := range p.Targets {
		fault(t.Datasource.UID != source, "query %s: data source %q, want %s", t.RefID, t.Datasource.UID, source)
		fault(t.Expr == "", "query %s: no expression", t.RefID)
		fault(t.RefID == "" || refs[t.RefID], "two queries %s", t.RefID)
		refs[t.RefID] = true
	}
	last := math.Inf(-1)
	for i, s := range p.FieldConfig.Defaults.Thresholds.Steps {
		fault((s.Value == nil) != (i == 0), "the first threshold, and it alone, has no value")
		if s.Value != nil {
			fault(*s.Value <= last, "thresholds do not rise")
			last = *s.Value
		}
	}
	return faults
}

func (p Panel) overlaps(q Panel) bool {
	a, b := p.GridPos, q.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}
