package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"evenkeel/pkg/tile38"
)

// session is a pair of connections to one server: one for answers in JSON, which
// tell a STRING from an object, and one for answers in RESP, which tell all bytes.
type session struct {
	json, resp *tile38.Conn
}

// pool keeps sessions that are not in use.
type pool struct {
	opt tile38.Options
	// life ends what is waited for when the pool is closed.
	life context.Context //nolint:containedctx // connections outlive the call that dials them
	stop context.CancelFunc

	mu   sync.Mutex
	free []*session
}

func newPool(opt tile38.Options) *pool {
	ctx, stop := context.WithCancel(context.Background())
	return &pool{opt: opt, life: ctx, stop: stop}
}

// close ends all connections.
func (p *pool) close() {
	p.stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.free {
		_ = s.close()
	}
	p.free = nil
}

// with calls f with a session, which is kept if f succeeds and closed otherwise.
// The end of ctx ends what f waits for.
func (p *pool) with(ctx context.Context, f func(*session) error) error {
	s, err := p.take(ctx)
	if err != nil {
		return err
	}
	unhook := context.AfterFunc(ctx, func() { _ = s.close() })
	err = f(s)
	if !unhook() || err != nil {
		return p.explain(ctx, errors.Join(err, s.close()))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, s)
	return nil
}

// explain says whose error it is.
func (p *pool) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", p.opt.Addr, err)
}

func (p *pool) take(ctx context.Context) (*session, error) {
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free = p.free[:n-1]
		p.mu.Unlock()
		return s, nil
	}
	p.mu.Unlock()
	s, err := p.dial(ctx)
	return s, p.explain(ctx, err)
}

func (p *pool) dial(ctx context.Context) (*session, error) {
	if p.life.Err() != nil {
		return nil, errors.New("it was closed")
	}
	// The connection lives as long as the pool, but dialing it as long as ctx.
	dialing, stop := context.WithCancel(p.life)
	defer context.AfterFunc(ctx, stop)()
	s := new(session)
	var err error
	if s.resp, err = tile38.Dial(dialing, p.opt); err != nil {
		stop()
		return nil, err
	}
	if s.json, err = tile38.Dial(dialing, p.opt); err == nil {
		err = s.json.Send([]string{"output", "json"})
	}
	if err == nil {
		_, err = s.json.Receive(maxAnswer)
	}
	if err != nil {
		stop()
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *session) close() error {
	err := s.resp.Close()
	if s.json != nil {
		err = errors.Join(err, s.json.Close())
	}
	return err
}
