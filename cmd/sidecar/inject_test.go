package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"evenkeel/internal/testkit/certs"
	"evenkeel/pkg/inject"
)

const deployment = `# mine
apiVersion: apps/v1
kind: Deployment
metadata: {name: geo}
spec:
  template:
    spec:
      containers:
      - name: tile38
        image: tile38/tile38
`

// program runs the program with an input.
func program(t *testing.T, in string, args ...string) (out, errOut string, status int) {
	t.Helper()
	var o, e bytes.Buffer
	cmd := root()
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&o)
	cmd.SetErr(&e)
	cmd.SetArgs(args)
	status = conclude(cmd.ExecuteContext(t.Context()), &e)
	return o.String(), e.String(), status
}

// TestInject: through a pipe and back, what is said of it, and exit statuses.
func TestInject(t *testing.T) {
	out, said, status := program(t, deployment, "inject", "-", "--image", "registry.example.com/sidecar:9", "--arg=--max-connections=7")
	if status != 0 || !strings.HasPrefix(said, "deployment geo: injected: the sidecar takes port 9851") {
		t.Errorf("%d %s", status, said)
	}
	for _, want := range []string{"# mine\n", "registry.example.com/sidecar:9", "--max-connections=7", "restartPolicy: Always"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	again, said, status := program(t, out, "inject", "-")
	if again != out || status != 0 || !strings.Contains(said, "skipped: it is injected already") {
		t.Errorf("%d %s\n%s", status, said, again)
	}
	back, said, status := program(t, out, "uninject", "-")
	if status != 0 || said != "deployment geo: restored\n" || back != deployment {
		t.Errorf("%d %s\n%s", status, said, back)
	}
	out, said, status = program(t, deployment, "inject", "--manual=false", "-")
	if status != 0 || said != "deployment geo: marked\n" || !strings.Contains(out, "evenkeel.io/inject: enabled") || strings.Contains(out, "initContainers") {
		t.Errorf("%d %s\n%s", status, said, out)
	}
	odd := strings.Replace(deployment, "image: tile38/tile38", "image: tile38/tile38\n        command: [run.sh]", 1)
	out, said, status = program(t, odd, "inject", "-", "--json")
	var reports []inject.Report
	if err := json.Unmarshal([]byte(said), &reports); err != nil || status != exitRefused || out != odd || len(reports) != 1 || reports[0].Outcome != inject.Refused {
		t.Errorf("%d %s %v\n%s", status, said, err, out)
	}
	if out, said, status = program(t, "a: {", "inject", "-"); status != 1 || out != "" || !strings.Contains(said, "line 1") {
		t.Errorf("%d %s\n%s", status, said, out)
	}
	if _, said, _ = program(t, "a: 1", "inject", "-"); said != "no workload in it\n" {
		t.Errorf("%s", said)
	}
	for _, args := range [][]string{
		{"inject"}, {"inject", "/nothing/there"}, {"inject", "-", "--follow=x"}, {"inject", "-", "--image="}, {"inject", "-", "--max-bytes=5"}, {"inject", "-", "--run-as-user=-2"},
		{"uninject", "-", "--max-bytes=0"}, {"uninject", "-", "--max-bytes=5"},
	} {
		if out, said, status := program(t, deployment, args...); status != 1 || out != "" || said == "" {
			t.Errorf("%v: %d %s\n%s", args, status, said, out)
		}
	}
}

// TestInjectFiles: several files are one stream of documents.
func TestInjectFiles(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for name, text := range map[string]string{"a.yaml": strings.TrimSpace(deployment), "b.yaml": "---\n" + deployment, "c.yaml": deployment} {
		files = append(files, filepath.Join(dir, name))
		if err := os.WriteFile(files[len(files)-1], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, said, status := program(t, "", append([]string{"inject"}, files...)...)
	if status != 0 || strings.Count(said, "deployment geo: injected") != 3 || strings.Count(out, "\n---\n") != 2 {
		t.Errorf("%d %s\n%s", status, said, out)
	}
}

// TestInjectedFlags: `sidecar run` takes the flags that are injected.
func TestInjectedFlags(t *testing.T) {
	t.Setenv("HOSTNAME", "geo-1")
	for name, annotations := range map[string]string{
		"leader":    "{}",
		"beside":    `{evenkeel.io/keep-ports: "true"}`,
		"follower":  "{evenkeel.io/follow: 'a:1'}",
		"set":       "{evenkeel.io/follow: 'a:1', evenkeel.io/lead-on-host: geo-0}",
		"no bridge": "{evenkeel.io/follow: 'a:1', evenkeel.io/args: --bridge=false}",
	} {
		in := `{apiVersion: v1, kind: Pod, metadata: {annotations: ` + annotations + `}, spec: {containers: [{name: t, image: tile38/tile38,
			args: [tile38-server, -d, /data, --protected-mode, "yes"], volumeMounts: [{name: data, mountPath: /data}]}]}}`
		out, said, status := program(t, in, "inject", "-")
		if status != 0 {
			t.Errorf("%s: %s", name, said)
		}
		var args []string
		for _, m := range regexp.MustCompile(`"(--[^"]*)"`).FindAllStringSubmatch(out, -1) {
			if !strings.HasPrefix(m[1], "--protected-mode") || strings.Contains(m[1], "=") { // that is the Tile38's
				args = append(args, m[1])
			}
		}
		if _, err := parse(t, args...); err != nil || len(args) < 7 {
			t.Errorf("%s: %v: %v", name, args, err)
		}
	}
}

// TestWebhookFlags: every fault is told.
func TestWebhookFlags(t *testing.T) {
	own := []string{"--cert-secret=s", "--namespace=n", "--webhook-config=w", "--cert-name=x.n.svc"}
	for want, args := range map[string][]string{
		"--cert-secret is missing":    nil,
		"--namespace is missing":      {"--namespace="},
		"--webhook-config is missing": own[:2],
		"--cert-name is missing":      own[:3],
		"want one of the two":         append([]string{"--tls-cert=c", "--tls-key=k"}, own...),
		"--tls-cert, --tls-key: ":     {"--tls-cert=c"},
		`--listen "x"`:                append([]string{"--listen=x"}, own...),
		"--probe-listen":              append([]string{"--probe-listen=x"}, own...),
		"--log-level":                 append([]string{"--log-level=x"}, own...),
		"--log-format":                append([]string{"--log-format=x"}, own...),
		"--cert-validity":             append([]string{"--cert-validity=0s"}, own...),
		"--ca-validity":               append([]string{"--ca-validity=100h"}, own...),
		"--cert-check-interval":       append([]string{"--cert-check-interval=-1s"}, own...),
		"memory-limit":                append([]string{"--memory-limit=1GB"}, own...),
		"how to reach the API server": append([]string{"--kubeconfig=/nothing/there"}, own...),
	} {
		if _, said, status := program(t, "", append([]string{"webhook"}, args...)...); status != 1 || !strings.Contains(said, want) {
			t.Errorf("%v: %d %s, want %s", args, status, said, want)
		}
	}
}

// TestWebhook: the process, with a certificate in files.
func TestWebhook(t *testing.T) {
	files := certs.New(t, "ca").Issue(t.TempDir(), "injector")
	ctx, cancel := context.WithCancel(t.Context())
	said, write := io.Pipe()
	cmd := webhookCommand()
	cmd.SetErr(write)
	cmd.SetArgs([]string{"--listen=127.0.0.1:0", "--probe-listen=127.0.0.1:0", "--tls-cert", files.Cert, "--tls-key", files.Key})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	line := make([]byte, 4096)
	n, err := said.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	go func() { defer close(drained); _, _ = io.Copy(io.Discard, said) }()
	m := regexp.MustCompile(`listen=(\S+) probes=(\S+)`).FindStringSubmatch(string(line[:n]))
	if m == nil {
		t.Fatalf("%s", line[:n])
	}
	ca, err := os.ReadFile(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "injector", MinVersion: tls.VersionTLS12},
	}}
	resp, err := client.Get("http://" + m[2] + "/readyz")
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%+v, %v", resp, err)
	}
	_ = resp.Body.Close()
	body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"7","kind":{"kind":"Pod"},"operation":"CREATE",
		"object":{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"t","image":"tile38/tile38"}]}}}}`
	resp, err = client.Post("https://"+m[1]+"/inject", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || !bytes.Contains(text, []byte(`"patchType":"JSONPatch"`)) {
		t.Errorf("%s, %v", text, err)
	}
	if resp, err = client.Get("http://" + m[2] + "/metrics"); err != nil {
		t.Fatal(err)
	}
	text, err = io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	for _, want := range []string{`evenkeel_webhook_reviews_total{outcome="injected"} 1`, "\nevenkeel_certificate_not_after_timestamp_seconds "} {
		if err != nil || !bytes.Contains(text, []byte(want)) {
			t.Errorf("no %s in /metrics, %v:\n%s", want, err, text)
		}
	}
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_ = write.Close()
	<-drained
}
