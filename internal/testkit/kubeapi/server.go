package kubeapi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"evenkeel/internal/testkit/certs"
)

// Server is an API server. Its methods may be called from anywhere.
type Server struct {
	t     testing.TB
	store *store
	kinds []*kind
	cert  tls.Certificate
	ca    []byte // PEM

	client kubernetes.Interface

	mu    sync.Mutex
	users map[string]*user
}

// user is one client of the server, and its port.
type user struct {
	server *Server
	port   *port
	http   *http.Server
	calls  sync.WaitGroup

	mu       sync.Mutex
	ended    bool
	delay    time.Duration
	fail     int // HTTP status; 0 is none
	requests []Request
}

// Request is one request that the server has read and answered, or that ended
// before it was.
type Request struct {
	Verb      string // get, list, watch, create, update, patch or delete; empty for a path that is none of the server's
	Resource  string // with the subresource: leases, pods, pods/status, statefulsets
	Namespace string
	Name      string
	Status    int // HTTP; 0 when the client went away before an answer
}

func (r Request) String() string {
	return fmt.Sprintf("%s %s %s/%s: %d", r.Verb, r.Resource, r.Namespace, r.Name, r.Status)
}

// testUser is the user of Client.
const testUser = "the test itself"

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	files := certs.New(t, "kubeapi").Issue(t.TempDir(), "127.0.0.1")
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatalf("kubeapi: certificate: %v", err)
	}
	ca, err := os.ReadFile(files.CA)
	if err != nil {
		t.Fatalf("kubeapi: certificate: %v", err)
	}
	s := &Server{t: t, store: newStore(), kinds: kinds(), cert: cert, ca: ca, users: make(map[string]*user)}
	config := s.Config(testUser)
	config.QPS = -1 // no limit
	if s.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatalf("kubeapi: client: %v", err)
	}
	return s
}

// Config is how the named user reaches the server. It has client-go's defaults
// (5 requests a second, JSON, no timeout). A name stands for one port for ever.
func (s *Server) Config(name string) *rest.Config {
	return &rest.Config{
		Host:            "https://" + s.user(name).port.addr,
		UserAgent:       name,
		ContentConfig:   rest.ContentConfig{ContentType: runtime.ContentTypeJSON, AcceptContentTypes: runtime.ContentTypeJSON},
		TLSClientConfig: rest.TLSClientConfig{CAData: s.ca},
	}
}

// Client is the test's own: without a limit of requests, never cut.
func (s *Server) Client() kubernetes.Interface { return s.client }

// Cut has the user's connections hang, present and new ones: neither side gets
// what the other sends. What was sent meanwhile arrives when they are healed.
func (s *Server) Cut(name string) { s.user(name).port.hold(true, true) }

// CutAnswers has requests arrive and be carried out, while no answer comes back.
func (s *Server) CutAnswers(name string) { s.user(name).port.hold(false, true) }

// Refuse resets the user's connections and refuses new ones.
func (s *Server) Refuse(name string) {
	if err := s.user(name).port.refuse(); err != nil {
		s.t.Errorf("kubeapi: %v", err)
	}
}

// Heal ends what Cut, CutAnswers, Refuse, Delay and Fail began.
func (s *Server) Heal(name string) {
	u := s.user(name)
	u.mu.Lock()
	u.delay, u.fail = 0, 0
	u.mu.Unlock()
	if err := u.port.heal(); err != nil {
		s.t.Errorf("kubeapi: %v", err)
	}
}

// Delay has each request that comes from now on wait for d before it is carried out.
func (s *Server) Delay(name string, d time.Duration) {
	u := s.user(name)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.delay = d
}

// Fail answers each request that comes from now on with an HTTP status, such as
// 403 or 500, and does not carry it out; 0 ends that.
func (s *Server) Fail(name string, status int) {
	u := s.user(name)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fail = status
}

// Requests are the user's, in the order of their answers; a watch is in it when it
// begins.
func (s *Server) Requests(name string) []Request {
	u := s.user(name)
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.requests)
}

// OnUpdate has f see every change from now on, one after the other, in the order
// of revisions, before anybody is told of it: ADDED, MODIFIED or DELETED and the
// object, *corev1.Pod or another. f must not call the server.
func (s *Server) OnUpdate(f func(event watch.EventType, obj runtime.Object)) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.hooks = append(s.store.hooks, f)
}

// Compact forgets the history: a watch from an older revision gets 410.
func (s *Server) Compact() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.history, s.store.compacted = nil, s.store.revision
}

// Bookmark sends a bookmark to each watch that takes them.
func (s *Server) Bookmark() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.bookmarks++
	s.store.wake()
}

// EndWatches ends all watches, as the API server does every now and then.
func (s *Server) EndWatches() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.endings++
	s.store.wake()
}

// AddPod makes a pod that runs on a node, is ready and has an address.
func (s *Server) AddPod(namespace, name, ip string, labels map[string]string) *corev1.Pod {
	s.t.Helper()
	ctx, pods := s.t.Context(), s.client.CoreV1().Pods(namespace)
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatalf("kubeapi: pod %s: %v", name, err)
	}
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, ip, []corev1.PodIP{{IP: ip}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	pod, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	if err != nil {
		s.t.Fatalf("kubeapi: status of pod %s: %v", name, err)
	}
	return pod
}

// user finds or makes the named one.
func (s *Server) user(name string) *user {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.users[name]; ok {
		return u
	}
	p, err := newPort()
	if err != nil {
		s.t.Fatalf("kubeapi: %v", err)
	}
	u := &user{server: s, port: p}
	u.http = &http.Server{
		Handler:           u,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{s.cert}, MinVersion: tls.VersionTLS12},
		ErrorLog:          log.New(io.Discard, "", 0), // handshakes that a test breaks
		ReadHeaderTimeout: time.Minute,
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := u.http.ServeTLS(p, "", ""); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.t.Errorf("kubeapi: %v", err)
		}
	}()
	s.t.Cleanup(func() {
		if err := errors.Join(p.end(), u.http.Close()); err != nil {
			s.t.Errorf("kubeapi: end: %v", err)
		}
		<-served
		u.end()
	})
	s.users[name] = u
	return u
}

// ServeHTTP answers one request.
func (u *user) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !u.enter() {
		return
	}
	defer u.calls.Done()
	c, err := parse(u.server.kinds, r)
	note := Request{Verb: c.verb, Namespace: c.namespace, Name: c.name}
	if c.kind != nil {
		note.Resource = c.kind.resource
		if c.status {
			note.Resource += "/status"
		}
	}
	if !u.wait(r) {
		u.note(note)
		return
	}
	answered := false
	done := func(status int) {
		answered, note.Status = true, status
		u.note(note)
	}
	if status := u.failing(); err == nil && status != 0 {
		err = apierrors.NewGenericServerResponse(status, r.Method, schema.GroupResource{Resource: note.Resource}, c.name, "the test says so", 0, true)
	}
	if err == nil {
		err = c.answer(u.server.store, w, done)
	}
	if err == nil || answered { // then the client is gone
		return
	}
	status := statusOf(err)
	done(int(status.Code))
	if err := writeJSON(w, int(status.Code), status); err != nil {
		return // the client is gone
	}
}

// enter counts a call in, until the user is ended.
func (u *user) enter() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.ended {
		u.calls.Add(1)
	}
	return !u.ended
}

// end waits for the calls that are still running.
func (u *user) end() {
	u.mu.Lock()
	u.ended = true
	u.mu.Unlock()
	u.calls.Wait()
}

// wait holds a request up for as long as Delay says, or until the client leaves.
func (u *user) wait(r *http.Request) bool {
	u.mu.Lock()
	d := u.delay
	u.mu.Unlock()
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func (u *user) failing() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.fail
}

func (u *user) note(r Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.requests = append(u.requests, r)
}
