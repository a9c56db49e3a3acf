package kubeapi_test

import (
	"context"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"evenkeel/internal/testkit/kubeapi"
)

// candidate runs client-go's election until the test ends or stop is called; what
// it becomes is in told: "leads" and "lost".
func candidate(t *testing.T, config *rest.Config, namespace, id string) (told <-chan string, stop func()) {
	t.Helper()
	config.QPS = -1
	client := newClient(t, config)
	events := make(chan string, 16)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: "leader"},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: id},
		},
		LeaseDuration: 2 * time.Second, RenewDeadline: time.Second, RetryPeriod: 100 * time.Millisecond,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { events <- "leads" },
			OnStoppedLeading: func() { events <- "lost" },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { elector.Run(ctx) })
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return events, stop
}

func newClient(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// next waits for a word of one of the channels.
func next[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case got, ok := <-from:
		if !ok {
			t.Fatalf("%s: the channel is closed", what)
		}
		return got
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: nothing in 20 s", what)
	}
	panic("unreachable")
}

func expect(t *testing.T, from <-chan string, want, what string) {
	t.Helper()
	if got := next(t, from, what); got != want {
		t.Fatalf("%s: %q, want %q", what, got, want)
	}
}

// TestElection: of two candidates one leads; the other one does when the first is
// cut off or leaves, and the lease counts the transitions.
func TestElection(t *testing.T) {
	s := kubeapi.Start(t)
	first, stopFirst := candidate(t, s.Config("a"), "ns", "a")
	expect(t, first, "leads", "the only candidate")
	second, stopSecond := candidate(t, s.Config("b"), "ns", "b")

	s.Cut("a")
	expect(t, first, "lost", "the leader that is cut off")
	expect(t, second, "leads", "the other one")
	stopFirst()
	s.Heal("a")

	first, _ = candidate(t, s.Config("a"), "ns", "a")
	stopSecond()
	expect(t, second, "lost", "the leader that leaves")
	expect(t, first, "leads", "the one that is left")

	lease, err := s.Client().CoordinationV1().Leases("ns").Get(t.Context(), "leader", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := *lease.Spec.HolderIdentity; got != "a" {
		t.Errorf("the lease is held by %q, want a", got)
	}
	if got := *lease.Spec.LeaseTransitions; got < 2 {
		t.Errorf("%d transitions, want 2 or more", got)
	}
	if lease.Spec.RenewTime.Nanosecond()%int(time.Millisecond) == 0 {
		t.Errorf("the time of renewal %v has lost its microseconds", lease.Spec.RenewTime)
	}
}

// TestOnUpdate: a hook sees every state, in order.
func TestOnUpdate(t *testing.T) {
	s := kubeapi.Start(t)
	var seen []string
	s.OnUpdate(func(event watch.EventType, obj runtime.Object) {
		if pod, ok := obj.(*corev1.Pod); ok {
			seen = append(seen, string(event)+" "+pod.Name+" "+pod.Labels["role"])
		}
	})
	s.AddPod("ns", "p", "10.0.0.1", map[string]string{"role": "follower"})
	patch(t, s.Client(), "ns", "p", `{"metadata":{"labels":{"role":"leader"}}}`)
	patch(t, s.Client(), "ns", "p", `{"metadata":{"labels":{"role":"leader"}}}`) // changes nothing
	now := int64(0)
	if err := s.Client().CoreV1().Pods("ns").Delete(t.Context(), "p", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	equal(t, seen, []string{"ADDED p follower", "MODIFIED p follower", "MODIFIED p leader", "MODIFIED p leader", "DELETED p leader"})
}
