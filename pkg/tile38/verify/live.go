package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"evenkeel/pkg/tile38"
)

// maxAnswer is the longest answer to a question of known size, in bytes.
const maxAnswer = 64 << 10

// LiveOptions say how a running server is read.
type LiveOptions struct {
	tile38.Options
	// Page is how many objects are asked for at once. A server can do nothing else
	// meanwhile. Default 250: more is hardly faster.
	Page int
	// PageBytes is how large a page should be, and MaxPageBytes how large it may be
	// when it is of more than two objects; a larger one is asked for again in parts.
	// Default 1 MiB and 64 MiB.
	PageBytes, MaxPageBytes int
	// MaxBytes is how large an answer of another kind may be: one object, all names,
	// all hooks, a page of two. Default 1 GiB.
	MaxBytes int
	// Rate is how many objects are read per second at most. Default: each page is
	// followed by a pause as long as it took.
	Rate int
	// NoExpiry leaves times to live alone. They are asked for each object by itself,
	// which is most of the work.
	NoExpiry bool
}

// EnsureDefaults fills in what is not set.
func (o *LiveOptions) EnsureDefaults() {
	for _, d := range []struct {
		p *int
		v int
	}{{&o.Page, 250}, {&o.PageBytes, 1 << 20}, {&o.MaxPageBytes, 64 << 20}, {&o.MaxBytes, 1 << 30}} {
		if *d.p == 0 {
			*d.p = d.v
		}
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
}

// Validate lists all that is wrong.
func (o *LiveOptions) Validate() error {
	var errs []error
	for _, d := range []struct {
		name string
		v    int
	}{{"Page", o.Page}, {"PageBytes", o.PageBytes}, {"MaxPageBytes", o.MaxPageBytes}, {"MaxBytes", o.MaxBytes}} {
		if d.v < 1 {
			errs = append(errs, fmt.Errorf("option %s is %d: want 1 or more", d.name, d.v))
		}
	}
	if o.Rate < 0 {
		errs = append(errs, fmt.Errorf("option Rate is %d: want 0 or more", o.Rate))
	}
	if o.Addr == "" {
		errs = append(errs, errors.New("option Addr is empty"))
	}
	return errors.Join(errs...)
}

// LiveSource is a running Tile38, or an Evenkeel, which speaks the same.
type LiveSource struct {
	opt   LiveOptions
	pool  *pool
	bytes atomic.Int64
}

// Live returns a Source over a running server. It connects when it is first
// used; Close ends its connections.
func Live(o LiveOptions) (*LiveSource, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.Local = true // what that server has, not its leader
	return &LiveSource{opt: o, pool: newPool(o.Options)}, nil
}

// Close ends the connections. Nothing else may be called any more.
func (l *LiveSource) Close() { l.pool.close() }

// Bytes returns how many bytes of answers have been read.
func (l *LiveSource) Bytes() int64 { return l.bytes.Load() }

// ask asks one question on one of the connections.
func (l *LiveSource) ask(c *tile38.Conn, limit int, args ...string) (tile38.Answer, error) {
	if err := c.Send(args); err != nil {
		return tile38.Answer{}, err
	}
	a, err := c.Receive(limit)
	l.bytes.Add(size(a))
	return a, err
}

// size is about what an answer took on the wire.
func size(a tile38.Answer) int64 {
	n := int64(len(a.Text)) + 8
	for i := range a.Items {
		n += size(a.Items[i])
	}
	return n
}

// Collections implements Source.
func (l *LiveSource) Collections(ctx context.Context) ([]string, error) {
	var names []string
	err := l.pool.with(ctx, func(s *session) error {
		a, err := l.ask(s.resp, l.opt.MaxBytes, "keys", "*")
		for _, it := range a.Items {
			names = append(names, it.Text)
		}
		return err
	})
	slices.Sort(names)
	return names, err
}

// Scan implements Source.
func (l *LiveSource) Scan(ctx context.Context, key, from string, visit func(Object) bool) error {
	return l.pool.with(ctx, func(s *session) error {
		r := &reading{live: l, s: s, key: key, limit: max(minPage, min(l.opt.Page, 128))}
		p := newPager(from, r.limit, r.fetch)
		for {
			begun := time.Now()
			p.limit = r.limit
			objects, err := p.next()
			if err != nil || len(objects) == 0 {
				return err
			}
			if objects, err = l.expiries(s, key, objects); err != nil {
				return err
			}
			took := time.Since(begun)
			for i := range objects {
				if !visit(objects[i]) {
					return nil
				}
			}
			if err := l.rest(ctx, len(objects), took); err != nil {
				return err
			}
		}
	})
}

// rest pauses after a page of n objects.
func (l *LiveSource) rest(ctx context.Context, n int, took time.Duration) error {
	pause := took
	if l.opt.Rate > 0 {
		pause = time.Duration(float64(n)/float64(l.opt.Rate)*float64(time.Second)) - took
	}
	if pause <= 0 {
		return ctx.Err()
	}
	return wait(ctx, pause)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reading is one way through a collection.
type reading struct {
	live  *LiveSource
	s     *session
	key   string
	limit int // objects of the next page
}

// minPage is the least page: one object that was seen and one that is new.
const minPage = 2

// tries is how often a page that is not UTF-8 is asked for when the collection
// changes between its two looks.
const tries = 50

// fetch asks for a page.
func (r *reading) fetch(prefix string, cursor int64, limit int, onlyIDs bool) (page, error) {
	l := r.live
	var moved error
	for range tries {
		args := scanArgs(r.key, prefix, cursor, limit, onlyIDs)
		most := l.opt.MaxPageBytes
		if limit <= minPage {
			most = l.opt.MaxBytes
		}
		a, err := l.ask(r.s.json, most, args...)
		if errors.Is(err, tile38.ErrTooLarge) && limit > minPage {
			limit = max(limit/8, minPage)
			r.limit = limit
			continue
		}
		if err != nil {
			return page{}, err
		}
		p, err := parsePage(a.Text)
		if err != nil {
			return p, err
		}
		if !onlyIDs {
			r.adapt(len(p.objects), len(a.Text))
		}
		if !p.lossy {
			return p, inOrder(p.objects)
		}
		if a, err = l.ask(r.s.resp, 2*most, args...); err != nil {
			return p, err
		}
		if moved = p.exact(a); moved == nil {
			return p, inOrder(p.objects)
		}
		limit = max(limit/2, min(limit, minPage))
	}
	return page{}, moved
}

// adapt takes more or fewer objects next time.
func (r *reading) adapt(n, bytes int) {
	o := &r.live.opt
	if n == 0 {
		return
	}
	fit := o.PageBytes / max(bytes/n, 1)
	r.limit = max(minPage, min(fit, 2*r.limit, o.Page))
}

// inOrder fails for a page whose ids do not ascend.
func inOrder(objects []Object) error {
	for i := 1; i < len(objects); i++ {
		if objects[i-1].ID >= objects[i].ID {
			return fmt.Errorf("ids are not in their order: %q before %q", objects[i-1].ID, objects[i].ID)
		}
	}
	return nil
}

// Server asks the server who it is.
func (l *LiveSource) Server(ctx context.Context) (srv tile38.Server, err error) {
	err = l.pool.with(ctx, func(s *session) error {
		srv, err = s.resp.Server()
		return err
	})
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: it closed the connection", err)
	}
	return srv, err
}

// LogSize returns how large the server's log is, in bytes, as SERVER reports it.
func (l *LiveSource) LogSize(ctx context.Context) (int64, error) {
	srv, err := l.Server(ctx)
	return srv.AOFSize, err
}
