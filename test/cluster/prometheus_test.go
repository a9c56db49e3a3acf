package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"

	"evenkeel/internal/promexpr"
)

// prometheus is a real one, which scrapes a release's pods and evaluates the chart's rules.
// Debian's does not know how to find pods, so it is told.
type prometheus struct {
	t    *testing.T
	r    *release
	addr string
	file string // with its targets, which it reads again when it changes
}

// waits are the times that an alert's condition has to hold, which no test waits for.
var waits = regexp.MustCompile(`(?m)^( *)for: .*$`)

// scrapes starts it.
func (r *release) scrapes(t *testing.T) *prometheus {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip("there is no prometheus in PATH; the kit has it: cluster tool prometheus")
	}
	dir := t.TempDir()
	rules, err := os.ReadFile(filepath.Join(chart, "rules", "evenkeel.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	config := `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: evenkeel
    file_sd_configs: [{files: [targets.json]}]
`
	for name, text := range map[string]string{"prometheus.yaml": config, "rules.yaml": waits.ReplaceAllString(string(rules), "${1}for: 0s")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &prometheus{t: t, r: r, addr: ln.Addr().String(), file: filepath.Join(dir, "targets.json")}
	_ = ln.Close()
	p.find()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "prometheus", "--config.file", filepath.Join(dir, "prometheus.yaml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", p.addr, "--log.level", "warn")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	until(t, "Prometheus is ready", func() bool { _, err := p.ask("vector(1)"); return err == nil })
	return p
}

// find tells it where the pods are now.
func (p *prometheus) find() {
	p.t.Helper()
	type target struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	pods, err := p.r.pods(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	var all []target
	for job, pods := range map[string][]core.Pod{"evenkeel": pods, "injector": p.r.injectors(p.t)} {
		for i := range pods {
			all = append(all, target{
				Targets: []string{net.JoinHostPort(pods[i].Status.PodIP, strconv.Itoa(probes))},
				Labels:  map[string]string{"namespace": p.r.namespace, "job": job, "pod": pods[i].Name},
			})
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(p.file+".new", text, 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(p.file+".new", p.file); err != nil {
		p.t.Fatal(err)
	}
}

// ask returns how many series a query has.
func (p *prometheus) ask(query string) (series int, err error) {
	resp, err := http.PostForm("http://"+p.addr+"/api/v1/query", url.Values{"query": {query}})
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result []json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Error != "" {
		return 0, fmt.Errorf("%s: %s", query, answer.Error)
	}
	return len(answer.Data.Result), nil
}

// has says whether a query has series.
func (p *prometheus) has(query string) bool {
	p.t.Helper()
	n, err := p.ask(query)
	if err != nil {
		p.t.Error(err)
	}
	return n > 0
}

// unasked are the metrics that an embedded engine does not export: those of pods with a
// Tile38. That they exist is shown by TestWhatIsAskedIsExported of test/e2e.
var unasked = regexp.MustCompile(`^evenkeel_(engine|bridge|follower_condition|replication_followers|followers_differing|follower_comparisons)`)

// lacking are the selectors of an expression that select nothing, but for those of pods with a Tile38.
func (p *prometheus) lacking(e promexpr.Expr) (lacking []string) {
	p.t.Helper()
	selectors, err := e.Selectors()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, s := range selectors {
		if unasked.MatchString(s.Metric) {
			continue
		}
		var matchers []string
		for _, m := range s.Matchers {
			if m.Name != "cause" { // it is there while it is the cause
				matchers = append(matchers, m.String())
			}
		}
		if q := s.Metric + "{" + strings.Join(matchers, ",") + "}"; !p.has("last_over_time(" + q + "[10m])") {
			lacking = append(lacking, q)
		}
	}
	return lacking
}

// TestPrometheus: a real Prometheus finds the pods, and every expression of the dashboards
// and the rules has what it asks for. Alerts fire when their time has come.
func TestPrometheus(t *testing.T) {
	r := install(t, "--set", "injector.enabled=true,injector.replicas=1,injector.extraArgs={--cert-check-interval=1s}")
	p := r.scrapes(t)
	leader := connectTo(r.service("leader"))
	defer func() { _ = leader.Close() }()
	until(t, "the Service of the leader", func() bool { return leader.Do(t.Context(), "PING").Err() == nil })
	say := func(words ...any) {
		t.Helper()
		if err := leader.Do(t.Context(), words...).Err(); err != nil {
			t.Fatalf("%v: %v", words, err)
		}
	}
	// A webhook that nobody takes, a channel, a compaction, a resync, and commands.
	say("SETHOOK", "nobody", "http://127.0.0.1:1/", "NEARBY", "fleet", "FENCE", "POINT", 1, 1, 1e6)
	say("SETCHAN", "all", "NEARBY", "fleet", "FENCE", "POINT", 1, 1, 1e6)
	tr := r.traffic(t)
	for i := range 200 {
		say("SET", "fleet", fmt.Sprint(i), "FIELD", "speed", i, "POINT", 1, 1)
		say("NEARBY", "fleet", "LIMIT", 5, "POINT", 1, 1, 1e5)
	}
	say("AOFSHRINK", "WAIT", 60000)
	old := r.leader(t)
	must(t, "kubectl", "--namespace", r.namespace, "delete", "pod", r.follower(t))
	until(t, "all pods are ready", func() bool {
		pods, err := r.pods(t.Context())
		return err == nil && len(pods) == 3 && ready(&pods[0]) && ready(&pods[1]) && ready(&pods[2])
	})
	p.find()
	r.promote(t, r.follower(t))
	say("SET", "fleet", "x", "POINT", 1, 1)
	until(t, "a minute of rates", func() bool { return p.has(`count_over_time(up{pod="` + old + `"}[1m]) > 50`) })
	tr.stop()

	rules, err := promexpr.Rules(filepath.Join(chart, "rules", "evenkeel.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	boards, err := promexpr.Dashboards(filepath.Join(chart, "dashboards"))
	if err != nil {
		t.Fatal(err)
	}
	var all []promexpr.Expr
	for _, rule := range rules {
		all = append(all, rule.Expr)
	}
	for _, b := range boards {
		all = append(all, b.Exprs()...)
	}
	answered, quiet := 0, 0
	for _, e := range all {
		if strings.HasPrefix(e.Query(), "label_values(") || p.has(e.Query()) {
			answered++
			continue
		}
		// What it asks for is there, but not as it asks: an alert that does not fire.
		quiet++
		if lacking := p.lacking(e); len(lacking) > 0 {
			t.Errorf("%s: %s\nhas no series of %s", e.Where, e.Query(), strings.Join(lacking, ", "))
		}
	}
	measured.note(t, "%d expressions: %d have data, of %d all that they ask for is there", len(all), answered, quiet)
	if answered < len(all)/2 {
		t.Errorf("%d of %d expressions have data", answered, len(all))
	}
	p.fires("EvenkeelNoLeader", "scale", "statefulset", set, "--replicas=0")
	p.fires("EvenkeelCertificateEnds", "delete", "rolebinding", set+"-injector")
}

// fires: an alert does, and only when kubectl has done something.
func (p *prometheus) fires(alert string, done ...string) {
	p.t.Helper()
	firing := fmt.Sprintf(`ALERTS{alertname=%q,alertstate="firing"}`, alert)
	if p.has(firing) {
		p.t.Errorf("%s fires already", alert)
	}
	must(p.t, "kubectl", append([]string{"--namespace", p.r.namespace}, done...)...)
	until(p.t, alert, func() bool { return p.has(firing) })
}
