package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	core "k8s.io/api/core/v1"
)

const (
	// levelEvery is how often the successor is asked whether it has everything.
	levelEvery = 2 * time.Millisecond
	// nearBytes is how much of the log it may still lack when writes begin to wait for it:
	// what is sent and applied in some tens of milliseconds.
	nearBytes = 1 << 20
)

// ErrNoSuccessor says that no other pod could lead now.
var ErrNoSuccessor = errors.New("no other pod can lead now")

// Handover makes pod the leader, "" is the one that is furthest, and returns its name. Writes of clients wait
// meanwhile, then go on at the new leader. On a pod that does not lead it asks the leader to.
func (e *Elector) Handover(ctx context.Context, pod string) (string, error) {
	if e.Role() == Leading {
		return e.handover(ctx, pod)
	}
	leader := e.Leader()
	if leader.Address == "" {
		return "", fmt.Errorf("pod %s does not know who leads", e.o.Pod)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*e.o.HandoverTimeout)
	defer cancel()
	a, err := e.ask(ctx, leader.Address, message{Do: doHandover, Pod: pod})
	if err != nil {
		return "", fmt.Errorf("leader %s: %w", leader.Pod, err)
	}
	return a.Leader, nil
}

// handover gives this pod's leadership to pod.
func (e *Elector) handover(ctx context.Context, pod string) (string, error) {
	if !e.leads() {
		return "", fmt.Errorf("pod %s does not lead", e.o.Pod)
	}
	if pod == e.o.Pod {
		return pod, nil
	}
	if !e.handing.TryLock() {
		return "", errors.New("another handover is under way")
	}
	defer e.handing.Unlock()
	to, err := e.successor(ctx, pod)
	if err != nil {
		return "", err
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, e.o.HandoverTimeout)
	defer cancel()
	if err := e.level(ctx, to, nearBytes); err != nil {
		return "", err
	}
	release, err := e.engine.Hold(ctx)
	if err != nil {
		return "", fmt.Errorf("hold writes: %w", err)
	}
	defer release()
	if err := e.pass(ctx, to); err != nil {
		return "", err
	}
	e.o.Logger.Info("handed leadership over", "to", to.name, "took", time.Since(start).Round(time.Millisecond))
	return to.name, nil
}

// successor is the pod to hand over to.
func (e *Elector) successor(ctx context.Context, name string) (*peer, error) {
	others, _ := e.pods.others(e.o.Pod)
	if name != "" {
		pod := e.pods.get(name)
		if pod == nil {
			return nil, fmt.Errorf("there is no pod %s among those of %s", name, e.o.Selector)
		}
		others = []*core.Pod{pod}
	}
	var best *peer
	var faults []error
	own := e.position()
	peers := e.askAll(ctx, others)
	for i := range peers {
		p := &peers[i]
		switch {
		case !p.live:
			faults = append(faults, fmt.Errorf("pod %s does not answer at %q", p.name, p.addr))
		case p.position.Unfit != "":
			faults = append(faults, fmt.Errorf("pod %s: %s", p.name, p.position.Unfit))
		case p.position.Epoch != own.Epoch:
			faults = append(faults, fmt.Errorf("pod %s is not in this leader's history yet", p.name))
		case p.ending && name == "":
			faults = append(faults, fmt.Errorf("pod %s is being deleted", p.name))
		case best == nil || p.position.Offset > best.position.Offset:
			best = p
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSuccessor, errors.Join(faults...))
	}
	return best, nil
}

// level waits until the successor lacks no more than so many bytes of what this pod has.
func (e *Elector) level(ctx context.Context, to *peer, bytes int64) error {
	own := e.position()
	tick := time.NewTicker(levelEvery)
	defer tick.Stop()
	for {
		e.askPeer(ctx, to)
		if p := to.position; p.Epoch == own.Epoch && p.Offset >= own.Offset-bytes {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("pod %s is not level after %s: at %d of %d", to.name, e.o.HandoverTimeout, to.position.Offset, own.Offset)
		}
	}
}

// pass gives the Lease to the successor once that has everything, and returns when this pod
// follows it. When it does not take the Lease, this pod takes it back. Writes are held.
func (e *Elector) pass(ctx context.Context, to *peer) error {
	e.handedTo.Store(true)
	defer func() {
		e.lock.reclaim()
		e.handedTo.Store(false)
		poke(e.nudge)
		poke(e.kick)
	}()
	e.stepDown("handing over to " + to.name) // from here on the log does not grow
	if err := e.level(ctx, to, 0); err != nil {
		return err
	}
	if err := e.lock.release(ctx, to.name); err != nil {
		return err
	}
	if _, err := e.ask(ctx, to.addr, message{Do: doCampaign}); err != nil {
		return fmt.Errorf("pod %s has not taken over: %w", to.name, err)
	}
	for {
		e.mu.Lock()
		role, leader, changed := e.role, e.leader, e.changed
		e.mu.Unlock()
		if role == Following && leader.Pod == to.name {
			return nil
		}
		poke(e.nudge)
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("pod %s leads, but this one has not heard of it after %s", to.name, e.o.HandoverTimeout)
		}
	}
}
