package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/spf13/pflag"

	"evenkeel/pkg/admin"
	"evenkeel/pkg/kube"
	"evenkeel/pkg/metrics"
	"evenkeel/pkg/node"
	"evenkeel/pkg/settings"
	"evenkeel/pkg/tile38"
)

// electConfig is what the flags say about who leads.
type electConfig struct {
	on         bool
	podIP      string
	kubeconfig string
	own        []string // the flags but --elect
	kube.Options
}

func (c *electConfig) flags(f *pflag.FlagSet) {
	c.EnsureDefaults()
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.BoolVar(&c.on, "elect", false, "lead or follow as a Lease of Kubernetes says, which the pods of a set elect their leader by")
	own.StringVar(&c.Lease, "lease-name", "evenkeel", "name of that Lease")
	own.StringVar(&c.Selector, "peer-selector", "app.kubernetes.io/name=evenkeel", "labels of the pods that may lead, this one among them")
	own.StringVar(&c.Namespace, "namespace", os.Getenv("POD_NAMESPACE"), "namespace of the pods and the Lease (default: POD_NAMESPACE)")
	own.StringVar(&c.Pod, "pod-name", os.Getenv("POD_NAME"), "name of this pod (default: POD_NAME)")
	own.StringVar(&c.podIP, "pod-ip", os.Getenv("POD_IP"), "address at which the other pods reach this one, on the port of --listen (default: POD_IP)")
	own.StringVar(&c.kubeconfig, "kubeconfig", "", "file that says where the API server is (default: the service account of the pod)")
	own.DurationVar(&c.LeaseDuration, "lease-duration", c.LeaseDuration, "how long a leader that is not heard of keeps the others waiting, in whole seconds")
	own.DurationVar(&c.RenewDeadline, "renew-deadline", c.RenewDeadline, "how long after the last renewal of the Lease a leader goes on to answer")
	own.DurationVar(&c.RetryPeriod, "retry-period", c.RetryPeriod, "how often a leader renews the Lease, and the others look at it")
	own.DurationVar(&c.APITimeout, "kube-api-timeout", c.APITimeout, "how long one request to the API server may take")
	own.DurationVar(&c.PeerTimeout, "peer-timeout", c.PeerTimeout, "how long a question to another pod may take")
	own.DurationVar(&c.Patience, "election-patience", c.Patience, "how long a Lease without a holder is left to a pod that is known to have more and does not answer")
	own.DurationVar(&c.Gather, "election-gather", c.Gather, "how long the very first election waits for pods to appear")
	own.DurationVar(&c.PublishInterval, "publish-interval", c.PublishInterval, "how often a pod says in its annotation how far it is")
	own.DurationVar(&c.HandoverTimeout, "handover-timeout", c.HandoverTimeout, "how long a planned change of the leader may take; writes wait as long")
	own.VisitAll(func(fl *pflag.Flag) { c.own = append(c.own, fl.Name) })
	f.AddFlagSet(own)
}

// check lists what is wrong.
func (c *config) checkElect() (faults []error) {
	e := &c.elect
	if !e.on {
		for _, name := range e.own {
			if c.set(name) {
				faults = append(faults, fmt.Errorf("--%s counts only with --elect", name))
			}
		}
		return faults
	}
	if c.follow != "" {
		faults = append(faults, errors.New("--follow and --elect: whom this pod follows is elected; leave --follow out"))
	}
	if net.ParseIP(e.podIP) == nil {
		faults = append(faults, fmt.Errorf("--pod-ip %q: want the address of this pod; set POD_IP from status.podIP", e.podIP))
	}
	for _, n := range []struct{ flag, value string }{
		{"--namespace", e.Namespace}, {"--pod-name", e.Pod}, {"--lease-name", e.Lease}, {"--peer-selector", e.Selector},
	} {
		if n.value == "" {
			faults = append(faults, fmt.Errorf("%s: want a value", n.flag))
		}
	}
	return append(faults, e.ValidateTimes()...)
}

// election keeps the embedded engine in the role that the Lease says.
type election struct {
	elector *kube.Elector
	fence   *kube.Fence
	peers   *tile38.Pool
}

// makeElection makes it before the node, which asks its fence.
func (s *embedded) makeElection() error {
	c := &s.cfg.elect
	if !c.on {
		return nil
	}
	kube.Quiet(s.logger)
	client, err := kube.ConnectAs(c.kubeconfig)
	if err != nil {
		return fmt.Errorf("--elect: %w", err)
	}
	o := c.Options
	o.Client = client
	_, port, err := net.SplitHostPort(s.listeners.client.Addr().String())
	if err != nil {
		return err
	}
	s.election = &election{fence: kube.NewFence(), peers: tile38.NewPool(tile38.Options{
		Auth: s.settings.Get(settings.LeaderAuth), Dial: s.dial, Timeout: 2 * o.HandoverTimeout, Local: true,
	})}
	o.Address, o.Fence, o.Logger = net.JoinHostPort(c.podIP, port), s.election.fence, s.logger
	o.Call = peerCaller{s.election.peers}
	o.OnRenew = func(took time.Duration) { s.observer.Load().ObserveRenewal(took) }
	s.election.elector, err = kube.New(o, elected{s})
	return err
}

// elected says in the node's options that its role is elected.
func (s *embedded) elected(o *node.Options) {
	if s.election == nil {
		return
	}
	o.Undecided = "waiting for the Lease " + s.cfg.elect.Lease
	o.RoleGiven = func() error {
		return fmt.Errorf("who leads is elected: use sidecar promote --pod NAME, or the Lease %s in namespace %s", s.cfg.elect.Lease, s.cfg.elect.Namespace)
	}
	o.Fence, o.Peer = s.election.fence.Check, s.election.elector.Handle
}

// ready is what /readyz answers. A leader that cannot confirm that it is one does not get
// new clients.
func (s *embedded) ready() (bool, []string) {
	ok, why := s.node.Ready()
	if s.election != nil && s.election.elector.Role() == kube.Leading {
		if err := s.election.fence.Check(); err != nil {
			return false, append(why, err.Error())
		}
	}
	return ok, why
}

// peerCaller says things to other pods on their clients' port.
type peerCaller struct{ pool *tile38.Pool }

// Call implements kube.Caller.
func (p peerCaller) Call(ctx context.Context, addr string, message []byte) ([]byte, error) {
	v, err := p.pool.Do(ctx, addr, node.PeerCommand, string(message))
	if err != nil {
		return nil, err
	}
	return v.Bytes(), nil
}

// elected is the embedded engine as an elector sees it.
type elected struct{ s *embedded }

// Position implements kube.Engine.
func (e elected) Position() kube.Position {
	at, digest := e.s.store.Position()
	p := kube.Position{Epoch: at.Epoch, Offset: at.Offset, Digest: digest.String(), Forks: e.s.log.Forks()}
	switch st := e.s.log.Stats(); {
	case at.Epoch == "":
		p.Unfit = "it is being resynced"
	case !st.Writable:
		p.Unfit = fmt.Sprintf("its log cannot be written: %v", st.Failure)
	}
	return p
}

// Lead implements kube.Engine.
func (e elected) Lead(ctx context.Context) (string, error) {
	if at, _ := e.s.store.Position(); at.Epoch == "" {
		return "", errors.New("a resync was broken off, and what is in memory is neither the old state nor the new one: start the pod again, which has the old one on its disk")
	}
	if err := e.s.node.Lead(ctx); err != nil {
		return "", err
	}
	return e.s.log.Position().Epoch, nil
}

// Follow implements kube.Engine.
func (e elected) Follow(ctx context.Context, addr, epoch string) error {
	host, port, err := splitHostPort(addr)
	if err != nil {
		return fmt.Errorf("the leader's address: %w", err)
	}
	return e.s.node.Follow(ctx, host, port, epoch)
}

// Undecided implements kube.Engine.
func (e elected) Undecided(why string) { e.s.node.Undecided(why) }

// Hold implements kube.Engine.
func (e elected) Hold(ctx context.Context) (func(), error) { return e.s.node.Hold(ctx) }

// actions are what the admin listener can be asked for.
func (s *embedded) actions() []admin.Action {
	return []admin.Action{
		{Name: "promote", Help: "pod=NAME: hand leadership over to that pod; force=yes: see sidecar promote --help", Do: s.promote},
		{Name: "handover", Help: "hand leadership over to the best other pod, if this one leads", Do: s.handover},
	}
}

var errNotElected = errors.New("the role of this pod is not elected: it was not started with --elect")

func (s *embedded) promote(ctx context.Context, v url.Values) (any, error) {
	start, pod := time.Now(), v.Get("pod")
	switch {
	case !s.cfg.elect.on:
		return nil, errNotElected
	case !s.gate.assembled():
		return nil, errors.New("this pod is still loading its log")
	case pod == "":
		return nil, errors.New("pod: want the name of a pod")
	case v.Get("force") == "":
		leader, err := s.election.elector.Handover(ctx, pod)
		return handedOver{Leader: leader, Took: time.Since(start).Seconds()}, err
	case pod != s.cfg.elect.Pod:
		return nil, fmt.Errorf("force: ask pod %s itself, this is %s", pod, s.cfg.elect.Pod)
	}
	err := s.election.elector.Campaign(ctx, true)
	return handedOver{Leader: pod, Took: time.Since(start).Seconds()}, err
}

func (s *embedded) handover(ctx context.Context, _ url.Values) (any, error) {
	start := time.Now()
	switch {
	case !s.cfg.elect.on:
		return handedOver{Note: errNotElected.Error()}, nil
	case !s.gate.assembled() || s.election.elector.Role() != kube.Leading:
		return handedOver{Note: "this pod does not lead"}, nil
	}
	leader, err := s.election.elector.Handover(ctx, "")
	return handedOver{Leader: leader, Took: time.Since(start).Seconds()}, err
}

// leads says whether this pod may answer as a leader.
func (s *embedded) leads() bool {
	return s.node.FollowerStatus() == nil && (s.election == nil || s.election.fence.Check() == nil)
}

// electionSource is how the election fares.
func (s *embedded) electionSource() metrics.Election {
	st := s.election.elector.Stats()
	return metrics.Election{Transitions: uint64(max(st.Transitions, 0)), FenceRemaining: st.FenceRemaining, Failsafe: st.Failsafe}
}

// reportElection is its part of /status; nil: the role is not elected.
func (s *embedded) reportElection() *kube.Stats {
	if s.election == nil {
		return nil
	}
	st := s.election.elector.Stats()
	return &st
}

// resign hands leadership over before a shutdown, if there is somebody to take it.
func (s *embedded) resign() {
	if s.election == nil || s.election.elector.Role() != kube.Leading {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.drainTimeout)
	defer cancel()
	if _, err := s.election.elector.Handover(ctx, ""); err != nil {
		s.logger.Warn("leadership is not handed over", "err", err)
	}
}
