package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
)

// mayTake says whether this pod may take a Lease that nobody holds: nil, or why
// not. It asks the other pods.
func (e *Elector) mayTake(ctx context.Context, have *coordination.Lease) error {
	own, v, forced := e.position(), e.vacancy(have), e.forced.Load()
	if forced {
		own.Unfit = "" // somebody knows better
	}
	err := able(&own, v)
	// Of a successor, too, somebody has looked at the others already.
	if chosen := forced || v.successor == e.o.Pod && v.since < e.o.HandoverTimeout; err == nil && !chosen {
		err = e.compare(ctx, &own, v)
	}
	e.explain(err)
	return err
}

// compare asks the other pods how far they are.
func (e *Elector) compare(ctx context.Context, own *Position, v vacancy) error {
	others, know := e.pods.others(e.o.Pod)
	if !know {
		return errors.New("the other pods are not known yet")
	}
	return verdict(e.o.Pod, own, e.askAll(ctx, others), v, e.timing())
}

func (e *Elector) timing() timing {
	return timing{patience: e.o.Patience, successor: e.o.HandoverTimeout, gather: e.o.Gather}
}

// vacancy is what this pod knows of a Lease that nobody holds.
func (e *Elector) vacancy(have *coordination.Lease) vacancy {
	e.lock.mu.Lock()
	seen := e.lock.seen
	e.lock.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	v := vacancy{
		epoch: leaderOf(have).Epoch, since: time.Since(e.started), started: time.Since(e.started),
		promise: time.Until(e.promised),
	}
	if have == nil {
		return v
	}
	v.since = time.Since(seen)
	if holder(have) != "" {
		v.since -= term(have)
	} else {
		v.successor = have.Annotations[annotationSuccessor]
	}
	return v
}

// askAll asks pods how far they are, all at once.
func (e *Elector) askAll(ctx context.Context, all []*core.Pod) []peer {
	peers := make([]peer, len(all))
	var wg sync.WaitGroup
	for i, pod := range all {
		peers[i] = e.peerOf(pod)
		wg.Go(func() { e.askPeer(ctx, &peers[i]) })
	}
	wg.Wait()
	return peers
}

// askPeer asks one pod how far it is.
func (e *Elector) askPeer(ctx context.Context, p *peer) {
	if p.addr == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, e.o.PeerTimeout)
	defer cancel()
	a, err := e.ask(ctx, p.addr, message{Do: doTell})
	// Another pod may have got the address of one that has gone.
	if err == nil && a.Pod == p.name && a.Position != nil {
		p.live, p.leads, p.position = true, a.Leads, a.Position
	}
}

// explain logs why this pod does not take the Lease, when that is another reason
// than before.
func (e *Elector) explain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	e.mu.Lock()
	last := e.waiting
	e.waiting = text
	e.mu.Unlock()
	if text != "" && text != last {
		e.o.Logger.Info("not taking the Lease", "why", text)
	}
}

// Campaign tries for the Lease at once, and returns when this pod leads. With force it
// goes by nothing but that nobody else holds the Lease: for a person who knows that what other pods have is lost.
func (e *Elector) Campaign(ctx context.Context, force bool) error {
	if force {
		e.forced.Store(true)
		defer e.forced.Store(false)
	}
	ctx, cancel := context.WithTimeout(ctx, e.o.HandoverTimeout)
	defer cancel()
	for {
		e.mu.Lock()
		changed, waiting := e.changed, e.waiting
		e.mu.Unlock()
		if e.leads() {
			return nil
		}
		poke(e.nudge)
		select {
		case <-changed:
		case <-time.After(e.o.RetryPeriod):
		case <-ctx.Done():
			return fmt.Errorf("pod %s does not lead after %s: %s", e.o.Pod, e.o.HandoverTimeout, waiting)
		}
	}
}
