package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	typed "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Annotations of the Lease.
const (
	// annotationLeader is a Leader in JSON, written by the holder when it has begun its epoch.
	annotationLeader = "evenkeel.io/leader"
	// annotationSuccessor is the pod for which the last holder gave the Lease up.
	annotationSuccessor = "evenkeel.io/successor"
)

// Leader is what the Lease says of who leads.
type Leader struct {
	Holder  string `json:"holder"` // the Lease's holderIdentity; another one has not begun yet
	Pod     string `json:"pod"`
	Address string `json:"address"` // for clients and followers, HOST:PORT
	Epoch   string `json:"epoch"`   // the history that it has begun
}

var errReleased = errors.New("this pod has given the Lease up")

// lock is the Lease as leaderelection uses it. All accesses of a pod to its Lease
// are made by its lock.
type lock struct {
	// base is when requests end early. What leaderelection hands in ends as well when it is to look
	// again at once, which must not break off a request that is under way.
	base     context.Context
	api      typed.LeaseInterface
	name     string
	id       string // differs with each start of the process: one that has lost its volume does not keep the Lease
	timeout  time.Duration
	duration time.Duration // of the Lease

	mayTake func(ctx context.Context, have *coordination.Lease) error // asked before a Lease is taken
	standIn func(ctx context.Context) error                           // asked when the API server is away
	renewed func(start time.Time, stoodIn bool)                       // told of each renewal, and whether other pods stood in
	// refused is told that the API server does not let this pod read or write the Lease.
	refused func(error)
	saw     func(*coordination.Lease) // told of each state; nil: there is none

	mu       sync.Mutex // held over each writing request
	lease    *coordination.Lease
	seen     time.Time // when lease came into this state, as far as this pod knows
	read     time.Time // when leaderelection has read a state last that was new to it
	readAs   string    // … and its version
	leader   *Leader   // what to say in it while this pod holds it; nil: nothing yet
	owners   []meta.OwnerReference
	released bool // it was given up, and is not renewed
}

// Get implements resourcelock.Interface.
func (l *lock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	ctx, cancel := context.WithTimeout(l.base, l.timeout)
	defer cancel()
	lease, err := l.api.Get(ctx, l.name, meta.GetOptions{})
	if err != nil {
		if apierrors.IsNotFound(err) {
			l.gone()
		}
		l.denied(err)
		return nil, nil, err
	}
	l.mu.Lock()
	if l.readAs != lease.ResourceVersion {
		l.read, l.readAs = time.Now(), lease.ResourceVersion
	}
	l.note(lease)
	l.mu.Unlock()
	record := resourcelock.LeaseSpecToLeaderElectionRecord(&lease.Spec)
	raw, err := json.Marshal(record)
	return record, raw, err
}

// note keeps a state of the Lease, if it is not older than the one that is known: what
// a watch brings may have been overtaken. The lock is held.
func (l *lock) note(lease *coordination.Lease) {
	if l.lease != nil && l.lease.UID == lease.UID && newer(l.lease.ResourceVersion, lease.ResourceVersion) {
		return
	}
	if l.lease == nil || l.lease.UID != lease.UID || l.lease.ResourceVersion != lease.ResourceVersion {
		l.seen = time.Now()
	}
	l.lease = lease
	l.saw(lease)
}

// gone notes that there is no Lease.
func (l *lock) gone() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saw(nil)
}

// watched notes what a watch has brought; nil: the Lease was deleted.
func (l *lock) watched(lease *coordination.Lease) {
	if lease == nil {
		l.gone()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(lease)
}

// Create implements resourcelock.Interface.
func (l *lock) Create(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	l.mu.Lock()
	last, seen := l.lease, l.seen
	mine := last != nil && holder(last) == l.id && !l.released
	l.mu.Unlock()
	if !mine {
		// Somebody may still lead by a Lease that was deleted under it.
		if last != nil && holder(last) != "" && time.Since(seen) < l.duration {
			return fmt.Errorf("the Lease was deleted %s ago, its holder may still lead", time.Since(seen).Round(time.Millisecond))
		}
		if err := l.mayTake(l.base, last); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lease := &coordination.Lease{
		ObjectMeta: meta.ObjectMeta{Name: l.name, OwnerReferences: l.owners},
		Spec:       resourcelock.LeaderElectionRecordToLeaseSpec(&r),
	}
	if last != nil { // who elects after us must know the last history
		lease.Annotations = last.Annotations
	}
	l.sign(lease)
	start := time.Now()
	ctx, cancel := context.WithTimeout(l.base, l.timeout)
	defer cancel()
	out, err := l.api.Create(ctx, lease, meta.CreateOptions{})
	if err != nil {
		l.denied(err)
		return err
	}
	l.released = false
	l.took(out, start)
	return nil
}

// Update implements resourcelock.Interface: it renews the Lease, or takes it.
func (l *lock) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	l.mu.Lock()
	have, since := l.lease, time.Since(l.seen)
	l.mu.Unlock()
	if have == nil {
		return errors.New("the Lease is written before it was read")
	}
	if who := holder(have); who != l.id {
		// leaderelection may go by an older state than the watch has brought.
		if who != "" && since < term(have) {
			return fmt.Errorf("the Lease is held by %s", who)
		}
		if err := l.mayTake(l.base, have); err != nil {
			return err
		}
	}
	return l.write(l.base, have, l.standIn, func(lease *coordination.Lease) {
		lease.Spec = resourcelock.LeaderElectionRecordToLeaseSpec(&r)
	})
}

// write changes the Lease from what it was, have. A holder that does not reach the API server
// is as good as renewed when the other pods stand in, if that is to count.
func (l *lock) write(ctx context.Context, have *coordination.Lease, standIn func(context.Context) error, change func(*coordination.Lease)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := holder(have) == l.id
	if held && l.released {
		return errReleased
	}
	if held && holder(l.lease) == l.id {
		have = l.lease // this pod itself may have written since
	}
	lease := have.DeepCopy()
	change(lease)
	l.sign(lease)
	start := time.Now()
	out, err := l.put(ctx, lease)
	switch {
	case err == nil:
		if !held {
			l.released = false
		}
		l.took(out, start)
		return nil
	case held && standIn != nil && unreachable(err):
		start = time.Now()
		if serr := standIn(ctx); serr != nil {
			return errors.Join(err, serr)
		}
		l.renewed(start, true)
		return nil
	}
	return err
}

func (l *lock) put(ctx context.Context, lease *coordination.Lease) (*coordination.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	out, err := l.api.Update(ctx, lease, meta.UpdateOptions{})
	l.denied(err)
	return out, err
}

// denied tells of requests that will fail again, unlike those that came too late.
func (l *lock) denied(err error) {
	if err != nil && !unreachable(err) && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
		l.refused(err)
	}
}

// took notes what this pod has written.
func (l *lock) took(lease *coordination.Lease, start time.Time) {
	if holder(lease) == l.id {
		l.renewed(start, false)
	}
	l.note(lease)
}

// sign puts into the Lease what its holder says of itself.
func (l *lock) sign(lease *coordination.Lease) {
	if l.leader == nil || holder(lease) != l.id {
		return
	}
	if lease.Annotations == nil {
		lease.Annotations = map[string]string{}
	}
	text, _ := json.Marshal(l.leader) // strings
	lease.Annotations[annotationLeader] = string(text)
	delete(lease.Annotations, annotationSuccessor)
}

// proclaim says in the Lease that this pod leads now. Nothing counts in its place: who
// is elected next must find the epoch there.
func (l *lock) proclaim(ctx context.Context, leader *Leader) error {
	l.mu.Lock()
	l.leader = leader
	have := l.lease
	l.mu.Unlock()
	if have == nil || holder(have) != l.id {
		return errors.New("the Lease is not this pod's any more")
	}
	return l.write(ctx, have, nil, func(lease *coordination.Lease) {
		lease.Spec.RenewTime = &meta.MicroTime{Time: time.Now()}
	})
}

// silence is called when this pod does not lead any more.
func (l *lock) silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leader = nil
}

// own sets what the Lease goes with when it is made.
func (l *lock) own(owners []meta.OwnerReference) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owners = owners
}

// expires is when leaderelection will take the Lease for expired; held is false when
// nobody holds it.
func (l *lock) expires() (at time.Time, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.read.Add(term(l.lease)), holder(l.lease) != ""
}

// reclaim lets the Lease be renewed, or taken, after release.
func (l *lock) reclaim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = false
}

// release gives the Lease up, for successor if there is one. Nothing is answered as a
// leader any more when it is called.
func (l *lock) release(ctx context.Context, successor string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lease == nil || holder(l.lease) != l.id {
		return nil
	}
	lease := l.lease.DeepCopy()
	none, second := "", int32(1)
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = &none, &second
	if successor != "" {
		if lease.Annotations == nil {
			lease.Annotations = map[string]string{}
		}
		lease.Annotations[annotationSuccessor] = successor
	}
	l.released = true // also when the answer is lost
	out, err := l.put(ctx, lease)
	if err != nil {
		return fmt.Errorf("give the Lease %s up: %w", l.name, err)
	}
	l.note(out)
	return nil
}

// RecordEvent implements resourcelock.Interface. What happens is told by the Elector.
func (l *lock) RecordEvent(string) {}

// Identity implements resourcelock.Interface.
func (l *lock) Identity() string { return l.id }

// Describe implements resourcelock.Interface.
func (l *lock) Describe() string { return l.name }

// holder is who holds a Lease; "" when nobody does.
func holder(lease *coordination.Lease) string {
	if lease == nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// term is how long a Lease is its holder's when it is not renewed.
func term(lease *coordination.Lease) time.Duration {
	if lease == nil || lease.Spec.LeaseDurationSeconds == nil {
		return 0
	}
	return time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second
}

// leaderOf is what the last holder has said of itself in a Lease; the zero value
// if there never was one.
func leaderOf(lease *coordination.Lease) (leader Leader) {
	if lease != nil {
		// What a person has put there instead is no leader.
		_ = json.Unmarshal([]byte(lease.Annotations[annotationLeader]), &leader)
	}
	return leader
}

// unreachable says whether a request failed because the API server is away, not
// because it has refused it.
func unreachable(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsInternalError(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err) || status.Status().Code >= 500
}

// newer says whether a is a later version of an object than b. They are numbers that
// grow, in the API server of Kubernetes.
func newer(a, b string) bool {
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return a > b
}
