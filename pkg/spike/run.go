package spike

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"evenkeel/internal/load"
)

// ErrKeyThere says that the collection that would be written exists already.
var ErrKeyThere = errors.New("the collection exists already")

// Connections and requests in flight when the collection is filled.
const (
	fillConns    = 4
	fillPipeline = 64
)

// spike is one measurement.
type spike struct {
	o                Options
	leader, follower *watcher // follower nil: there is none
	streams          []*load.Stream
	names            []string // of the streams
	host             load.Host
	marks            Marks
	notes            []string // what a reader of the figures must know
}

// Run measures. It takes two phases, the compaction, and the time to write the
// collection.
func Run(ctx context.Context, o Options) (res *Result, err error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &spike{o: o, leader: &watcher{to: o.Leader}}
	if o.Follower.Addr != "" {
		s.follower = &watcher{to: o.Follower}
	}
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	if !o.Keep {
		defer func() { err = errors.Join(err, s.drop(ctx)) }()
	}
	if err := s.fill(ctx); err != nil {
		return nil, err
	}
	if err := s.measure(ctx); err != nil {
		return nil, err
	}
	return s.result(), nil
}

// check makes sure that both are what they are said to be.
func (s *spike) check(ctx context.Context) error {
	there, err := load.Ask(ctx, s.o.Leader, "KEYS", s.o.Key)
	if err != nil {
		return fmt.Errorf("leader %s: %w", s.o.Leader.Addr, err)
	}
	if strings.Join(there, "") != "" {
		return fmt.Errorf("leader %s: %w: %s; it would be overwritten and dropped: drop it yourself if nobody needs it, or choose another",
			s.o.Leader.Addr, ErrKeyThere, s.o.Key)
	}
	for _, w := range s.watchers() {
		c, err := load.Dial(ctx, w.to)
		if err != nil {
			return err // names the address
		}
		_, err = read(c)
		if err = errors.Join(err, c.Close()); err != nil {
			return fmt.Errorf("%s: %w", w.to.Addr, err)
		}
	}
	if s.follower == nil {
		return nil
	}
	role, err := load.Ask(ctx, s.o.Follower, "ROLE")
	if err != nil {
		return fmt.Errorf("follower %s: %w", s.o.Follower.Addr, err)
	}
	if len(role) == 0 || role[0] != "slave" {
		return fmt.Errorf("follower %s: it follows nobody (ROLE is %.40q): FOLLOW the leader first", s.o.Follower.Addr, role)
	}
	return nil
}

func (s *spike) watchers() []*watcher {
	if s.follower == nil {
		return []*watcher{s.leader}
	}
	return []*watcher{s.leader, s.follower}
}

// fill writes the collection.
func (s *spike) fill(ctx context.Context) error {
	f := load.Filling{Key: s.o.Key, Points: s.o.Points, Rounds: s.o.Rounds, Conns: fillConns, Pipeline: fillPipeline}
	if err := load.Fill(ctx, s.o.Leader, f, func(done, of int) { s.o.Progress("writing points", int64(done), int64(of)) }); err != nil {
		return fmt.Errorf("write points to %s: %w", s.o.Leader.Addr, err)
	}
	return nil
}

// drop takes the collection away, also when ctx has ended.
func (s *spike) drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), load.ReplyTimeout)
	defer cancel()
	if _, err := load.Ask(ctx, s.o.Leader, "DROP", s.o.Key); err != nil {
		return fmt.Errorf("%s could not be dropped again, do it yourself: DROP %s: %w", s.o.Key, s.o.Key, err)
	}
	return nil
}

// measure sends requests through all phases.
func (s *spike) measure(ctx context.Context) error {
	add := func(who string, to load.Server, ops ...load.Op) {
		for _, op := range ops {
			s.streams = append(s.streams, &load.Stream{To: to, Op: op, Rate: s.o.Rate, Points: s.o.Points})
			s.names = append(s.names, who+" "+op.Name)
		}
	}
	add("leader", s.o.Leader, load.Set(s.o.Key), load.Get(s.o.Key), load.Nearby(s.o.Key))
	if s.follower != nil {
		add("follower", s.o.Follower, load.Get(s.o.Key), load.Nearby(s.o.Key))
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	for _, w := range s.watchers() {
		wg.Go(func() { w.run(sending) })
	}
	s.marks.Began = time.Now()
	if err := s.level(ctx, "waiting for the follower", time.Now()); err != nil {
		stop()
		wg.Wait()
		return err
	}
	ended := make(chan error, len(s.streams)+1)
	for _, st := range s.streams {
		go func() { ended <- st.Run(sending) }()
	}
	go func() { ended <- s.host.Watch(sending) }()
	err := s.phases(ctx)
	stop()
	for range cap(ended) {
		if e := <-ended; e != nil {
			// A server that drops clients is a finding, not the end of the measurement.
			s.notes = append(s.notes, e.Error())
		}
	}
	wg.Wait()
	return err
}

// phases waits through them and compacts in the middle.
func (s *spike) phases(ctx context.Context) error {
	// Connections, caches and collectors come up to speed.
	if err := s.wait(ctx, "warming up", s.o.Phase/5); err != nil {
		return err
	}
	s.marks.Before = time.Now()
	if err := s.wait(ctx, "before", s.o.Phase); err != nil {
		return err
	}
	s.marks.Compaction = time.Now()
	if _, err := load.Ask(ctx, s.o.Leader, "AOFSHRINK"); err != nil {
		return fmt.Errorf("leader %s: %w", s.o.Leader.Addr, err)
	}
	if err := s.compacted(ctx); err != nil {
		return err
	}
	s.marks.Compacted = time.Now()
	// What a compaction does to followers may begin when it is over.
	if err := s.wait(ctx, "during", s.o.Phase/4); err != nil {
		return err
	}
	if err := s.level(ctx, "waiting for the follower", s.marks.Compaction); err != nil {
		return err
	}
	s.marks.After = time.Now()
	if err := s.wait(ctx, "after", s.o.Phase); err != nil {
		return err
	}
	s.marks.End = time.Now()
	return nil
}

// wait lets a phase pass.
func (s *spike) wait(ctx context.Context, stage string, d time.Duration) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; {
		past := time.Since(began)
		s.o.Progress(stage, int64(min(past, d)), int64(d))
		if past >= d {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// compacted waits for the end of the compaction: two readings in a row, both from
// after its begin, that see none.
func (s *spike) compacted(ctx context.Context) error {
	after := time.Now()
	for quiet := 0; quiet < 2; {
		r, err := s.next(ctx, "compaction", s.leader, after)
		if err != nil {
			return err
		}
		after = r.At
		if quiet++; r.Rewriting {
			quiet = 0
		}
	}
	return nil
}

// level waits until the follower's log is as long as the leader's was after t, or
// until it stands still at another length.
func (s *spike) level(ctx context.Context, stage string, t time.Time) error {
	if s.follower == nil {
		return nil
	}
	for begin := time.Now(); ; {
		l, err := s.next(ctx, stage, s.leader, t)
		if err != nil {
			return err
		}
		f, err := s.next(ctx, stage, s.follower, l.At)
		if err != nil {
			return err
		}
		if f.Log >= l.Log {
			return nil
		}
		if t = f.At; time.Since(begin) > s.o.Limit {
			return fmt.Errorf("the follower is at %d bytes, the leader at %d: not level within %s", f.Log, l.Log, s.o.Limit)
		}
	}
}

// next waits for a reading from after t.
func (s *spike) next(ctx context.Context, stage string, w *watcher, t time.Time) (Reading, error) {
	for began := time.Now(); ; {
		if r, fresh := w.last(t); fresh {
			return r, nil
		}
		if time.Since(began) > s.o.Limit {
			return Reading{}, fmt.Errorf("%s: %s does not answer for %s: %w", stage, w.to.Addr, s.o.Limit, w.why())
		}
		s.o.Progress(stage, int64(time.Since(began)), 0)
		select {
		case <-ctx.Done():
			return Reading{}, ctx.Err()
		case <-time.After(watchEvery / 5):
		}
	}
}

// why is the last thing that went wrong.
func (w *watcher) why() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}
