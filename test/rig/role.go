package rig

import (
	"context"
	"net"

	"evenkeel/pkg/follower"
)

// takeRole lets a pod that starts follow, or lead.
func (p *Pod) takeRole(ctx context.Context) error {
	if p.Options.Follow != "" {
		return p.begin()
	}
	p.following.Store(false)
	r := p.Log.Recovery()
	if !p.Options.NewEpochs || r.Clean || r.New {
		return nil
	}
	return p.Store.BeginEpoch(ctx)
}

// Running says whether the pod has started and not ended.
func (p *Pod) Running() bool { return p.running }

// Unfollow ends following; the pod serves nobody and takes no writes.
func (p *Pod) Unfollow() {
	p.Lives.Add(1)
	if p.leave != nil {
		p.leave()
	}
	p.leave = nil
}

// Promote makes a leader of a follower that runs.
func (p *Pod) Promote() error {
	p.Unfollow()
	p.files <- struct{}{}
	err := p.Store.BeginEpoch(context.Background())
	<-p.files
	if err != nil {
		return err
	}
	p.Options.Follow, p.Follower = "", nil
	p.following.Store(false)
	p.Store.Refuse(nil)
	return nil
}

// FollowNow lets a pod that runs follow another leader.
func (p *Pod) FollowNow(leader string) error {
	p.Unfollow()
	p.Options.Follow = leader
	return p.begin()
}

func (p *Pod) follow(ctx context.Context) error {
	p.following.Store(true)
	p.Store.Refuse(ErrFollows)
	log, re := p.Log, replica{p.Store, p.files}
	o := follower.Options{
		Leader: p.Options.Follow + ":9851", ID: p.Name, Store: re, Ranges: re,
		Synced: log.Synced, Sync: log.Sync,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return p.net.DialFrom(ctx, p.Name, host)
		},
		OnEvent: p.count,
	}
	if p.Options.NoRanges {
		o.Ranges = nil
	}
	var err error
	p.Follower, err = follower.New(o)
	if err != nil {
		return err
	}
	fol := p.Follower
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	p.leave = func() { cancel(); <-ended }
	p.parts.Go(func() {
		defer close(ended)
		_ = fol.Run(ctx) // it says that ctx has ended
	})
	return nil
}

// count counts what the follower tells.
func (p *Pod) count(e follower.Event) {
	switch e.Kind {
	case follower.EventFull, follower.EventRanges:
		if p.Resyncs.Load() > 0 {
			p.Again.Add(1)
		}
	case follower.EventRangesDone:
		p.Ranges.Add(1)
		p.Resyncs.Add(1)
		p.Began.Store(e.Offset)
	case follower.EventFullDone:
		p.Resyncs.Add(1)
		p.Began.Store(e.Offset)
	case follower.EventDiverged:
		p.Diverged.Add(1)
	case follower.EventLost:
		p.Lost.Add(1)
	case follower.EventContinue, follower.EventCaughtUp:
	}
}
