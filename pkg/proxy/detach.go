package proxy

import (
	"time"

	"evenkeel/internal/epoll"
)

// Detach hands over the socket of the connection, for a session that waits for many
// of them at once. Until Attach has taken it back the session does not use NetConn
// and Write; it sees to it that the connection is read and written, and that it comes
// back soon when ctx of Serve ends or Woken tells so. With an error, which a
// connection under TLS always gives, nothing has changed.
func (r *Raw) Detach() (*epoll.Socket, error) {
	return epoll.Detach(r.c.conn())
}

// Woken tells of Wake, and of a shutdown that begins, while the connection is
// detached: there is no read that would fail then. It may tell of one that was
// before Detach.
func (r *Raw) Woken() <-chan struct{} { return r.woken }

// poke is called before the deadline of reads is changed: either Woken tells of
// it, or it meets the connection that Attach has made.
func (r *Raw) poke() {
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

// Attach takes the socket back. With an error the connection is lost.
func (r *Raw) Attach(sock *epoll.Socket) error {
	r.writing.Store(0)
	nc, err := sock.Attach()
	if err != nil {
		return err
	}
	r.c.nc.Store(&nc)
	if why := r.c.reason.Load(); why != 0 { // it was ended meanwhile, which closed nothing
		r.c.hangUp(CloseReason(why - 1))
	}
	select {
	case <-r.woken:
		r.c.setReadDeadline(time.Unix(1, 0))
	default:
	}
	return nil
}

// Sent notes bytes that a session has sent through the detached socket. stuck: it
// has more to send than the client takes; WriteTimeout counts from here.
func (r *Raw) Sent(bytes int, stuck bool) {
	r.c.srv.count.out.Add(int64(bytes))
	if !stuck {
		if r.writing.Load() != 0 {
			r.c.progress()
			r.writing.Store(0)
		}
		return
	}
	if bytes > 0 || r.writing.Load() == 0 {
		r.c.progress()
		r.writing.Store(r.c.since.Load() | 1)
	}
}
