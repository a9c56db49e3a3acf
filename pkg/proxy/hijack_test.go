package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

func TestHijack(t *testing.T) {
	f := start(t, Options{})
	f.toy.hijack = func(_ context.Context, h Hijacked) error {
		if _, err := h.Conn.Write([]byte("buffered:" + string(h.Reader.Buffered()) + ";")); err != nil {
			return err
		}
		for { // commands, from the buffer and then from the client
			cmd, err := h.Reader.Next()
			if err != nil {
				return err
			}
			if _, err := h.Conn.Write([]byte(cmd.Args[0] + ";")); err != nil {
				return err
			}
			if cmd.Args[0] == "END" {
				return errors.New("asked to")
			}
		}
	}
	c := f.dial()
	c.send("PING\n*1\r\n$6\r\nHIJACK\r\nONE 1\n" + ping + "HA")
	c.want("+PONG\r\n+OK\r\nbuffered:ONE 1\n" + ping + "HA;ONE;PING;")
	c.send("LF\nEND\nPING\n")
	c.want("HALF;END;")
	c.wantCut()
	f.closedFor(ClosedByHijack, 1)
	if n := f.toy.executed.Load(); n != 2 {
		t.Errorf("the session was given %d commands", n)
	}
}

// Neither the idle timeout nor the giving back of buffers touches a hijacked
// connection; a kill and a shutdown end it.
func TestHijackEnds(t *testing.T) {
	for _, end := range []string{"kill", "shutdown"} {
		t.Run(end, func(t *testing.T) {
			f := start(t, Options{})
			in, out := make(chan struct{}), make(chan error, 1)
			f.toy.hijack = func(ctx context.Context, h Hijacked) error {
				close(in)
				_, err := h.Conn.Read(make([]byte, 1)) // nothing comes
				if ctx.Err() == nil {
					err = errors.New("the read ended before the context")
				}
				<-ctx.Done()
				out <- err
				return nil
			}
			c := f.dial()
			c.send("HIJACK\n")
			c.want("+OK\r\n")
			<-in
			f.Each(func(c *Conn) { c.wake() }) // as the sweeper does
			if end == "kill" {
				f.Each((*Conn).Kill)
			} else if err := f.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			err := <-out
			if _, ok := errors.AsType[net.Error](err); !ok {
				t.Errorf("the read ended with %v", err)
			}
			c.wantCut()
		})
	}
}

func TestPanicWhileHijacked(t *testing.T) {
	f := start(t, Options{})
	f.toy.hijack = func(context.Context, Hijacked) error { panic("as asked") }
	c := f.dial()
	c.send("HIJACK\n")
	if got, err := io.ReadAll(c.r); string(got) != "+OK\r\n" {
		t.Errorf("%q, %v", got, err)
	}
	f.closedFor(ClosedPanic, 1)
}
