package e2e

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"evenkeel/internal/promexpr"
	"evenkeel/internal/testkit"
)

// The dashboards and the rules.
const (
	dashboards = "../../deploy/helm/dashboards"
	ruleFile   = "../../deploy/helm/rules/evenkeel.yaml"
)

// exported is what sidecars export: the labels of each series, by metric.
type exported map[string][]map[string]string

var labelPair = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)

// scrape adds what a sidecar exports.
func (x exported) scrape(s *server) {
	s.t.Helper()
	_, body := get(s.t, "http://"+s.probe+"/metrics")
	for line := range strings.Lines(body) {
		if line[0] == '#' {
			continue
		}
		name := line[:strings.IndexAny(line, "{ ")]
		labels := map[string]string{}
		for _, m := range labelPair.FindAllStringSubmatch(line[len(name):], -1) {
			labels[m[1]] = m[2]
		}
		x[name] = append(x[name], labels)
	}
}

// discovered are labels that Prometheus adds: they say which pod it was.
var discovered = []string{"namespace", "job", "pod"}

// has tells whether a selector finds something. What the last check of the log decided
// changes: any cause will do.
func (x exported) has(s promexpr.Selector) bool {
	return slices.ContainsFunc(x[s.Metric], func(labels map[string]string) bool {
		for _, m := range s.Matchers {
			value, there := labels[m.Name]
			if !slices.Contains(discovered, m.Name) && (!there || m.Name != "cause" && !m.Matches(value)) {
				return false
			}
		}
		return true
	})
}

// embeddedPods is what a leader and a follower with the embedded engine export after
// some traffic, a compaction and a webhook, and one that speaks TLS.
func embeddedPods(t *testing.T) exported {
	l := start(t, t.TempDir(), "--aofshrink-check-interval", "100ms")
	f := start(t, t.TempDir(), "--follow", l.addr, "--aofshrink-check-interval", "100ms")
	e := newEndpoint(t)
	l.hook("h", e.URL, "fleet")
	l.fill("fleet", 100)
	l.words("AOFSHRINK")
	l.waitFor("a compaction", func() bool { return l.metric("evenkeel_compaction_last_end_timestamp_seconds") > 0 })
	f.waitFor("readiness", f.ready)
	x := exported{}
	secure := start(t, t.TempDir(), append(newAuthority(t).flags("pod"), "--aofshrink-check-interval", "100ms")...)
	for _, s := range []*server{l, f, secure} {
		s.waitFor("a look at the log", func() bool { return x.look(s) })
		x.scrape(s)
	}
	return x
}

// look tells whether the compactor has looked at the log.
func (x exported) look(s *server) bool {
	now := exported{}
	now.scrape(s)
	return len(now["evenkeel_compaction_threshold_bytes"]) > 0
}

// tile38Pods is what sidecars beside Tile38s export: a leader's, a follower's with a
// bridge and one's without.
func tile38Pods(t *testing.T, machine func() testkit.Machine) exported {
	dir := func(m testkit.Machine) string { return filepath.Dir(m.File()) }
	lm, bm, pm := machine(), machine(), machine()
	args := []string{"--engine-memory-limit", "1gb", "--aofshrink-check-interval", "100ms", "--verify-interval", "200ms"}
	l := beside(t, lm, append(args, "--engine-dir", dir(lm))...)
	l.waitFor("readiness", l.ready)
	b := beside(t, bm, append(args, "--follow", l.addr, "--engine-dir", dir(bm))...)
	p := beside(t, pm, append(args, "--follow", l.addr, "--bridge=false")...)
	l.fill("fleet", 100)
	b.words("SET fleet own POINT 1 2")
	x := exported{}
	for _, s := range []*server{l, b, p} {
		s.waitFor("readiness", s.ready)
		s.words("GET fleet own")
		if s != p { // whose log is left alone
			s.waitFor("a look at the log", func() bool { return x.look(s) })
		}
	}
	l.waitFor("its followers", func() bool { return len(l.pod().Followers) == 2 })
	if role := p.role(); role != "follower" {
		t.Errorf("a follower without a bridge calls itself %q", role)
	}
	for _, s := range []*server{l, b, p} {
		x.scrape(s)
	}
	return x
}

// role is what a pod exports as its role.
func (s *server) role() string {
	x := exported{}
	x.scrape(s)
	if infos := x["tile38_replication_info"]; len(infos) == 1 {
		return infos[0]["role"]
	}
	return ""
}

// asked are all expressions of dashboards and rules, and the metrics that the rules
// record.
func asked(t *testing.T) (exprs []promexpr.Expr, recorded map[string]bool) {
	t.Helper()
	ds, err := promexpr.Dashboards(dashboards)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		exprs = append(exprs, d.Exprs()...)
	}
	rules, err := promexpr.Rules(ruleFile)
	if err != nil {
		t.Fatal(err)
	}
	recorded = map[string]bool{}
	for _, r := range rules {
		exprs = append(exprs, r.Expr)
		if r.Record != "" {
			recorded[r.Record] = true
		}
	}
	return exprs, recorded
}

// TestWhatIsAskedIsExported: every metric that a dashboard or a rule asks for, with the
// labels that it goes by, is exported by a sidecar of one kind or the other; and the
// three pictures of the overview are drawn for both.
func TestWhatIsAskedIsExported(t *testing.T) {
	exprs, recorded := asked(t)
	own := embeddedPods(t)
	onTile38(t, func(t *testing.T, machine func() testkit.Machine) {
		answered(t, exprs, recorded, map[string]exported{"embedded": own, "tile38": tile38Pods(t, machine)})
	})
}

// answered holds the expressions to what sidecars of both kinds export.
func answered(t *testing.T, exprs []promexpr.Expr, recorded map[string]bool, kinds map[string]exported) {
	t.Helper()
	elsewhere := promexpr.Elsewhere()
	for _, e := range exprs {
		ss, err := e.Selectors()
		if err != nil {
			t.Error(err)
		}
		for _, s := range ss {
			if elsewhere[promexpr.Family(s.Metric)] != "" || recorded[s.Metric] {
				continue
			}
			if !kinds["embedded"].has(s) && !kinds["tile38"].has(s) {
				t.Errorf("%s asks for %s%v, which nobody exports", e.Where, s.Metric, s.Matchers)
			}
		}
	}
	for name := range elsewhere {
		if len(kinds["embedded"][name])+len(kinds["tile38"][name]) > 0 && name != "evenkeel_memory_cgroup_limit_bytes" {
			t.Errorf("%s is exported: take it off the list of exceptions", name)
		}
	}
	for _, panel := range []string{"Memory", "Size of the log", "Latency, p50", "Latency, p99", "Latency, p999", "Role", "Ready", "Behind the leader", "Least free disk"} {
		for kind, x := range kinds {
			if !drawn(t, exprs, `evenkeel-overview.json: panel "`+panel+`"`, x) {
				t.Errorf("%s: nothing is drawn in %q", kind, panel)
			}
		}
	}
}

// drawn tells whether one of the expressions of a panel has all that it asks for.
func drawn(t *testing.T, exprs []promexpr.Expr, panel string, x exported) bool {
	t.Helper()
	found := false
	for _, e := range exprs {
		if !strings.HasPrefix(e.Where, panel) {
			continue
		}
		ss, err := e.Selectors()
		if err != nil {
			t.Fatal(err)
		}
		all := true
		for _, s := range ss {
			all = all && (x.has(s) || promexpr.Elsewhere()[s.Metric] != "")
		}
		found = found || all
	}
	return found
}
