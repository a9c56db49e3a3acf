package upstream

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/pkg/proxy"
)

// wanderer is a client of TestSharedRandom.
type wanderer struct {
	id   int
	rnd  *rand.Rand
	addr string

	right, lost atomic.Int64 // replies; connections
}

// command makes one, mostly small.
func (w *wanderer) command(n int) []string {
	id := fmt.Sprintf("%d.%d", w.id, n)
	switch k := w.rnd.IntN(100); {
	case k < 60:
		return []string{"GET", "k", fmt.Sprintf("%s:%d", id, w.rnd.IntN(200))}
	case k < 75:
		return []string{"SET", "k", id, "STRING", strings.Repeat("v", w.rnd.IntN(3000))}
	case k < 85:
		return []string{"FGET", "k", id, "f"} // an error
	case k < 92:
		return []string{"GET", "k", fmt.Sprintf("%s:%d", id, w.rnd.IntN(30_000))}
	case k < 93:
		return []string{"GET", "k", fmt.Sprintf("%s:%d", id, w.rnd.IntN(300_000))}
	case k < 94:
		return []string{"SET", "k", id, "STRING", strings.Repeat("v", w.rnd.IntN(30_000))}
	case k < 97 && w.id%2 == 0:
		return []string{"NEARBY", "k", fmt.Sprintf("%s:%d", id, w.rnd.IntN(20_000))}
	}
	return []string{"ping"}
}

// walk is one connection, until something is lost or end is closed.
func (w *wanderer) walk(end <-chan struct{}) error {
	nc, err := net.Dial("tcp", w.addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for n := 0; ; {
		select {
		case <-end:
			return nil
		default:
		}
		var in, out strings.Builder
		for range 1 + w.rnd.IntN(1+w.rnd.IntN(1+w.rnd.IntN(200))) {
			args := w.command(n)
			in.WriteString(array(args...))
			out.WriteString(answerOf(args))
			n++
		}
		if w.rnd.IntN(200) == 0 { // leaves, and is owed everything
			_, err := io.WriteString(nc, in.String())
			return err
		}
		if err := w.exchange(nc, in.String(), out.String()); err != nil {
			return err
		}
	}
}

// errLost: the proxy has said so.
var errLost = errors.New("lost")

// exchange sends in, in pieces, and compares what comes with out.
func (w *wanderer) exchange(nc net.Conn, in, out string) error {
	sent := make(chan error, 1)
	pieces := 1 + w.rnd.IntN(4)
	go func() {
		var err error
		for size := len(in)/pieces + 1; in != "" && err == nil; {
			n := min(size, len(in))
			_, err = io.WriteString(nc, in[:n])
			in = in[n:]
		}
		sent <- err
	}()
	buf := make([]byte, 1+w.rnd.IntN(64<<10))
	for rest := out; rest != ""; {
		n, err := nc.Read(buf[:min(len(buf), len(rest))])
		got := string(buf[:n])
		switch {
		case strings.HasPrefix(rest, got):
			rest = rest[n:]
		default:
			same := 0
			for got[same] == rest[same] {
				same++
			}
			more, _ := io.ReadAll(nc)
			if at := strings.Index(got+string(more), "-ERR engine "); at < 0 || at > same {
				return fmt.Errorf("client %d got %.200q, wants %.200q", w.id, got[same:]+string(more), rest[same:])
			}
			err = errLost
		}
		if err != nil {
			_ = nc.Close()
			<-sent
			if op, ok := errors.AsType[net.Error](err); ok && op.Timeout() {
				return fmt.Errorf("client %d waits for %.200q, behind %d bytes: %w", w.id, rest, len(out)-len(rest), err)
			}
			return errLost
		}
	}
	w.right.Add(1)
	return <-sent
}

// Many clients with mixed pipelines, some slow, some gone, and an engine that ends
// again and again: everybody gets the own replies, in order, or is told.
func TestSharedRandom(t *testing.T) {
	engine := newMimic(t)
	f := startSharing(t, Options{Engine: engine.addr, SharedConnections: 2}, proxy.Options{})
	var wg sync.WaitGroup
	end := make(chan struct{})
	walkers := make([]*wanderer, 24)
	for i := range walkers {
		w := &wanderer{id: i, rnd: rand.New(rand.NewPCG(1, uint64(i))), addr: f.addr} //nolint:gosec // not a secret, and not negative
		walkers[i] = w
		wg.Go(func() {
			for over := false; !over; {
				err := w.walk(end)
				if errors.Is(err, errLost) {
					w.lost.Add(1)
				} else if err != nil && !errors.Is(err, io.EOF) && !isReset(err) {
					t.Error(err)
					return
				}
				select {
				case <-end:
					over = true
				default:
				}
			}
		})
	}
	right := func() (n int64) {
		for _, w := range walkers {
			n += w.right.Load()
		}
		return n
	}
	for range 4 {
		before := right()
		f.eventually("some more pipelines", func() bool { return right() > before+20 })
		engine.stop()
		engine.listen()
	}
	f.eventually("everybody gets something", func() bool {
		return !slices.ContainsFunc(walkers, func(w *wanderer) bool { return w.right.Load() == 0 })
	})
	close(end)
	wg.Wait()
	lost := int64(0)
	for _, w := range walkers {
		lost += w.lost.Load()
	}
	s := f.b.Stats()
	t.Logf("%d pipelines were answered, %d connections lost; %+v", right(), lost, s)
	if lost == 0 || s.LostCommands == 0 || s.Kept == 0 {
		t.Errorf("nobody noticed that the engine ended: %+v", s)
	}
	f.eventually("all gone", func() bool { return f.b.Stats().Guests == 0 })
}

// isReset says whether a connection was broken off: the network's way of saying
// what the proxy has said.
func isReset(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && !op.Timeout()
}
