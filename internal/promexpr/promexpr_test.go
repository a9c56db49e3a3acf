package promexpr

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestExpr(t *testing.T) {
	e := Expr{Where: "here", Text: `sum(rate(a_bucket{namespace=~"$namespace", le="1"}[$__rate_interval])) / on (pod) b_total > c`}
	ss, err := e.Selectors()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range ss {
		names = append(names, s.Metric)
	}
	if want := []string{"a_bucket", "b_total", "c"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	if m := ss[0].Matchers; len(m) != 2 || m[0].Name != "namespace" || m[0].Value != ".+" || m[1].Name != "le" {
		t.Errorf("matchers %v", m)
	}
	got, err := Metrics([]Expr{e, {Text: "c + a_count - a_sum"}})
	if want := []string{"a", "b_total", "c"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for text, want := range map[string]string{
		"sum(a": "here: ", "a{x=~\"$nothing\"}": "an unknown variable: $nothing", `{job="x"}`: "without the name of a metric",
	} {
		if _, err := (Expr{Where: "here", Text: text}).Selectors(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// good is a dashboard that nothing is wrong with.
const good = `{"uid": "u", "title": "t",
 "templating": {"list": [{"name": "datasource", "type": "datasource"},
  {"name": "namespace", "type": "query", "query": "label_values(up, namespace)"}, {"name": "job"}, {"name": "pod"}]},
 "annotations": {"list": [{"name": "a", "datasource": {"uid": "${datasource}"}, "expr": "b{namespace=~\"$namespace\", job=~\"$job\", pod=~\"$pod\"}"}]},
 "panels": [{"id": 1, "type": "row", "title": "r", "gridPos": {"x": 0, "y": 0, "w": 24, "h": 1}},
  {"id": 2, "type": "stat", "title": "p", "description": "d", "datasource": {"uid": "${datasource}"}, "gridPos": {"x": 12, "y": 1, "w": 12, "h": 8},
   "targets": [{"refId": "A", "datasource": {"uid": "${datasource}"}, "expr": "x{namespace=~\"$namespace\", job=~\"$job\", pod=~\"$pod\"}"}],
   "fieldConfig": {"defaults": {"unit": "s", "thresholds": {"steps": [{"value": null}, {"value": 1}, {"value": 2}]}}}}]}`

// TestFaults: nothing is wrong with good, and each change of it is found.
func TestFaults(t *testing.T) {
	faults := func(text string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "x.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ds, err := Dashboards(dir)
		if err != nil || len(ds) != 1 {
			t.Fatalf("%v, %v", ds, err)
		}
		if n := len(ds[0].Exprs()); n != 3 {
			t.Errorf("%d expressions, want those of a panel, an annotation and a variable", n)
		}
		return strings.Join(ds[0].Faults(), "\n")
	}
	if got := faults(good); got != "" {
		t.Errorf("a good dashboard: %s", got)
	}
	for _, c := range []struct{ from, to, want string }{
		{`"title": "p"`, `"title": ""`, "no title"},
		{`"description": "d"`, `"description": ""`, "no description"},
		{`"unit": "s"`, `"unit": ""`, "no unit"},
		{`"description": "d", "datasource": {"uid": "${datasource}"}`, `"description": "d", "datasource": {"uid": "p1"}`, `panel "p": data source "p1"`},
		{`"refId": "A", "datasource": {"uid": "${datasource}"}`, `"refId": "A", "datasource": {"uid": "p1"}`, `query A: data source "p1"`},
		{`"name": "a", "datasource": {"uid": "${datasource}"}`, `"name": "a", "datasource": {"uid": "p1"}`, `annotation "a": data source "p1"`},
		{`"x": 12`, `"x": 13`, "outside of 24 columns"},
		{`"y": 1,`, `"y": 0,`, `lies on "r"`},
		{`"id": 2`, `"id": 1`, "taken"},
		{`x{namespace=~\"$namespace\"`, `x{namespace=~\".+\"`, "not narrowed"},
		{`x{namespace=~\"$namespace\", job=~\"$job\", pod=~\"$pod\"}`, `x`, "no variable narrows it"},
		{`{"value": 2}`, `{"value": 1}`, "do not rise"},
		{`{"value": null}`, `{"value": 0}`, "first threshold"},
		{`{"name": "pod"}`, `{"name": "port"}`, "no variable pod"},
	} {
		if strings.Count(good, c.from) != 1 {
			t.Fatalf("%s is not there once", c.from)
		}
		if got := faults(strings.Replace(good, c.from, c.to, 1)); !strings.Contains(got, c.want) {
			t.Errorf("%s: found %q, want %q", c.to, got, c.want)
		}
	}
	if _, err := Dashboards(t.TempDir()); err == nil {
		t.Error("an empty folder passes")
	}
}

// rules are the rule file and its tests.
const rules = "../../deploy/helm/rules/"

// TestRules: the rules parse as Prometheus parses them, every alert says how bad it
// is, what is up, with values, and where to read on, and that is there.
func TestRules(t *testing.T) {
	all, err := Rules(rules + "evenkeel.yaml")
	if err != nil {
		t.Fatal(err)
	}
	book, err := os.ReadFile("../../docs/RUNBOOKS.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range all {
		if _, err := r.Parse(); err != nil {
			t.Error(err)
		}
		if r.Record != "" {
			continue
		}
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: severity %q", r.Where, s)
		}
		key := r.Alert + " " + r.Labels["cause"]
		if seen[key] {
			t.Errorf("two alerts %s: Prometheus could not tell them apart", key)
		}
		seen[key] = true
		if r.Annotations["summary"] == "" || !strings.Contains(r.Annotations["description"], "{{ $labels.") {
			t.Errorf("%s: summary %q, description %q", r.Where, r.Annotations["summary"], r.Annotations["description"])
		}
		if want := "docs/RUNBOOKS.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url %q, want %q", r.Where, r.Annotations["runbook_url"], want)
		}
		if !strings.Contains(string(book), "\n## "+r.Alert+"\n") {
			t.Errorf("docs/RUNBOOKS.md has no section %s", r.Alert)
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d alerts", len(seen))
	}
}

// TestRulesAreTested: every alert has a test in which it fires and one in which it
// does not, with its cause. promtool runs them (make rules-check).
func TestRulesAreTested(t *testing.T) {
	files, err := filepath.Glob(rules + "tests/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, check := range strings.Split(string(text), "- eval_time:")[1:] {
			name := after(check, "alertname: ")
			if strings.Contains(check, "exp_alerts: []") {
				quiet[name] = true
				continue
			}
			for _, alert := range strings.Split(check, "- exp_labels:")[1:] {
				fires[name+" "+after(alert, "              cause: ")] = true
			}
		}
	}
	all, err := Rules(rules + "evenkeel.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Alert == "" {
			continue
		}
		if key := r.Alert + " " + r.Labels["cause"]; !fires[key] {
			t.Errorf("no test in which %s fires", key)
		}
		if !quiet[r.Alert] {
			t.Errorf("no test in which %s does not fire", r.Alert)
		}
	}
}

// after returns what stands behind word on its line; "" when it is not there.
func after(text, word string) string {
	_, rest, _ := strings.Cut(text, word)
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
