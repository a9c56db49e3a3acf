package cluster

import (
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
	r.helm(t, "upgrade", "--set", "podAnnotations.again="+begun.Format("150405"))
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
