package shrink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"evenkeel/pkg/tile38"
)

// TurnOptions say where the leases are on which pods take turns.
type TurnOptions struct {
	// Leader is where all pods ask: the leader's engine or its sidecar.
	Leader tile38.Options
	// Key is the reserved collection. Default DefaultKey.
	Key string
	// Pod is who asks; no two are called the same.
	Pod string
	// Slots is how many may have their turn at once. Default 1.
	Slots int
	// TTL is how long a turn is kept that is not renewed, as of a pod that died. It is
	// renewed each third. Default 60 s; whole seconds.
	TTL time.Duration
	// Every is how often one asks that has to wait. Default 1 s.
	Every time.Duration
	// Wait is how long one waits, then it goes on alone: a log that grows without end
	// is worse than two that are rewritten at once. Default 10 min.
	Wait time.Duration
	// OnError is told what goes wrong beside the way; nil: nobody.
	OnError func(error)
}

// EnsureDefaults fills in what is missing and has a default.
func (o *TurnOptions) EnsureDefaults() {
	preset(&o.Key, DefaultKey)
	preset(&o.Slots, 1)
	preset(&o.TTL, time.Minute)
	preset(&o.Every, time.Second)
	preset(&o.Wait, 10*time.Minute)
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
}

// Validate lists every fault.
func (o *TurnOptions) Validate() error {
	var faults []error
	if o.Pod == "" {
		faults = append(faults, errors.New("no pod"))
	}
	if o.Slots < 1 {
		faults = append(faults, fmt.Errorf("slots: %d is below 1", o.Slots))
	}
	if o.TTL < time.Second {
		faults = append(faults, fmt.Errorf("ttl: %v is below 1s", o.TTL))
	}
	return errors.Join(append(faults, positive(map[string]time.Duration{"every": o.Every, "wait": o.Wait}))...)
}

// Turns gives pods their turns, by objects on the leader: SET … NX EX is given to
// one of those who ask at once, and runs out by itself. It is as good as the leader's
// memory: a leader that is replaced or loses its last second may give a turn twice,
// which costs latency, not data.
type Turns struct{ opt TurnOptions }

// NewTurns checks the options; nothing is dialled.
func NewTurns(o TurnOptions) (*Turns, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("turns: %w", err)
	}
	return &Turns{opt: o}, nil
}

// Take waits for a turn, as compactor.Options.Turn does; done gives it back. It fails
// with ctx only.
func (t *Turns) Take(ctx context.Context) (done func(), err error) {
	l := newLink(t.opt.Leader)
	id, own := "", t.opt.Pod+":"+strconv.FormatUint(rand.Uint64(), 36)
	for deadline := time.Now().Add(t.opt.Wait); id == "" && time.Now().Before(deadline); {
		if id, err = t.ask(ctx, l, own); err != nil && ctx.Err() == nil {
			t.opt.OnError(fmt.Errorf("ask for the turn to compact: %w", err))
		}
		if id == "" && !pause(ctx, t.opt.Every) {
			l.close()
			return nil, context.Cause(ctx)
		}
	}
	if id == "" {
		l.close()
		t.opt.OnError(fmt.Errorf("no turn to compact within %v: going on alone", t.opt.Wait))
		return func() {}, nil
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t.renew(renewing, l, id, own)
	}()
	return func() {
		stop()
		<-ended
		t.release(l, id, own)
		l.close()
	}, nil
}

// turnPrefix begins the ids of leases.
const turnPrefix = "turn:"

// ask takes a free slot and returns its id; "": there is none.
func (t *Turns) ask(ctx context.Context, l *link, own string) (string, error) {
	for slot := range t.opt.Slots {
		id := turnPrefix + strconv.Itoa(slot)
		v, err := l.do(ctx, "SET", t.opt.Key, id, "NX", "EX", t.seconds(), "STRING", own)
		if err != nil {
			return "", err
		}
		if v.String() == "OK" {
			return id, nil
		}
		// An answer that was lost may have been OK.
		if v, err = l.do(ctx, "GET", t.opt.Key, id); err != nil {
			return "", err
		}
		if v.String() == own {
			return id, nil
		}
	}
	return "", nil
}

func (t *Turns) seconds() string { return strconv.Itoa(int(t.opt.TTL / time.Second)) }

// renew keeps the slot until ctx ends or it is another's.
func (t *Turns) renew(ctx context.Context, l *link, id, own string) {
	for pause(ctx, t.opt.TTL/3) {
		v, err := l.do(ctx, "GET", t.opt.Key, id)
		switch {
		case err != nil:
		case v.String() != own && v.String() != "":
			t.opt.OnError(fmt.Errorf("the turn to compact has run out, and is %s's", v.String()))
			return
		default:
			_, err = l.do(ctx, "SET", t.opt.Key, id, "EX", t.seconds(), "STRING", own)
		}
		if err != nil && ctx.Err() == nil {
			t.opt.OnError(fmt.Errorf("renew the turn to compact: %w", err))
		}
	}
}

// releaseWait is how long giving a turn back may take; else it runs out.
const releaseWait = 5 * time.Second

func (t *Turns) release(l *link, id, own string) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseWait)
	defer cancel()
	v, err := l.do(ctx, "GET", t.opt.Key, id)
	if err == nil && v.String() == own {
		_, err = l.do(ctx, "DEL", t.opt.Key, id)
	}
	if err != nil {
		t.opt.OnError(fmt.Errorf("give back the turn to compact: %w", err))
	}
}
