package kube

import (
	"fmt"
	"time"
)

// peer is another pod, as far as this one knows.
type peer struct {
	name string
	addr string // of its clients' port; "" as long as it has none
	// position is what it has answered, or else what it has published.
	position *Position
	live     bool // it has answered just now
	leads    bool // … that it leads, behind a fence that is open
	ending   bool // it is being deleted, or has ended for good
}

// vacancy is a Lease that nobody holds.
type vacancy struct {
	epoch     string        // of the last leader; "" if there never was one
	successor string        // the pod that a handover is for, "" if none
	since     time.Duration // for how long it has been vacant, as this pod has seen it
	started   time.Duration // for how long this pod has been ready to be elected
	promise   time.Duration // for how long this pod will keep to the leader that it has confirmed
}

// timing are the durations that a verdict depends on.
type timing struct {
	patience  time.Duration // for a pod that is known to be further
	successor time.Duration // for the pod that a handover is for
	gather    time.Duration // for pods to appear, when there never was a leader
}

// verdict says whether this pod may take a vacant Lease: nil, or why not.
func verdict(me string, own *Position, peers []peer, v vacancy, t timing) error {
	if err := able(own, v); err != nil {
		return err
	}
	for i := range peers {
		if p := &peers[i]; p.live && p.leads {
			return fmt.Errorf("pod %s still leads", p.name)
		}
	}
	if v.successor != "" && v.successor != me && v.since < t.successor {
		return fmt.Errorf("the leader has handed over to pod %s", v.successor)
	}
	for i := range peers {
		if err := yield(own, &peers[i], v, t); err != nil {
			return err
		}
	}
	if v.epoch == "" && v.started < t.gather {
		return fmt.Errorf("there never was a leader: waiting %s for other pods to appear", t.gather)
	}
	if !own.of(v.epoch) && v.since < t.patience {
		return fmt.Errorf("this pod has nothing of the last leader's history %s: waiting up to %s for one that has", v.epoch, t.patience)
	}
	return nil
}

// able says why this pod may not take a Lease whatever the others have, or nil.
func able(own *Position, v vacancy) error {
	switch {
	case own.Unfit != "":
		return fmt.Errorf("this pod is not fit to lead: %s", own.Unfit)
	case v.promise > 0:
		return fmt.Errorf("this pod has confirmed another leader for another %s", v.promise.Round(time.Millisecond))
	}
	return nil
}

// yield says why this pod must leave the Lease to another one, or nil.
func yield(own *Position, p *peer, v vacancy, t timing) error {
	switch {
	case p.position == nil:
		// It may have more than this pod, or nothing: a pod of a cluster that had
		// a leader this pod has followed is either a follower like this one, which
		// has published what it has, or new.
		if !p.ending && v.since < t.patience && (v.epoch == "" || !own.of(v.epoch)) {
			return fmt.Errorf("nothing is known of pod %s yet: waiting up to %s for it", p.name, t.patience)
		}
	case Compare(p.position, own, v.epoch) <= 0:
	case p.live:
		return fmt.Errorf("pod %s is further: %s:%d, this one %s:%d", p.name, p.position.Epoch, p.position.Offset, own.Epoch, own.Offset)
	case !p.ending && v.since < t.patience:
		return fmt.Errorf("pod %s was further, %s:%d, and does not answer: waiting up to %s for it", p.name, p.position.Epoch, p.position.Offset, t.patience)
	}
	return nil
}
