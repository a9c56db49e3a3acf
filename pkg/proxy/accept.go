package proxy

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

const (
	// maxRejecting bounds the goroutines that see refused clients off; beyond
	// it they are closed at once and may miss the message.
	maxRejecting = 64
	rejection    = "-ERR max number of clients reached\r\n"
	// refusalEvery keeps clients that try again and again from filling the log.
	refusalEvery = time.Minute
	// Pauses after an accept that failed, typically for want of descriptors.
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// accept starts a goroutine for each connection. It returns nil when a shutdown
// has closed the listener.
func (s *Server) accept(ln net.Listener) error {
	pause := time.Duration(0)
	for {
		nc, err := ln.Accept()
		if s.draining.Err() != nil {
			if nc != nil {
				closeQuietly(nc)
			}
			return nil
		}
		if err == nil {
			pause = 0
			s.admit(nc)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("proxy: accept on %v: %w", ln.Addr(), err)
		}
		pause = min(max(2*pause, minAcceptPause), maxAcceptPause)
		s.log.Error("accepting a connection failed", "address", ln.Addr(), "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-s.draining.Done():
			return nil
		}
	}
}

// admit starts to serve a connection, or refuses it.
func (s *Server) admit(nc net.Conn) {
	s.setKeepAlive(nc)
	if s.opts.Refuse != nil {
		if why := s.opts.Refuse(nc.RemoteAddr()); why != "" {
			s.count.refused.Add(1)
			s.sayOnce(&s.lastRefused, "a client was refused", "client", nc.RemoteAddr(), "why", why, "refused", s.count.refused.Load())
			s.reject(nc, why)
			return
		}
	}
	c := newConn(s, nc)
	if !s.register(c) {
		s.count.rejected.Add(1)
		s.sayOnce(&s.lastRefusal, "too many connections", "client", nc.RemoteAddr(), "limit", s.maxConns.Load(), "refused", s.count.rejected.Load())
		s.reject(nc, rejection)
		return
	}
	s.count.total.Add(1)
	s.work.Go(c.serve)
}

// register adds c to the table unless that is full.
func (s *Server) register(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int64(len(s.conns)) >= s.maxConns.Load() {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) unregister(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) setKeepAlive(nc net.Conn) {
	tcp := tcpOf(nc)
	if tcp == nil {
		return
	}
	period := time.Duration(s.keepAlive.Load())
	err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: period > 0, Idle: period, Interval: period / 3, Count: 3})
	if err != nil {
		s.log.Debug("setting keep-alive", "client", nc.RemoteAddr(), "error", err)
	}
}

// sayOnce is a line in the log each refusalEvery.
func (s *Server) sayOnce(when *atomic.Int64, what string, args ...any) {
	now, last := time.Now().UnixNano(), when.Load()
	if now-last > int64(refusalEvery) && when.CompareAndSwap(last, now) {
		s.log.Warn(what, args...)
	}
}

// reject tells the client why and closes the connection, without waiting for it.
func (s *Server) reject(nc net.Conn, why string) {
	select {
	case s.rejecting <- struct{}{}:
	default:
		closeQuietly(nc)
		return
	}
	s.work.Go(func() {
		defer func() { <-s.rejecting }()
		defer closeQuietly(nc)
		stop := closeAfter(s.base, nc)
		defer stop()
		if err := nc.SetDeadline(time.Now().Add(lingerTime)); err != nil {
			return
		}
		if _, err := nc.Write([]byte(why)); err == nil {
			linger(nc)
		}
	})
}
