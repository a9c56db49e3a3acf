package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	policy "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestInstall: helm install --wait and helm test, and what is written is on all pods.
func TestInstall(t *testing.T) {
	r := use(t)
	must(t, "helm", "test", releaseName, "--namespace", r.namespace, "--timeout", "90s")
	tr := r.traffic(t)
	tr.goesOn(t, 600)
	tr.check(t)
}

// TestUpgrade: a rolling restart of all pods under load loses nothing.
func TestUpgrade(t *testing.T) {
	r := use(t)
	tr := r.traffic(t)
	tr.h.Mark()
	begun := time.Now()
	r.helm(t, "upgrade", "--set-string", "podAnnotations.again="+begun.Format("150405"))
	r.kubectl(t, "rollout", "status", "statefulset/"+set, "--timeout", patience.String())
	tr.settled(t, "upgrade, every pod restarted in "+time.Since(begun).Round(time.Second).String())
	tr.check(t)
}

// evict asks for a pod's eviction.
func (r *release) evict(t *testing.T, pod string) error {
	t.Helper()
	return r.api.PolicyV1().Evictions(r.namespace).Evict(t.Context(), &policy.Eviction{ObjectMeta: meta.ObjectMeta{Name: pod, Namespace: r.namespace}})
}

// TestEviction: one pod may be evicted, a second one at the same time may not.
func TestEviction(t *testing.T) {
	r := use(t)
	tr := r.traffic(t)
	first := r.leader(t)
	second := r.follower(t)
	until(t, "the budget knows of all pods", func() bool {
		b, err := r.api.PolicyV1().PodDisruptionBudgets(r.namespace).Get(t.Context(), set, meta.GetOptions{})
		return err == nil && b.Status.DisruptionsAllowed == 1
	})
	tr.h.Mark()
	if err := r.evict(t, first); err != nil {
		t.Fatalf("evict %s: %v", first, err)
	}
	if err := r.evict(t, second); !apierrors.IsTooManyRequests(err) {
		t.Errorf("evict %s while %s is away: %v, want a refusal", second, first, err)
	}
	tr.settled(t, "leader evicted")
	tr.check(t)
}

// TestScale: pods come with everything, and go with nothing lost, the leader's too.
func TestScale(t *testing.T) {
	r := use(t)
	tr := r.traffic(t)
	t.Cleanup(func() { r.kubectl(t, "scale", "statefulset", set, "--replicas=3") })
	r.kubectl(t, "scale", "statefulset", set, "--replicas=5")
	r.back(t, set+"-3")
	r.back(t, set+"-4")
	last := set + "-4"
	r.promote(t, last)
	tr.h.Mark()
	r.kubectl(t, "scale", "statefulset", set, "--replicas=3")
	r.newLeader(t, last)
	tr.settled(t, "leader scaled away")
	until(t, "three pods", func() bool { pods, err := r.pods(t.Context()); return err == nil && len(pods) == 3 })
	// Back again, with a volume that is old by now.
	tr.goesOn(t, 300)
	r.kubectl(t, "scale", "statefulset", set, "--replicas=4")
	r.back(t, set+"-3")
	tr.check(t)
}

// forward begins a kubectl port-forward to a pod's admin port, and returns the address here.
func (r *release) forward(t *testing.T, pod string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "kubectl", "--namespace", r.namespace, "port-forward", "pod/"+pod, ":9849")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 2 && strings.HasPrefix(words[2], "127.0.0.1:") {
			return words[2]
		}
	}
	t.Fatalf("kubectl port-forward says no address: %v", lines.Err())
	return ""
}

// TestPortForward: the admin port, which listens on the pod's loopback address alone, is reached
// through kubectl, and tells the truth.
func TestPortForward(t *testing.T) {
	r := use(t)
	tr := r.traffic(t)
	tr.goesOn(t, 300)
	tr.check(t)
	pod := r.follower(t)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + r.forward(t, pod) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var status struct {
		Ready  bool
		Epoch  string
		Offset int64
		Digest string
	}
	if err := json.NewDecoder(answer.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	if p := position(r.pod(t, pod)); !status.Ready || status.Epoch != p.Epoch || status.Offset != p.Offset || status.Digest != p.Digest {
		t.Errorf("/status says %+v, the pod has published %+v", status, p)
	}
}

// TestRestricted: the namespace admits restricted pods only, and really does.
func TestRestricted(t *testing.T) {
	r := use(t)
	_, err := try("kubectl", "--namespace", r.namespace, "run", "root", "--image=localhost/none:1", "--restart=Never")
	if err == nil || !strings.Contains(err.Error(), "violates PodSecurity \"restricted") {
		t.Errorf("a pod of no class is admitted: %v", err)
	}
	pods, err := r.pods(t.Context())
	if err != nil || len(pods) != 3 {
		t.Fatalf("%d pods, %v", len(pods), err)
	}
	tr := r.traffic(t)
	tr.goesOn(t, 300)
	tr.check(t)
}

// TestUninstall: nothing is left but the claims, and with them a new release goes on.
func TestUninstall(t *testing.T) {
	r := install(t)
	tr := r.traffic(t)
	tr.goesOn(t, 300)
	tr.check(t)
	must(t, "helm", "uninstall", releaseName, "--namespace", r.namespace, "--wait", "--timeout", patience.String())
	kinds := strings.Join(strings.Fields(must(t, "kubectl", "api-resources", "--verbs=list", "--namespaced", "-o", "name")), ",")
	var left []string
	until(t, "nothing is left", func() bool {
		left = nil
		for _, name := range strings.Fields(r.kubectl(t, "get", kinds, "-o", "name", "--ignore-not-found")) {
			if !ofNamespace(name) {
				left = append(left, name)
			}
		}
		return len(left) == 3
	})
	for i, name := range left {
		if want := fmt.Sprintf("persistentvolumeclaim/data-%s-%d", set, i); name != want {
			t.Errorf("left: %s, want %s", name, want)
		}
	}
	r.helm(t, "install")
	r.level(t)
	if lost, of := tr.lost(t); lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, of)
	}
}

// ofNamespace says whether an object is not the chart's: every namespace has it, or it is a note of
// what has happened.
func ofNamespace(name string) bool {
	kind, _, _ := strings.Cut(name, "/")
	return name == "configmap/kube-root-ca.crt" || name == "serviceaccount/default" || strings.HasPrefix(kind, "event")
}
