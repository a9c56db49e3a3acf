package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/klog/v2"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"

	"evenkeel/internal/testkit/kubeapi"
	"evenkeel/pkg/aof"
)

func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard()) // leaderelection logs each attempt
	goleak.VerifyTestMain(m)
}

const (
	testNamespace = "geo"
	testLease     = "evenkeel-leader"
	// testWait is how long a test waits for what must come.
	testWait = 60 * time.Second
)

// cluster is some pods, their electors, and an API server.
type cluster struct {
	t    *testing.T
	api  *kubeapi.Server
	tune func(*Options)

	mu   sync.Mutex
	pods map[string]*testPod // by name
	byIP map[string]*testPod // by address
	news chan struct{}       // closed, and made anew, when anything happens

	labelled map[string]bool // pods that are labelled leader now
}

// testPod is a pod whose engine does as it is told.
type testPod struct {
	c       *cluster
	name    string
	addr    string
	elector *Elector
	fence   *Fence
	stop    context.CancelFunc
	done    chan error

	mu       sync.Mutex
	position Position
	follows  string
	cannot   error // lead
	cut      bool  // says and hears nothing
	holding  int
	events   []Event
}

func newCluster(t *testing.T, tune func(*Options)) *cluster {
	c := &cluster{
		t: t, api: kubeapi.Start(t), tune: tune,
		pods: map[string]*testPod{}, byIP: map[string]*testPod{}, labelled: map[string]bool{}, news: make(chan struct{}),
	}
	c.api.OnUpdate(c.updated)
	t.Cleanup(c.end)
	return c
}

// updated sees every state of every object, in order.
func (c *cluster) updated(event watch.EventType, obj runtime.Object) {
	pod, ok := obj.(*core.Pod)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.happened()
	if !ok {
		return
	}
	delete(c.labelled, pod.Name)
	if event != watch.Deleted && pod.Labels[LabelRole] == string(Leading) {
		c.labelled[pod.Name] = true
	}
	if len(c.labelled) > 1 {
		c.t.Errorf("labelled leader at once: %v", c.labelled)
	}
}

// happened lets who waits look again. The mutex is held.
func (c *cluster) happened() {
	close(c.news)
	c.news = make(chan struct{})
}

func (c *cluster) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.happened()
}

// until waits until ok holds.
func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	end := time.After(testWait)
	tick := time.NewTicker(20 * time.Millisecond) // fences close without an event
	defer tick.Stop()
	for {
		c.mu.Lock()
		news := c.news
		c.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-news:
		case <-tick.C:
		case <-end:
			c.t.Fatalf("not within %s: %s", testWait, what)
		}
	}
}

// add makes a pod, which is at p, and starts it.
func (c *cluster) add(name string, p *Position) *testPod {
	c.t.Helper()
	n := len(c.pods) + 1
	ip := fmt.Sprintf("10.0.0.%d", n)
	c.api.AddPod(testNamespace, name, ip, map[string]string{"app": "evenkeel"})
	pod := &testPod{c: c, name: name, addr: ip + ":9851", position: *p}
	pod.start()
	c.mu.Lock()
	c.pods[name], c.byIP[pod.addr] = pod, pod
	c.mu.Unlock()
	return pod
}

// start starts the pod's elector.
func (p *testPod) start() {
	t := p.c.t
	t.Helper()
	client, err := Connect(p.c.api.Config(p.name))
	if err != nil {
		t.Fatal(err)
	}
	p.fence = NewFence()
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	o := Options{
		Client: client, Namespace: testNamespace, Lease: testLease, Pod: p.name, Address: p.addr, Selector: "app=evenkeel",
		LeaseDuration: 2 * time.Second, RenewDeadline: 1500 * time.Millisecond, RetryPeriod: 100 * time.Millisecond,
		APITimeout: 500 * time.Millisecond, PeerTimeout: 500 * time.Millisecond, Gather: 200 * time.Millisecond, Patience: 3 * time.Second,
		PublishInterval: 200 * time.Millisecond,
		Call:            p, Fence: p.fence, OnEvent: p.told,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("pod", p.name),
	}
	if p.c.tune != nil {
		p.c.tune(&o)
	}
	if p.elector, err = New(o, p); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // end cancels it
	p.stop, p.done = cancel, make(chan error, 1)
	go func() { p.done <- p.elector.Run(ctx) }()
}

// end stops all pods.
func (c *cluster) end() {
	for _, p := range c.pods {
		c.api.Heal(p.name)
		p.stop()
	}
	for _, p := range c.pods {
		if err := <-p.done; err != nil && !c.t.Failed() {
			c.t.Errorf("pod %s: %v", p.name, err)
		}
	}
}

// kill cuts a pod off from everything, as the death of its node does.
func (p *testPod) kill() {
	p.c.api.Cut(p.name)
	p.cutOff(true)
}

// revive undoes kill.
func (p *testPod) revive() {
	p.c.api.Heal(p.name)
	p.cutOff(false)
}

func (p *testPod) cutOff(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
}

// Call implements Caller: all pods are in this process.
func (p *testPod) Call(ctx context.Context, addr string, text []byte) ([]byte, error) {
	p.c.mu.Lock()
	to := p.c.byIP[addr]
	p.c.mu.Unlock()
	if to == nil {
		return nil, errors.New("nobody is there")
	}
	for _, end := range []*testPod{p, to} {
		end.mu.Lock()
		cut := end.cut
		end.mu.Unlock()
		if cut {
			<-ctx.Done() // a cut cable does not say so
			return nil, ctx.Err()
		}
	}
	return to.elector.Handle(ctx, text), nil
}

// told notes what the pod is, and that nobody leads beside it.
func (p *testPod) told(e Event) {
	if e.Role == Leading && e.Leader != "" {
		for name, other := range p.c.snapshot() {
			if name != p.name && other.fence.Check() == nil {
				p.c.t.Errorf("pod %s begins to lead while the fence of %s is open for another %s", p.name, name, other.fence.Remaining())
			}
		}
	}
	p.mu.Lock()
	p.events = append(p.events, e)
	p.mu.Unlock()
	p.c.tell()
}

func (c *cluster) snapshot() map[string]*testPod {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]*testPod{}
	for name, p := range c.pods {
		all[name] = p
	}
	return all
}

// Position implements Engine.
func (p *testPod) Position() Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.position
}

// Lead implements Engine.
func (p *testPod) Lead(context.Context) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cannot != nil {
		return "", p.cannot
	}
	epoch, err := aof.NewEpochID()
	if err != nil {
		return "", err
	}
	was := &p.position
	p.position = Position{Epoch: epoch, Offset: was.Offset, Forks: append(was.Forks[:len(was.Forks):len(was.Forks)], aof.Fork{Epoch: was.Epoch, Offset: was.Offset})}
	p.follows = ""
	return epoch, nil
}

// Follow implements Engine. A follower is level at once.
func (p *testPod) Follow(_ context.Context, addr, _ string) error {
	p.c.mu.Lock()
	leader := p.c.byIP[addr]
	p.c.mu.Unlock()
	if leader == nil {
		return errors.New("nobody is there")
	}
	have := leader.Position()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.position.Unfit == "" {
		p.position = have
	}
	p.follows = leader.name
	return nil
}

// Undecided implements Engine.
func (p *testPod) Undecided(string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.follows = ""
}

// Hold implements Engine.
func (p *testPod) Hold(context.Context) (func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holding++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.holding--
	}, nil
}

// move gives the pod more of its history.
func (p *testPod) move(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.position.Offset = offset
}

// leads says whether the pod leads, everywhere that one can see it.
func (p *testPod) leads() bool {
	p.c.mu.Lock()
	labelled := p.c.labelled[p.name] && len(p.c.labelled) == 1
	p.c.mu.Unlock()
	return labelled && p.elector.leads()
}

// isFollowing says whether the pod follows another one.
func (p *testPod) isFollowing(leader *testPod) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.follows == leader.name && p.elector.Role() == Following
}

// leader waits until one of the pods leads and those of the rest that are not cut off follow it.
func (c *cluster) leader() *testPod {
	c.t.Helper()
	var leader *testPod
	c.until("one pod leads, the others follow", func() bool {
		leader = nil
		all := c.snapshot()
		for _, p := range all {
			if p.leads() {
				leader = p
			}
		}
		for _, p := range all {
			p.mu.Lock()
			cut := p.cut
			p.mu.Unlock()
			if leader == nil || p != leader && !cut && !p.isFollowing(leader) {
				return false
			}
		}
		return true
	})
	return leader
}

// lease returns the Lease.
func (c *cluster) lease() string {
	l, err := c.api.Client().CoordinationV1().Leases(testNamespace).Get(c.t.Context(), testLease, meta.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(holder(l) + " " + l.Annotations[annotationLeader] + " " + l.Annotations[annotationSuccessor])
}

// knows says whether the pod has heard how far another one has published that it is.
func (p *testPod) knows(name string, offset int64) bool {
	pod := p.elector.pods.get(name)
	if pod == nil {
		return false
	}
	said := published(pod)
	return said != nil && said.Offset == offset
}
