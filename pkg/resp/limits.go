package resp

import (
	"errors"
	"fmt"
)

// Limits bounds what one client can make the server hold. Zero fields mean the
// default.
type Limits struct {
	// MaxArgs is the largest number of arguments of a command, its name
	// included. Default 1,048,576, as Redis has it: nothing that people send by
	// hand or by library comes near it.
	MaxArgs int
	// MaxBulk is the largest argument, in bytes. Default 512 MiB, as in Redis.
	MaxBulk int64
	// MaxInline is the longest plain line, in bytes without its line feed.
	// Default 1 MiB: geometries are piped through netcat, and the 64 KiB of
	// Redis is less than a country's border. It is far below MaxBulk because a
	// line announces no length: this is what garbage costs before it is refused.
	MaxInline int64
	// MaxCommand is the largest command as it is on the wire, in bytes. Default
	// 1 GiB: one largest value and as much again for everything else.
	MaxCommand int64
	// MaxHeader is the largest head of an HTTP request without its first line, in
	// bytes; the first line, which holds a command, is bounded by MaxInline, and
	// the body by MaxBulk. Default 64 KiB: cookies of a browser fit well.
	MaxHeader int64
	// MaxMessage is the largest message from a WebSocket client, in bytes,
	// whatever frames it comes in. Default 1 MiB, as for a plain line: both are
	// one command that announces no length.
	MaxMessage int64
	// NoHTTP refuses HTTP and WebSocket: their connections are closed without an
	// answer, as Tile38 does with --http-transport no.
	NoHTTP bool
}

// Defaults of Limits.
const (
	DefaultMaxArgs    = 1 << 20
	DefaultMaxBulk    = 512 << 20
	DefaultMaxInline  = 1 << 20
	DefaultMaxCommand = 1 << 30
	DefaultMaxHeader  = 64 << 10
	DefaultMaxMessage = 1 << 20
)

// maxLength is the largest length that a limit may allow. It leaves room for
// adding lengths without overflow.
const maxLength = 1 << 56

// EnsureDefaults replaces zero fields by their defaults.
func (l *Limits) EnsureDefaults() {
	if l.MaxArgs == 0 {
		l.MaxArgs = DefaultMaxArgs
	}
	if l.MaxBulk == 0 {
		l.MaxBulk = DefaultMaxBulk
	}
	if l.MaxInline == 0 {
		l.MaxInline = DefaultMaxInline
	}
	if l.MaxCommand == 0 {
		l.MaxCommand = DefaultMaxCommand
	}
	if l.MaxHeader == 0 {
		l.MaxHeader = DefaultMaxHeader
	}
	if l.MaxMessage == 0 {
		l.MaxMessage = DefaultMaxMessage
	}
}

// Validate reports every fault of the limits.
func (l Limits) Validate() error {
	var errs []error
	check := func(name string, v int64) {
		if v < 1 || v > maxLength {
			errs = append(errs, fmt.Errorf("limit %s: %d is not between 1 and %d", name, v, int64(maxLength)))
		}
	}
	check("MaxArgs", int64(l.MaxArgs))
	check("MaxBulk", l.MaxBulk)
	check("MaxInline", l.MaxInline)
	check("MaxCommand", l.MaxCommand)
	check("MaxHeader", l.MaxHeader)
	check("MaxMessage", l.MaxMessage)
	return errors.Join(errs...)
}
