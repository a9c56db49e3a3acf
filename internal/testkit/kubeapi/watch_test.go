package kubeapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"evenkeel/internal/testkit/kubeapi"
)

// open begins a watch of pods, which ends with the test.
func (e env) open(t *testing.T, opt metav1.ListOptions) watch.Interface {
	t.Helper()
	w, err := e.CoreV1().Pods(e.namespace).Watch(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

// events takes as many as are wanted, as "ADDED name role", and compares.
func events(t *testing.T, w watch.Interface, want ...string) (last *corev1.Pod) {
	t.Helper()
	for _, one := range want {
		last = is(t, next(t, w.ResultChan(), one), one)
	}
	return last
}

// is compares one event.
func is(t *testing.T, ev watch.Event, want string) *corev1.Pod {
	t.Helper()
	if err := apierrors.FromObject(ev.Object); ev.Type == watch.Error &&
		(apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) || strings.Contains(err.Error(), "RequestWatchProgress is disabled")) {
		t.Skipf("the etcd of this server is too old to say how far it is: %v", err)
	}
	pod, ok := ev.Object.(*corev1.Pod)
	if !ok {
		t.Fatalf("%s: got %s %v", want, ev.Type, ev.Object)
	}
	equal(t, fmt.Sprintf("%s %s %s", ev.Type, pod.Name, pod.Labels["role"]), want)
	return pod
}

func leads(p *corev1.Pod) { p.Labels["role"] = "leader" }

// TestWatch: the state comes first where no revision is named; behind a revision
// comes what happened since.
func TestWatch(t *testing.T) {
	each(t, func(t *testing.T, e env) {
		pods := e.CoreV1().Pods(e.namespace)
		e.pod(t, "a", leads)
		second := e.pod(t, "b")
		fromNothing := e.open(t, metav1.ListOptions{FieldSelector: "metadata.name=a"})
		fromZero := e.open(t, metav1.ListOptions{ResourceVersion: "0"})
		behind := e.open(t, metav1.ListOptions{ResourceVersion: second.ResourceVersion})
		events(t, fromNothing, "ADDED a leader")
		events(t, fromZero, "ADDED a leader", "ADDED b ")

		patch(t, e, e.namespace, "b", `{"metadata":{"labels":{"role":"leader"}}}`)
		patch(t, e, e.namespace, "b", `{"metadata":{"labels":{"role":"leader"}}}`) // changes nothing
		patch(t, e, e.namespace, "a", `{"metadata":{"labels":{"role":"follower"}}}`)
		if err := pods.Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		// A deletion is first said in the pod, also when it is at once.
		events(t, fromNothing, "MODIFIED a follower", "MODIFIED a follower", "DELETED a follower")
		events(t, fromZero, "MODIFIED b leader", "MODIFIED a follower", "MODIFIED a follower", "DELETED a follower")
		last := events(t, behind, "MODIFIED b leader", "MODIFIED a follower", "MODIFIED a follower", "DELETED a follower")

		// The event of a deletion is a place to go on from.
		again := e.open(t, metav1.ListOptions{ResourceVersion: last.ResourceVersion})
		e.pod(t, "c")
		events(t, again, "ADDED c ")
	})
}

// TestWatchSelector: what comes to match is added, what no longer does is deleted.
func TestWatchSelector(t *testing.T) {
	each(t, func(t *testing.T, e env) {
		first := e.pod(t, "a", leads)
		w := e.open(t, metav1.ListOptions{LabelSelector: "role=leader", ResourceVersion: first.ResourceVersion})
		e.pod(t, "b")
		patch(t, e, e.namespace, "a", `{"metadata":{"labels":{"role":"follower"}}}`)
		patch(t, e, e.namespace, "a", `{"metadata":{"annotations":{"x":"y"}}}`)
		patch(t, e, e.namespace, "b", `{"metadata":{"labels":{"role":"leader"}}}`)
		patch(t, e, e.namespace, "b", `{"metadata":{"annotations":{"x":"y"}}}`)
		left := events(t, w, "DELETED a leader")
		if left.ResourceVersion == first.ResourceVersion {
			t.Error("the deletion is at the revision of the creation: a watch from there would see it again")
		}
		events(t, w, "ADDED b leader", "MODIFIED b leader")
	})
}

// gone fails the test unless the watch ends with 410.
func gone(t *testing.T, w watch.Interface) {
	t.Helper()
	expired(t, next(t, w.ResultChan(), "410"))
	ends(t, w)
}

func expired(t *testing.T, ev watch.Event) {
	t.Helper()
	if err := apierrors.FromObject(ev.Object); ev.Type != watch.Error || !apierrors.IsResourceExpired(err) {
		t.Errorf("a watch of what is forgotten: %s %v", ev.Type, ev.Object)
	}
}

func ends(t *testing.T, w watch.Interface) {
	t.Helper()
	select {
	case ev, more := <-w.ResultChan():
		if more {
			t.Errorf("after the end: %s %v", ev.Type, ev.Object)
		}
	case <-time.After(20 * time.Second):
		t.Error("the watch does not end")
	}
}

func TestWatchTooOld(t *testing.T) {
	each(t, func(t *testing.T, e env) {
		e.pod(t, "a")
		if e.namespace == "ns" {
			t.Skip("the played server forgets in TestCompact")
		}
		// The real one forgets by itself, after some minutes.
		w := e.open(t, metav1.ListOptions{ResourceVersion: "1"})
		ev := next(t, w.ResultChan(), "410")
		if ev.Type == watch.Added {
			t.Skip("this server is young and remembers its beginning")
		}
		expired(t, ev)
		ends(t, w)
	})
}

// TestCompact: who stands at the end of the history does not notice.
func TestCompact(t *testing.T) {
	s := kubeapi.Start(t)
	e := env{s.Client(), "ns"}
	old := e.pod(t, "a")
	e.pod(t, "b")
	live := e.open(t, metav1.ListOptions{ResourceVersion: old.ResourceVersion})
	events(t, live, "ADDED b ")
	s.Compact()
	gone(t, e.open(t, metav1.ListOptions{ResourceVersion: old.ResourceVersion}))
	e.pod(t, "c")
	events(t, live, "ADDED c ")
}

// TestWatchList: the state as a stream, with a mark at its end.
func TestWatchList(t *testing.T) {
	each(t, func(t *testing.T, e env) {
		e.pod(t, "a", leads)
		e.pod(t, "b")
		w := e.open(t, metav1.ListOptions{
			SendInitialEvents: ptr(true), AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
		})
		events(t, w, "ADDED a leader", "ADDED b ")
		mark := events(t, w, "BOOKMARK  ")
		equal(t, mark.Annotations, map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		e.pod(t, "c")
		events(t, w, "ADDED c ")
	})
}

// TestBookmark: a mark moves a watch on that has nothing to see.
func TestBookmark(t *testing.T) {
	s := kubeapi.Start(t)
	e := env{s.Client(), "ns"}
	first := e.pod(t, "a", leads)
	opt := metav1.ListOptions{LabelSelector: "role=leader", ResourceVersion: first.ResourceVersion}
	without := e.open(t, opt)
	opt.AllowWatchBookmarks = true
	with := e.open(t, opt)
	other := e.pod(t, "b")
	s.Bookmark()
	mark := events(t, with, "BOOKMARK  ")
	equal(t, mark.ResourceVersion, other.ResourceVersion)
	s.Compact()
	e.pod(t, "c", leads)
	events(t, without, "ADDED c leader")
	events(t, with, "ADDED c leader")
	opt.ResourceVersion = mark.ResourceVersion
	events(t, e.open(t, opt), "ADDED c leader")
}

// TestWatchTimeout: the client says how long a watch is.
func TestWatchTimeout(t *testing.T) {
	each(t, func(t *testing.T, e env) {
		// From what the server has at hand: to a young real one its own present can be too new.
		w := e.open(t, metav1.ListOptions{TimeoutSeconds: ptr(int64(1)), ResourceVersion: "0"})
		select {
		case ev, more := <-w.ResultChan():
			if more {
				t.Errorf("%s %v", ev.Type, ev.Object)
			}
		case <-time.After(20 * time.Second):
			t.Error("a watch of one second goes on")
		}
	})
}

// TestWatchResumes: client-go's watch that goes on over ends and cuts misses
// nothing and sees nothing twice.
func TestWatchResumes(t *testing.T) {
	s := kubeapi.Start(t)
	e := env{s.Client(), "ns"}
	first := e.pod(t, "a")
	config := s.Config("pod")
	config.QPS = -1
	pods := newClient(t, config).CoreV1().Pods("ns")
	w, err := watchtools.NewRetryWatcherWithContext(t.Context(), first.ResourceVersion, &cache.ListWatch{
		WatchFunc: func(opt metav1.ListOptions) (watch.Interface, error) { return pods.Watch(t.Context(), opt) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { w.Stop(); <-w.Done() }()

	e.pod(t, "b")
	events(t, w, "ADDED b ")
	s.EndWatches()
	e.pod(t, "c")
	events(t, w, "ADDED c ")
	s.Refuse("pod")
	e.pod(t, "d")
	s.Heal("pod")
	events(t, w, "ADDED d ")
	s.Cut("pod")
	e.pod(t, "e")
	s.Heal("pod")
	e.pod(t, "f")
	events(t, w, "ADDED e ", "ADDED f ")
}

// TestInformer: client-go's cache finds its way over a lost history.
func TestInformer(t *testing.T) {
	s := kubeapi.Start(t)
	e := env{s.Client(), "ns"}
	e.pod(t, "a")
	config := s.Config("pod")
	config.QPS = -1
	factory := informers.NewSharedInformerFactoryWithOptions(newClient(t, config), 0, informers.WithNamespace("ns"))
	informer := factory.Core().V1().Pods().Informer()
	seen := make(chan string, 16)
	name := func(obj any) string {
		pod, ok := obj.(*corev1.Pod)
		if !ok {
			return fmt.Sprintf("%T", obj)
		}
		return pod.Name
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { seen <- "added " + name(obj) },
		DeleteFunc: func(obj any) { seen <- "deleted " + name(obj) },
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	factory.Start(stop)
	defer func() { close(stop); factory.Shutdown() }()
	expect(t, seen, "added a", "the state")
	e.pod(t, "b")
	expect(t, seen, "added b", "an event")

	s.Refuse("pod")
	e.pod(t, "c")
	s.Compact()
	s.Heal("pod")
	expect(t, seen, "added c", "what happened while it was away")
}
