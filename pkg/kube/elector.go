package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
)

// Elector keeps an engine in the role that the Lease says.
type Elector struct {
	o      Options
	engine Engine
	id     string
	lock   *lock
	pods   pods

	kick     chan struct{} // what is known has changed: roles
	nudge    chan struct{} // try for the Lease, or look at it, now
	told     chan struct{} // the role has changed: labels and annotation
	forced   atomic.Bool   // take the Lease whatever the others have
	handing  sync.Mutex    // held during a handover
	handedTo atomic.Bool   // this pod has given leadership up, and it has not been taken yet

	mu          sync.Mutex
	lease       *coordination.Lease // as last heard of; nil: there is none, or nothing is known
	started     time.Time
	role        Role
	leader      Leader    // who is led by, or led
	waiting     string    // why this pod does not take the Lease
	broken      string    // why it could not become a leader
	brokenUntil time.Time // … and until when it does not try again
	promised    time.Time // until when it takes no Lease
	failsafe    bool
	denied      string // what the API server does not allow
	transitions int64
	changed     chan struct{} // closed, and made anew, with each change of the role
}

// New returns an elector that does nothing yet.
func New(o Options, engine Engine) (*Elector, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	e := &Elector{
		o: o, engine: engine, id: o.Pod + "_" + rand.Text()[:8],
		kick: make(chan struct{}, 1), nudge: make(chan struct{}, 1), told: make(chan struct{}, 1),
		role: Undecided, changed: make(chan struct{}), started: time.Now(),
	}
	e.lock = &lock{
		api: o.Client.CoordinationV1().Leases(o.Namespace), name: o.Lease, id: e.id,
		timeout: o.APITimeout, duration: o.LeaseDuration,
		mayTake: e.mayTake, standIn: e.standIn, saw: e.saw,
		renewed: e.renewed, refused: e.refused,
	}
	return e, nil
}

// Run keeps the engine in its role until ctx ends. Then it gives the Lease up, if it
// holds it.
func (e *Elector) Run(ctx context.Context) error {
	le, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: e.lock, LeaseDuration: e.o.LeaseDuration, RenewDeadline: e.o.RenewDeadline, RetryPeriod: e.o.RetryPeriod,
		Name: e.o.Lease,
		// The state of the Lease says what is to be done, not these.
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) {}, OnStoppedLeading: func() {}},
	})
	if err != nil {
		return err
	}
	e.lock.base = context.WithoutCancel(ctx) // each request is bounded; what is under way at the end is waited for
	e.mu.Lock()
	e.started = time.Now()
	e.mu.Unlock()
	e.engine.Undecided("waiting for the Lease " + e.o.Lease)
	var wg sync.WaitGroup
	wg.Go(func() { e.watchLease(ctx) })
	wg.Go(func() { e.watchPods(ctx) })
	wg.Go(func() { e.campaign(ctx, le) })
	wg.Go(func() { e.tell(ctx) })
	e.roles(ctx)
	wg.Wait()
	e.resign()
	return nil
}

// resign gives the Lease up at the end, so that nobody waits for it to expire.
func (e *Elector) resign() {
	e.o.Fence.close()
	ctx, cancel := context.WithTimeout(context.Background(), e.o.APITimeout)
	defer cancel()
	if err := e.lock.release(ctx, ""); err != nil {
		e.o.Logger.Warn("the others will wait until the Lease expires", "err", err)
	}
}

// campaign lets leaderelection work. It looks at the Lease at once whenever it is nudged.
func (e *Elector) campaign(ctx context.Context, le *leaderelection.LeaderElector) {
	for ctx.Err() == nil {
		run, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			le.Run(run)
		}()
		select {
		case <-done:
		case <-e.nudge:
		case <-e.expiry():
		}
		cancel()
		<-done
	}
}

// expiry fires when the Lease of another pod has expired.
func (e *Elector) expiry() <-chan time.Time {
	at, held := e.lock.expires()
	if left := time.Until(at); held && left > 0 {
		return time.After(left + expirySlack)
	}
	return nil
}

// expirySlack is how much later than this package leaderelection reads the clock, at most.
const expirySlack = 10 * time.Millisecond

func (e *Elector) watchLease(ctx context.Context) {
	leases := e.o.Client.CoordinationV1().Leases(e.o.Namespace)
	s := source[*coordination.Lease, *coordination.LeaseList]{
		what: "Lease " + e.o.Lease, list: leases.List, watch: leases.Watch,
		items: func(l *coordination.LeaseList) []*coordination.Lease { return pointers(l.Items) },
	}
	observe(ctx, s, meta.ListOptions{FieldSelector: "metadata.name=" + e.o.Lease}, e.o.Logger, func(all []*coordination.Lease) {
		if len(all) == 0 {
			e.lock.watched(nil)
			return
		}
		e.lock.watched(all[0])
	}, func(l *coordination.Lease, deleted bool) {
		if deleted {
			l = nil
		}
		e.lock.watched(l)
		if holder(l) != e.id { // its own renewal would have it renew again at once
			poke(e.nudge) // so that leaderelection notes when it was renewed
		}
	})
}

func (e *Elector) watchPods(ctx context.Context) {
	all := e.o.Client.CoreV1().Pods(e.o.Namespace)
	s := source[*core.Pod, *core.PodList]{
		what: "pods " + e.o.Selector, list: all.List, watch: all.Watch,
		items: func(l *core.PodList) []*core.Pod { return pointers(l.Items) },
	}
	observe(ctx, s, meta.ListOptions{LabelSelector: e.o.Selector}, e.o.Logger, func(all []*core.Pod) {
		e.pods.set(all)
		own := e.pods.get(e.o.Pod)
		if own == nil {
			e.o.Logger.Warn("this pod is not among those that may lead: it cannot be labelled", "pod", e.o.Pod, "selector", e.o.Selector)
		}
		e.lock.own(ownerOf(own))
		poke(e.told)
	}, func(p *core.Pod, deleted bool) {
		e.pods.change(p, deleted)
		if p.Labels[LabelRole] == string(Leading) != (p.Name == e.o.Pod && e.leads()) {
			poke(e.told) // a label that is not true any more
		}
	})
}

// renewed is told that this pod may answer for longer.
func (e *Elector) renewed(start time.Time, stoodIn bool) {
	e.o.Fence.extend(start, e.o.RenewDeadline)
	if !stoodIn {
		e.o.OnRenew(time.Since(start))
	}
	e.mu.Lock()
	changed := e.failsafe != stoodIn
	e.failsafe = stoodIn
	e.mu.Unlock()
	switch {
	case changed && stoodIn:
		e.o.Logger.Warn("the API server is away; the other pods confirm this leader")
	case changed:
		e.o.Logger.Info("the API server is back")
	}
}

// refused logs what the API server does not allow, once for each reason.
func (e *Elector) refused(err error) {
	e.mu.Lock()
	first := e.denied != err.Error()
	e.denied = err.Error()
	e.mu.Unlock()
	if first {
		e.o.Logger.Error("the API server refuses access to the Lease; does the service account have the Role?", "lease", e.o.Namespace+"/"+e.o.Lease, "err", err)
	}
}

// saw is told of each state of the Lease. It is called with the lock's mutex held.
func (e *Elector) saw(lease *coordination.Lease) {
	e.mu.Lock()
	e.lease = lease
	e.mu.Unlock()
	poke(e.kick)
}

// roles puts the engine in its role whenever what is known of the Lease changes.
func (e *Elector) roles(ctx context.Context) {
	tick := time.NewTicker(e.o.RetryPeriod) // what has failed is tried again
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.kick:
		case <-tick.C:
		}
		e.reconcile(ctx)
	}
}

func (e *Elector) reconcile(ctx context.Context) {
	e.mu.Lock()
	lease, role, have := e.lease, e.role, e.leader
	e.mu.Unlock()
	who := holder(lease)
	switch {
	case who == e.id:
		if role != Leading || have.Holder != e.id {
			e.lead(ctx)
		}
	case role == Leading && lease == nil && e.o.Fence.Check() == nil:
		// Somebody has deleted the Lease. The next renewal makes it anew.
	case role == Leading:
		e.stepDown(fmt.Sprintf("the Lease is held by %q", who))
	case who != "":
		if leader := leaderOf(lease); leader.Holder == who && leader != have {
			e.follow(ctx, leader)
		}
	}
}

// lead makes this pod, which holds the Lease, the leader.
func (e *Elector) lead(ctx context.Context) {
	if e.handedTo.Load() {
		return
	}
	epoch := e.Leader().Epoch
	if e.Role() != Leading {
		var err error
		if epoch, err = e.engine.Lead(ctx); err != nil {
			e.fail(ctx, err)
			return
		}
		e.set(Leading, Leader{Epoch: epoch}, "")
	}
	leader := Leader{Holder: e.id, Pod: e.o.Pod, Address: e.o.Address, Epoch: epoch}
	start := time.Now()
	if err := e.lock.proclaim(ctx, &leader); err != nil {
		e.o.Logger.Warn("cannot say in the Lease that this pod leads; trying again", "err", err)
		return
	}
	e.o.Fence.admit()
	e.o.Fence.extend(start, e.o.RenewDeadline)
	e.set(Leading, leader, "holds the Lease")
}

// fail gives the Lease up because the engine cannot lead.
func (e *Elector) fail(ctx context.Context, cause error) {
	e.o.Logger.Error("cannot lead; giving the Lease up", "err", cause)
	e.mu.Lock()
	e.broken, e.brokenUntil = cause.Error(), time.Now().Add(e.o.Patience)
	e.mu.Unlock()
	if err := e.lock.release(ctx, ""); err != nil {
		e.o.Logger.Warn("cannot give the Lease up", "err", err)
	}
	e.lock.reclaim() // by then it is fit again, or the verdict says no
}

// stepDown ends this pod's leadership.
func (e *Elector) stepDown(why string) {
	e.o.Fence.close()
	e.lock.silence()
	e.engine.Undecided(why)
	e.set(Undecided, Leader{}, why)
}

func (e *Elector) follow(ctx context.Context, leader Leader) {
	if err := e.engine.Follow(ctx, leader.Address, leader.Epoch); err != nil {
		e.o.Logger.Error("cannot follow; trying again", "leader", leader.Pod, "address", leader.Address, "err", err)
		return
	}
	e.set(Following, leader, "")
}

// set notes the role and tells everybody.
func (e *Elector) set(role Role, leader Leader, why string) {
	e.mu.Lock()
	if role == Leading && leader.Holder != "" {
		e.transitions++
		e.waiting, e.broken = "", ""
	}
	e.role, e.leader = role, leader
	close(e.changed)
	e.changed = make(chan struct{})
	e.mu.Unlock()
	poke(e.told)
	e.o.Logger.Info("role", "role", role, "leader", leader.Pod, "epoch", leader.Epoch, "why", why)
	e.o.OnEvent(Event{Role: role, Leader: leader.Pod, Epoch: leader.Epoch, Why: why})
}

// tell keeps the labels and the annotation of this pod.
func (e *Elector) tell(ctx context.Context) {
	tick := time.NewTicker(e.o.PublishInterval)
	defer tick.Stop()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.told:
		case <-again:
		case <-tick.C:
		}
		again = nil
		if err := errors.Join(e.label(ctx), e.publish(ctx)); err != nil && ctx.Err() == nil {
			e.o.Logger.Debug("labels and annotations; trying again", "err", err)
			again = time.After(e.o.RetryPeriod)
		}
	}
}

// position is how far the engine is, and whether it may lead.
func (e *Elector) position() Position {
	p := e.engine.Position()
	e.mu.Lock()
	defer e.mu.Unlock()
	if p.Unfit == "" && time.Now().Before(e.brokenUntil) {
		p.Unfit = e.broken
	}
	return p
}

// leads says whether this pod may answer as a leader now.
func (e *Elector) leads() bool { return e.Role() == Leading && e.o.Fence.Check() == nil }

// Role is what this pod is. A leader may be fenced.
func (e *Elector) Role() Role {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.role
}

// Leader is who leads, as far as this pod has acted on it.
func (e *Elector) Leader() Leader {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leader
}

// Stats is how an election fares.
type Stats struct {
	Role           Role          `json:"role"`
	Leader         string        `json:"leader,omitempty"` // the pod that leads
	Epoch          string        `json:"epoch,omitempty"`  // its history
	Address        string        `json:"address,omitempty"`
	FenceRemaining time.Duration `json:"fence_remaining_ns"`   // for how long this pod may go on to answer as a leader
	Failsafe       bool          `json:"failsafe,omitempty"`   // the other pods stand in for the API server
	Transitions    int64         `json:"transitions"`          // times that this pod has become the leader
	Waiting        string        `json:"not_taking,omitempty"` // why this pod does not take the Lease
	Lease          string        `json:"lease"`
}

// Stats returns it now.
func (e *Elector) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Stats{
		Role: e.role, Leader: e.leader.Pod, Epoch: e.leader.Epoch, Address: e.leader.Address, FenceRemaining: e.o.Fence.Remaining(),
		Failsafe: e.failsafe, Transitions: e.transitions, Lease: e.o.Namespace + "/" + e.o.Lease,
	}
	if e.role == Undecided {
		s.Waiting = e.waiting
	}
	return s
}

// poke lets who waits for c go on, once.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func pointers[T any](items []T) []*T {
	all := make([]*T, len(items))
	for i := range items {
		all[i] = &items[i]
	}
	return all
}
