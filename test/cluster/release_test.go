package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"evenkeel/pkg/kube"
)

// release is an installed chart, in a namespace that admits restricted pods only.
type release struct {
	api       kubernetes.Interface
	namespace string
	labels    *labels
}

const (
	releaseName = "geo"
	set         = releaseName + "-evenkeel" // the StatefulSet, and the beginning of all names
	selector    = "app.kubernetes.io/instance=" + releaseName + ",app.kubernetes.io/component=server"
	clients     = 9851 // port
	probes      = 9850
)

// values are for a small machine, with reads at the leader: what they return can be checked.
const values = `
resources: {limits: {memory: 512Mi}, requests: {memory: 64Mi, cpu: 20m}}
minReplicasToWrite: 1
extraArgs: [--read-from=leader]
persistence: {size: 1Gi}
`

// install installs the chart into a new namespace, which is removed at the end of the test.
func install(t *testing.T, args ...string) *release {
	t.Helper()
	image(t)
	r := &release{api: connect(t), namespace: fmt.Sprintf("e2e-%06x", rand.IntN(1<<24))}
	t.Cleanup(r.remove)
	r.install(t, args...)
	r.watch(t)
	return r
}

func (r *release) install(t *testing.T, args ...string) {
	t.Helper()
	if _, err := r.api.CoreV1().Namespaces().Get(t.Context(), r.namespace, meta.GetOptions{}); err != nil {
		must(t, "kubectl", "create", "namespace", r.namespace)
		must(t, "kubectl", "label", "namespace", r.namespace, "pod-security.kubernetes.io/enforce=restricted")
		r.labels = watchLabels(r.api, r.namespace)
	}
	r.helm(t, "install", args...)
}

// helm installs or upgrades.
func (r *release) helm(t *testing.T, verb string, args ...string) {
	t.Helper()
	repository, tag := image(t)
	file := t.TempDir() + "/values.yaml"
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := try("helm", append([]string{
		verb, releaseName, chart, "--namespace", r.namespace, "--values", file, "--wait", "--timeout", patience.String(),
		"--set", "image.repository=" + repository + ",image.tag=" + tag,
	}, args...)...)
	if err != nil {
		r.dump(t)
		t.Fatalf("%v\n%s", err, out)
	}
}

// watch has a test fail for two leaders at once, and show the cluster when it fails.
func (r *release) watch(t *testing.T) {
	r.labels.twice()
	t.Cleanup(func() {
		for _, moment := range r.labels.twice() {
			t.Errorf("two pods labelled leader: %s", moment)
		}
		if t.Failed() {
			r.dump(t)
		}
	})
}

func (r *release) remove() {
	if r.labels != nil {
		r.labels.stop()
	}
	_, _ = try("kubectl", "delete", "namespace", r.namespace, "--wait=false", "--ignore-not-found")
}

// dump logs what explains a failure.
func (r *release) dump(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"get", "nodes", "-o", "wide"},
		{"get", "pods,pvc,statefulset,endpoints", "-o", "wide", "--show-labels"},
		{"get", "lease", "-o", "yaml"},
		{"get", "pods", "-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.annotations.evenkeel\.io/position}{"\n"}{end}`},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"logs", "--selector", selector, "--tail=80", "--prefix"},
		{"logs", "--selector", selector, "--tail=40", "--prefix", "--previous", "--ignore-errors"},
	} {
		out, err := try("kubectl", append([]string{"--namespace", r.namespace, "--request-timeout=10s"}, args...)...)
		t.Logf("--- kubectl %s\n%s%v", strings.Join(args, " "), out, err)
	}
}

// shared is a release that tests use one after the other.
var shared sharedRelease

type sharedRelease struct {
	mu sync.Mutex
	r  *release
}

// use returns the shared release, all pods ready and level. A test that fails spoils it: the next one gets another.
func use(t *testing.T) *release {
	t.Helper()
	image(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.r == nil {
		r := &release{api: connect(t), namespace: fmt.Sprintf("e2e-%06x", rand.IntN(1<<24))}
		shared.r = r
		r.install(t)
	}
	r := shared.r
	t.Cleanup(func() {
		if t.Failed() {
			shared.remove()
		}
	})
	r.watch(t)
	r.level(t)
	return r
}

func (s *sharedRelease) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.r != nil {
		s.r.remove()
		s.r = nil
	}
}

// kubectl runs it in the namespace.
func (r *release) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return must(t, "kubectl", append([]string{"--namespace", r.namespace}, args...)...)
}

// sidecar runs the program in a pod's container.
func (r *release) sidecar(t *testing.T, pod string, args ...string) string {
	t.Helper()
	return r.kubectl(t, append([]string{"exec", pod, "-c", "sidecar", "--", "/sidecar"}, args...)...)
}

// pods are those of the set, by name.
func (r *release) pods(ctx context.Context) ([]core.Pod, error) {
	all, err := r.api.CoreV1().Pods(r.namespace).List(ctx, meta.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all.Items, func(a, b core.Pod) int { return strings.Compare(a.Name, b.Name) })
	return all.Items, nil
}

// injectors are the pods of the webhook.
func (r *release) injectors(t *testing.T) []core.Pod {
	t.Helper()
	all, err := r.api.CoreV1().Pods(r.namespace).List(t.Context(), meta.ListOptions{LabelSelector: "app.kubernetes.io/component=injector"})
	if err != nil {
		t.Fatal(err)
	}
	return all.Items
}

// pod returns one, nil if there is none.
func (r *release) pod(t *testing.T, name string) *core.Pod {
	t.Helper()
	pod, err := r.api.CoreV1().Pods(r.namespace).Get(t.Context(), name, meta.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		t.Fatal(err)
	}
	return pod
}

// ready says whether a pod is.
func ready(pod *core.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == core.PodReady {
			return c.Status == core.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

// position is what a pod has published of itself.
func position(pod *core.Pod) (p kube.Published) {
	_ = json.Unmarshal([]byte(pod.Annotations[kube.AnnotationPosition]), &p) // nothing is nowhere
	return p
}

// look reads one of a pod's metrics, or a series of it; all that begin so are added up.
func (r *release) look(pod, name string) (sum float64, err error) { return lookAt(r.host(pod), name) }

// lookAt is look at a pod that need not be of the set, by its host.
func lookAt(host, name string) (sum float64, err error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + net.JoinHostPort(host, strconv.Itoa(probes)) + "/metrics")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	found := false
	for lines.Scan() {
		series, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || series != name && !strings.HasPrefix(series, name+"{") && !strings.HasPrefix(series, name+"}") {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+n, true
	}
	if !found {
		return 0, fmt.Errorf("%s has no metric %s", host, name)
	}
	return sum, lines.Err()
}

// metric is look where it must succeed.
func (r *release) metric(t *testing.T, pod, name string) float64 {
	t.Helper()
	v, err := r.look(pod, name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// same says whether all pods of the set are there, ready, and have published the same, which is
// where the leader is now.
func (r *release) same(ctx context.Context) bool {
	s, err := r.api.AppsV1().StatefulSets(r.namespace).Get(ctx, set, meta.GetOptions{})
	if err != nil {
		return false
	}
	pods, err := r.pods(ctx)
	if err != nil || len(pods) != int(*s.Spec.Replicas) {
		return false
	}
	leader := r.labels.leader()
	now, err := r.look(leader, "evenkeel_log_offset_bytes")
	if leader == "" || err != nil {
		return false
	}
	first := position(&pods[0])
	for i := range pods {
		p := position(&pods[i])
		if !ready(&pods[i]) || p.Epoch == "" || p.Epoch != first.Epoch || p.Offset != int64(now) || p.Digest != first.Digest {
			return false
		}
	}
	return r.labels.leader() == leader
}

// level waits until all pods are ready and have the same, byte by byte of their logs and
// in the digest of their data.
func (r *release) level(t *testing.T) {
	t.Helper()
	until(t, "all pods are ready and have the same", func() bool { return r.same(t.Context()) })
}

// leader waits until one pod is labelled leader, and returns its name.
func (r *release) leader(t *testing.T) (name string) {
	t.Helper()
	until(t, "one leader", func() bool { name = r.labels.leader(); return name != "" })
	return name
}

// follower is a pod that does not lead.
func (r *release) follower(t *testing.T) string {
	t.Helper()
	leader := r.leader(t)
	pods, err := r.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods {
		if pods[i].Name != leader {
			return pods[i].Name
		}
	}
	t.Fatal("there is only one pod")
	return ""
}

// newLeader waits until another pod than old leads.
func (r *release) newLeader(t *testing.T, old string) (name string) {
	t.Helper()
	until(t, "another leader than "+old, func() bool { name = r.labels.leader(); return name != "" && name != old })
	return name
}

// promote makes a pod the leader.
func (r *release) promote(t *testing.T, pod string) {
	t.Helper()
	r.sidecar(t, pod, "promote", "--pod", pod)
	until(t, pod+" leads", func() bool { return r.labels.leader() == pod })
}

// host is the name of a pod within the cluster.
func (r *release) host(pod string) string {
	return fmt.Sprintf("%s.%s-headless.%s.svc.cluster.local.", pod, set, r.namespace)
}

// service is the address of a Service.
func (r *release) service(name string) string {
	return fmt.Sprintf("%s-%s.%s.svc.cluster.local.:%d", set, name, r.namespace, clients)
}
