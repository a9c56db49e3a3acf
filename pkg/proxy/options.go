package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"evenkeel/pkg/resp"
)

// Options of a Server. Zero fields mean the default unless it says otherwise.
type Options struct {
	// Limits of what a client may send.
	Limits resp.Limits
	// MaxConns is how many connections are served at a time; one more gets an
	// error and is closed. Default 10,000, as in Redis.
	MaxConns int
	// MaxPipeline is how many commands are given to Session.Do at once. Default
	// 256: the cost of a write is spread thin, and the first reply of a long
	// pipeline does not wait for its last.
	MaxPipeline int
	// BatchOutput is the size of replies, in bytes, after which a session should
	// leave a batch early so that they can be sent. Default 1 MiB.
	BatchOutput int64
	// MaxOutput is the largest size of replies, in bytes, that one call of
	// Session.Do may return; a connection that asks for more gets an error and
	// is closed. This is also all that a connection holds of replies that its
	// client does not take. Default: Limits.MaxBulk and 1 MiB, so that whatever
	// could be set can be read back.
	MaxOutput int64
	// Refuse says why a client is not served at all: an error reply with its line end;
	// "": it is. nil: nobody is refused.
	Refuse func(remote net.Addr) string
	// IdleTimeout ends connections that have sent nothing for so long. Default
	// 0: never.
	IdleTimeout time.Duration
	// HeaderTimeout ends connections that have begun an HTTP request and take
	// longer than that to send the end of its head, however they trickle. Default
	// 10 s.
	HeaderTimeout time.Duration
	// WriteTimeout ends connections whose client takes nothing of its replies
	// for so long. Progress is seen in pieces of 256 KiB. Default 30 s.
	WriteTimeout time.Duration
	// DrainTimeout bounds a shutdown. Default 10 s.
	DrainTimeout time.Duration
	// KeepAlive is the period of TCP keep-alive probes, negative to have none.
	// Default 300 s, as in Redis and Tile38.
	KeepAlive time.Duration
	// Observe is told what happens.
	Observe Observe
	// Logger; default slog.Default.
	Logger *slog.Logger
}

// Observe holds optional callbacks. They run on the goroutine of the connection
// and must be quick.
type Observe struct {
	// Opened: a connection is served.
	Opened func(c *Conn)
	// Closed: it has ended.
	Closed func(c *Conn, why CloseReason)
	// Batch: the session has carried out so many commands and took so long,
	// without the sending of the replies.
	Batch func(c *Conn, commands int, took time.Duration)
}

// EnsureDefaults replaces zero fields by their defaults.
func (o *Options) EnsureDefaults() {
	o.Limits.EnsureDefaults()
	if o.MaxConns == 0 {
		o.MaxConns = 10_000
	}
	if o.MaxPipeline == 0 {
		o.MaxPipeline = 256
	}
	if o.BatchOutput == 0 {
		o.BatchOutput = 1 << 20
	}
	if o.MaxOutput == 0 {
		o.MaxOutput = o.Limits.MaxBulk + 1<<20
	}
	if o.HeaderTimeout == 0 {
		o.HeaderTimeout = 10 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 10 * time.Second
	}
	if o.KeepAlive == 0 {
		o.KeepAlive = 300 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// Validate reports every fault of the options.
func (o Options) Validate() error {
	errs := []error{o.Limits.Validate()}
	positive := func(name string, v int64) {
		if v < 1 {
			errs = append(errs, fmt.Errorf("option %s: %d is not positive", name, v))
		}
	}
	positive("MaxConns", int64(o.MaxConns))
	positive("MaxPipeline", int64(o.MaxPipeline))
	positive("BatchOutput", o.BatchOutput)
	positive("MaxOutput", o.MaxOutput)
	positive("HeaderTimeout", int64(o.HeaderTimeout))
	positive("WriteTimeout", int64(o.WriteTimeout))
	positive("DrainTimeout", int64(o.DrainTimeout))
	if o.IdleTimeout < 0 {
		errs = append(errs, fmt.Errorf("option IdleTimeout: %v is negative", o.IdleTimeout))
	}
	return errors.Join(errs...)
}
