package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// chart is where the chart is, from the folder of the package.
const chart = "../../deploy/helm"

// patience is how long a test waits for what must come: two shared cores are slow.
const patience = 2 * time.Minute

// quiet keeps what the clients' library says of each failed dial out of the output.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	code := m.Run()
	shared.remove()
	measured.print()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// image is that of the sidecar. Without one the test is skipped.
func image(t *testing.T) (repository, tag string) {
	t.Helper()
	ref := os.Getenv("EVENKEEL_IMAGE")
	if ref == "" || os.Getenv("KUBECONFIG") == "" {
		t.Skip("no cluster: KUBECONFIG and EVENKEEL_IMAGE are not set; `make e2e` sets them")
	}
	at := strings.LastIndex(ref, ":")
	if at < 0 {
		t.Fatalf("EVENKEEL_IMAGE=%s: want a tag", ref)
	}
	return ref[:at], ref[at+1:]
}

// connect returns a client of the cluster's API server.
func connect(t *testing.T) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 50, 100
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// try runs a command and returns what it says.
func try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, fault bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &fault
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(fault.String()))
	}
	return out.String(), nil
}

// must runs a command that must succeed.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := try(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// until waits until ok holds.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s for: %s", patience, what)
		}
	}
}

// figures are what is worth knowing of a run.
type figures struct {
	mu    sync.Mutex
	lines []string
}

// measured are the figures of all tests, printed at the end.
var measured figures

// note logs a figure of a test and keeps it.
func (f *figures) note(t *testing.T, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	t.Log(text)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, fmt.Sprintf("FIGURE  %-24s %s", t.Name(), text))
}

func (f *figures) print() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, line := range f.lines {
		fmt.Println(line)
	}
}
