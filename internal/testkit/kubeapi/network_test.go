package kubeapi_test

import (
	"context"
	"errors"
	"net/http"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"evenkeel/internal/testkit/kubeapi"
)

// two users of one server, and a lease.
func two(t *testing.T) (s *kubeapi.Server, a, b coordination.LeaseInterface) {
	t.Helper()
	s = kubeapi.Start(t)
	of := func(name string) coordination.LeaseInterface {
		config := s.Config(name)
		config.QPS = -1
		return newClient(t, config).CoordinationV1().Leases("ns")
	}
	a, b = of("a"), of("b")
	if _, err := a.Create(t.Context(), holder("a", time.Now()), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return s, a, b
}

func get(ctx context.Context, of coordination.LeaseInterface) error {
	_, err := of.Get(ctx, "leader", metav1.GetOptions{})
	return err
}

// works fails the test unless a user is served.
func works(t *testing.T, what string, of coordination.LeaseInterface) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := get(ctx, of); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func TestCut(t *testing.T) {
	s, a, b := two(t)
	s.Cut("a")
	if err := get(soon(t), a); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("on an old connection: %v", err)
	}
	s.Cut("c") // who has no connection yet
	c := newClient(t, s.Config("c")).CoordinationV1().Leases("ns")
	if err := get(soon(t), c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("on a new connection: %v", err)
	}
	works(t, "the other user", b)
	s.Heal("a")
	s.Heal("c")
	works(t, "after the cut", a)
	works(t, "after the cut, without a connection before", c)
}

// TestCutAnswers: the client cannot know that its write was made.
func TestCutAnswers(t *testing.T) {
	s, a, b := two(t)
	lease, err := b.Get(t.Context(), "leader", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := b.Watch(t.Context(), metav1.ListOptions{ResourceVersion: lease.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	s.CutAnswers("a")
	lease.Spec.HolderIdentity = ptr("late")
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := a.Update(ctx, lease, metav1.UpdateOptions{})
		failed <- err
	}()
	next(t, w.ResultChan(), "the write")
	cancel()
	if err := next(t, failed, "the answer"); !errors.Is(err, context.Canceled) {
		t.Errorf("the write whose answer is lost: %v", err)
	}
	s.Heal("a")
	now, err := a.Get(t.Context(), "leader", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, *now.Spec.HolderIdentity, "late")
}

func TestRefuse(t *testing.T) {
	s, a, b := two(t)
	w, err := a.Watch(t.Context(), metav1.ListOptions{ResourceVersion: "999999"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for range 3 { // the port stays the same
		s.Refuse("a")
		if err := get(t.Context(), a); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a new connection: %v", err)
		}
		works(t, "the other user", b)
		s.Heal("a")
		works(t, "after that", a)
	}
	select {
	case ev, more := <-w.ResultChan(): // client-go may say why it ends
		if more && ev.Type != watch.Error {
			t.Errorf("%s %v on a connection that was reset", ev.Type, ev.Object)
		}
	case <-time.After(20 * time.Second):
		t.Error("the watch goes on over a connection that was reset")
	}
}

func TestDelay(t *testing.T) {
	s, a, b := two(t)
	s.Delay("a", 200*time.Millisecond)
	start := time.Now()
	works(t, "late", a)
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("a request that is delayed by 200 ms took %v", took)
	}
	s.Delay("a", time.Hour)
	if err := get(soon(t), a); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request that is delayed for long: %v", err)
	}
	works(t, "the other user", b)
	s.Heal("a")
	works(t, "after that", a)
}

func TestFail(t *testing.T) {
	s, a, b := two(t)
	s.Fail("a", http.StatusInternalServerError)
	if err := get(t.Context(), a); !apierrors.IsInternalError(err) {
		t.Errorf("a server that fails: %v", err)
	}
	s.Fail("a", http.StatusForbidden)
	if err := get(t.Context(), a); !apierrors.IsForbidden(err) {
		t.Errorf("a user who may not: %v", err)
	}
	works(t, "the other user", b)
	s.Fail("a", 0)
	works(t, "after that", a)
}

func TestRequests(t *testing.T) {
	s := kubeapi.Start(t)
	config := s.Config("a")
	config.QPS = -1
	client := newClient(t, config)
	leases, pods := client.CoordinationV1().Leases("ns"), client.CoreV1().Pods("ns")
	ctx := t.Context()
	// What they answer is other tests' matter.
	_, _ = leases.Get(ctx, "leader", metav1.GetOptions{})
	_, _ = leases.Create(ctx, holder("a", time.Now()), metav1.CreateOptions{})
	_, _ = leases.Create(ctx, holder("a", time.Now()), metav1.CreateOptions{})
	_, _ = pods.List(ctx, metav1.ListOptions{})
	_ = leases.Delete(ctx, "leader", metav1.DeleteOptions{})
	if w, err := pods.Watch(ctx, metav1.ListOptions{}); err == nil {
		w.Stop()
	}
	pod := s.AddPod("ns", "p", "10.0.0.1", nil)
	_, _ = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	_, _ = client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	equal(t, s.Requests("a"), []kubeapi.Request{
		{Verb: "get", Resource: "leases", Namespace: "ns", Name: "leader", Status: 404},
		{Verb: "create", Resource: "leases", Namespace: "ns", Status: 201},
		{Verb: "create", Resource: "leases", Namespace: "ns", Status: 409},
		{Verb: "list", Resource: "pods", Namespace: "ns", Status: 200},
		{Verb: "delete", Resource: "leases", Namespace: "ns", Name: "leader", Status: 200},
		{Verb: "watch", Resource: "pods", Namespace: "ns", Status: 200},
		{Verb: "update", Resource: "pods/status", Namespace: "ns", Name: "p", Status: 200},
		{Status: 404},
	})
}
