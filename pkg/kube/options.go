package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// Engine is what is made a leader or a follower.
type Engine interface {
	// Position is how far the engine is now.
	Position() Position
	// Lead makes it a leader, which begins an epoch, whose name it returns. Its writes are held
	// back by the fence until that is known to the others.
	Lead(ctx context.Context) (epoch string, err error)
	// Follow makes it follow the leader at addr, HOST:PORT, whose history is, or goes on
	// from, epoch. It need not be reachable now.
	Follow(ctx context.Context, addr, epoch string) error
	// Undecided makes it neither; why is for people.
	Undecided(why string)
	// Hold lets writes of clients wait until release is called, instead of being carried out; those
	// under way are done when it returns.
	Hold(ctx context.Context) (release func(), err error)
}

// Options of an Elector.
type Options struct {
	Client    kubernetes.Interface
	Namespace string
	Lease     string // its name
	Pod       string // this pod's name
	Address   string // where the other pods reach this one's clients' port, HOST:PORT
	Selector  string // labels of the pods that may lead, this one among them

	// LeaseDuration is how long a leader that is not heard of keeps the others waiting. Whole seconds.
	// Default 3 s: with a second more for noticing and promoting, a cluster is without a
	// leader for less than 5 s; a pod that is starved of its processor for less is left alone.
	LeaseDuration time.Duration
	// RenewDeadline is how long after the last renewal a leader goes on to answer. Default 2 s:
	// LeaseDuration without a second, in which a reply that is under way reaches its client, and
	// which is more than any two monotonic clocks differ by in 3 s.
	RenewDeadline time.Duration
	// RetryPeriod is how often a leader renews and the others look. Default 500 ms: two renewals may
	// fail in a row before the deadline is near. Two small writes a second for the API server.
	RetryPeriod time.Duration
	// APITimeout bounds one request. Default 800 ms: within the deadline there is time for one that
	// hangs, and to ask the other pods instead.
	APITimeout time.Duration
	// PeerTimeout bounds a question to another pod. Default 300 ms.
	PeerTimeout time.Duration
	// Patience is how long a vacant Lease is left to a pod that is known to be further than any
	// that answers, because it restarts or is cut off. Default 10 s: a container is back within 1 to
	// 2 s; a node that is cut off is given up by then. A deleted pod is not waited for.
	Patience time.Duration
	// Gather is how long the very first election waits for pods to appear. Default 3 s.
	Gather time.Duration
	// PublishInterval is how often a pod's annotation is brought up to date. Default 5 s; it
	// counts only for pods that cannot be asked.
	PublishInterval time.Duration
	// HandoverTimeout is how long a handover waits for the successor to be level,
	// and then for it to lead; writes of clients wait as long. Default 5 s.
	HandoverTimeout time.Duration

	Call   Caller // says something to another pod
	Fence  *Fence
	Logger *slog.Logger
	// OnEvent hears of changes, at once and in order; nil: nobody.
	OnEvent func(Event)
	// OnRenew hears how long each renewal of the Lease took; nil: nobody.
	OnRenew func(took time.Duration)
}

// Caller says something to the pod at addr, which Elector.Handle answers there.
type Caller interface {
	Call(ctx context.Context, addr string, message []byte) (answer []byte, err error)
}

// ConnectAs returns a client of the API server that the file kubeconfig names, or, if that is "",
// the service account of the pod.
func ConnectAs(kubeconfig string) (kubernetes.Interface, error) {
	var config *rest.Config
	var err error
	if kubeconfig == "" {
		if config, err = rest.InClusterConfig(); err != nil {
			return nil, fmt.Errorf("%w; outside of a cluster give --kubeconfig", err)
		}
	} else if config, err = clientcmd.BuildConfigFromFlags("", kubeconfig); err != nil {
		return nil, fmt.Errorf("%s: %w", kubeconfig, err)
	}
	return Connect(config)
}

// Quiet has client-go log to l, what it calls errors as well: they are attempts, which are made
// again. It counts for the whole process.
func Quiet(l *slog.Logger) { klog.SetLogger(logr.FromSlogHandler(demoted{l.Handler()})) }

// demoted logs everything for who looks for bugs.
type demoted struct{ slog.Handler }

// Enabled implements slog.Handler.
func (d demoted) Enabled(ctx context.Context, _ slog.Level) bool {
	return d.Handler.Enabled(ctx, slog.LevelDebug)
}

// Handle implements slog.Handler.
func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	if !d.Handler.Enabled(ctx, r.Level) {
		return nil // logr does not ask before it hands an error over
	}
	return d.Handler.Handle(ctx, r)
}

// Connect returns a client of the API server that config names.
func Connect(config *rest.Config) (kubernetes.Interface, error) {
	c := rest.CopyConfig(config)
	// client-go's own limit is 5 requests a second, which a leader that hands over would wait for.
	c.QPS, c.Burst = 50, 100
	c.ContentType, c.AcceptContentTypes = "application/json", "application/json" // readable in a trace, and small
	return kubernetes.NewForConfig(c)
}

// Event is a change of what a pod is.
type Event struct {
	Role   Role
	Leader string // the pod that leads, "" if it is not known
	Epoch  string // its history
	Why    string
}

// Role is what a pod is.
type Role string

// The roles of a pod.
const (
	Leading   Role = "leader"
	Following Role = "follower"
	Undecided Role = "undecided" // no leader is known
)

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	for _, d := range []struct {
		have  *time.Duration
		value time.Duration
	}{
		{&o.LeaseDuration, 3 * time.Second}, {&o.RenewDeadline, 2 * time.Second}, {&o.RetryPeriod, 500 * time.Millisecond},
		{&o.APITimeout, 800 * time.Millisecond}, {&o.PeerTimeout, 300 * time.Millisecond}, {&o.Patience, 10 * time.Second},
		{&o.Gather, 3 * time.Second}, {&o.PublishInterval, 5 * time.Second}, {&o.HandoverTimeout, 5 * time.Second},
	} {
		if *d.have == 0 {
			*d.have = d.value
		}
	}
	if o.Fence == nil {
		o.Fence = NewFence()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	if o.OnRenew == nil {
		o.OnRenew = func(time.Duration) {}
	}
}

// Validate lists every fault.
func (o *Options) Validate() error {
	faults := o.ValidateTimes()
	for _, n := range []struct{ what, value string }{
		{"namespace", o.Namespace}, {"name of the Lease", o.Lease}, {"name of this pod", o.Pod}, {"address of this pod", o.Address}, {"selector of the pods", o.Selector},
	} {
		if n.value == "" {
			faults = append(faults, fmt.Errorf("the %s is not known", n.what))
		}
	}
	if _, err := labels.Parse(o.Selector); err != nil {
		faults = append(faults, fmt.Errorf("selector of the pods %q: %w", o.Selector, err))
	}
	return errors.Join(faults...)
}

// ValidateTimes lists the faults of the durations.
func (o *Options) ValidateTimes() (faults []error) {
	if o.LeaseDuration < time.Second || o.LeaseDuration%time.Second != 0 {
		faults = append(faults, fmt.Errorf("lease duration %s: want whole seconds, 1s or more", o.LeaseDuration))
	}
	if o.RenewDeadline >= o.LeaseDuration {
		faults = append(faults, fmt.Errorf("renew deadline %s: want less than the lease duration %s, so that a leader has stopped before another one begins", o.RenewDeadline, o.LeaseDuration))
	}
	if least := o.APITimeout + o.PeerTimeout + o.RetryPeriod; o.RenewDeadline <= least {
		faults = append(faults, fmt.Errorf("renew deadline %s: want more than %s, which is a retry period, a request that hangs, and a question to the other pods", o.RenewDeadline, least))
	}
	for _, d := range []struct {
		what  string
		value time.Duration
	}{
		{"retry period", o.RetryPeriod}, {"timeout of the API server", o.APITimeout}, {"timeout of other pods", o.PeerTimeout},
		{"patience", o.Patience}, {"time to gather", o.Gather}, {"publish interval", o.PublishInterval}, {"timeout of a handover", o.HandoverTimeout},
	} {
		if d.value <= 0 {
			faults = append(faults, fmt.Errorf("%s %s: want more than 0", d.what, d.value))
		}
	}
	return faults
}
