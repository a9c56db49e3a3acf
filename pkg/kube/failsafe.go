package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
)

// standIn asks all other pods to go on with this leader while the API server is away.
// Each that agrees takes no Lease for LeaseDuration, so the leader may answer for
// RenewDeadline more. Nobody may be missing: who is, might have been elected.
func (e *Elector) standIn(ctx context.Context) error {
	e.mu.Lock()
	leading := e.role == Leading
	e.mu.Unlock()
	if !leading {
		return errors.New("this pod has not begun to lead")
	}
	others, know := e.pods.others(e.o.Pod)
	if !know {
		return errors.New("the other pods are not known")
	}
	ctx, cancel := context.WithTimeout(ctx, e.o.PeerTimeout)
	defer cancel()
	faults := make([]error, len(others))
	var wg sync.WaitGroup
	for i, pod := range others {
		if pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed {
			continue
		}
		p := e.peerOf(pod)
		wg.Go(func() {
			if p.addr == "" {
				faults[i] = fmt.Errorf("pod %s has no address", p.name)
				return
			}
			a, err := e.ask(ctx, p.addr, message{Do: doConfirm, From: e.id, For: e.o.LeaseDuration})
			switch {
			case err != nil:
				faults[i] = fmt.Errorf("pod %s does not confirm this leader: %w", p.name, err)
			case a.Pod != p.name:
				faults[i] = fmt.Errorf("pod %s: %s answers at its address %s", p.name, a.Pod, p.addr)
			}
		})
	}
	wg.Wait()
	return errors.Join(faults...)
}

// confirm promises to take no Lease for d, because from holds it, as far as this pod knows.
func (e *Elector) confirm(from string, d time.Duration) error {
	if d <= 0 || d > 10*e.o.LeaseDuration {
		return fmt.Errorf("a promise for %s: want more than 0 and at most %s", d, 10*e.o.LeaseDuration)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if who := holder(e.lease); who != from || e.role == Leading {
		return fmt.Errorf("for pod %s the Lease is held by %q, not %q", e.o.Pod, who, from)
	}
	if until := time.Now().Add(d); until.After(e.promised) {
		e.promised = until
	}
	return nil
}
