package resp

import (
	"errors"
	"io"
	"sync/atomic"
	"unsafe"
)

// Sizes of the read buffer, in bytes.
const (
	// idleBuffer is what a reader holds that waits after Release. Most single
	// commands fit, so that waking up costs one read.
	idleBuffer = 512
	// activeBuffer takes about 400 short pipelined commands in one read.
	activeBuffer = 16 << 10
	// keepBuffer is the largest buffer that is kept from one command to the next.
	keepBuffer = 1 << 20
	// handOver is the size from which a command gets the read buffer itself as
	// its string, instead of a copy: a value of 512 MiB is then held once.
	handOver = 256 << 10
	// keepEntries is the largest bookkeeping, in arguments, that is kept from
	// one call to the next.
	keepEntries = 4096
	// maxEmptyReads in a row are an error of the source.
	maxEmptyReads = 100
)

// Command is one command as a client sent it.
type Command struct {
	// Args are the words of the command, Args[0] its name as sent; there is at
	// least one. They are substrings of one string that belongs to this command
	// alone (it may be the whole message as it was on the wire), so a small part
	// that is kept for long should be cloned. The slice itself is used again by
	// the next call to the Reader.
	Args []string
	Kind Kind
	// Web is set for requests over HTTP: Kind HTTP, and the handshake of Kind
	// WebSocket. What follows a handshake are frames.
	Web *Request
	// Size is the length of the command on the wire, in bytes.
	Size int
}

// Reader splits a stream into commands. It is not safe for concurrent use.
type Reader struct {
	src     io.Reader
	lim     Limits
	buf     []byte // buf[start:end] is unread
	start   int
	end     int
	err     error     // of the protocol: final
	pending error     // came together with bytes that must be used first
	part    partial   // how far the command at start has been looked at
	frames  bool      // a WebSocket handshake has been returned
	respond io.Writer // see Respond
	// half is odd while the head of an HTTP request is incomplete, and grows by 2
	// with each that was.
	half atomic.Int64

	// Of the last call:
	args      []string // all arguments of its commands
	starts    []int    // where each of its commands begins in buf
	handshake bool     // its last command is the handshake of a WebSocket
}

// NewReader returns a Reader of src. Zero fields of l mean their defaults.
func NewReader(src io.Reader, l Limits) *Reader {
	l.EnsureDefaults()
	r := &Reader{src: src, lim: l}
	r.part.reset()
	return r
}

// Next waits for one command. Errors are as for Batch.
func (r *Reader) Next() (Command, error) {
	var one [1]Command
	cmds, err := r.Batch(one[:0], 1)
	if err != nil {
		return Command{}, err
	}
	return cmds[0], nil
}

// Batch waits for one command and appends it to dst, together with the whole
// commands that came with it (a pipeline), at most limit in all. It never waits
// for the rest of a command that follows a whole one.
//
// It returns commands or an error, never both: an error behind commands is
// returned by the next call. A *ProtocolError is final. io.EOF means that the
// stream ended between commands, io.ErrUnexpectedEOF within one. After any other
// error of the source (a timeout) Batch may be called again; nothing is lost.
func (r *Reader) Batch(dst []Command, limit int) ([]Command, error) {
	r.forget()
	if r.err != nil {
		return dst, r.err
	}
	base := len(dst)
	limit = max(limit, 1)
	for {
		for len(dst)-base < limit {
			cmd, ok, err := r.parse(len(dst) == base)
			if err != nil {
				r.err = err
				break
			}
			if !ok {
				break
			}
			dst = append(dst, cmd)
			if cmd.Web != nil {
				break // nothing behind a request is looked at before its answer
			}
		}
		switch {
		case len(dst) > base:
			return dst, nil
		case r.err != nil:
			return dst, r.err
		}
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) && r.end > r.start {
				err = io.ErrUnexpectedEOF
			}
			return dst, err
		}
	}
}

// Unread puts back the last n commands of the last Batch, fewer than it
// returned: they are read again, or handed over by Buffered.
func (r *Reader) Unread(n int) {
	if n == 0 {
		return
	}
	r.start = r.starts[len(r.starts)-n]
	r.starts = r.starts[:len(r.starts)-n]
	r.part.reset()
	r.err = nil // found behind these commands, and will be again
	if r.handshake {
		r.frames, r.handshake = false, false
	}
}

// Buffered returns the bytes received that no returned command contains. They
// are valid until the next call.
func (r *Reader) Buffered() []byte { return r.buf[r.start:r.end] }

// Release gives back all memory that a reader does not need while it waits for
// a client that has sent nothing. Within a command it keeps what was received.
// It invalidates the commands of the last call.
func (r *Reader) Release() {
	r.forget()
	r.args, r.starts = nil, nil
	if r.start == r.end {
		r.buf, r.start, r.end = nil, 0, 0
		r.part = partial{}
		r.part.reset()
	}
}

// forget drops the commands of the last call, so that a waiting reader does not
// hold their strings.
func (r *Reader) forget() {
	if cap(r.args) > keepEntries {
		r.args = nil
	} else {
		clear(r.args)
		r.args = r.args[:0]
	}
	r.starts = r.starts[:0]
	r.handshake = false
}

// parse takes the next whole command out of the buffer; ok is false if there is
// none. first: the call has returned no command yet.
func (r *Reader) parse(first bool) (cmd Command, ok bool, err error) {
	for r.start < r.end {
		b := r.buf[r.start:r.end]
		var size int // 0: incomplete
		kind := RESP
		switch t := transportOf(b[0]); {
		case r.frames:
			kind = WebSocket
			size, err = r.message()
		case t == transportRESP:
			size, err = r.part.array(b, &r.lim)
		case t == transportNative:
			kind = Native
			size, err = r.part.native(b, &r.lim)
		default:
			kind, size, err = r.text(b)
		}
		if err != nil || size == 0 {
			return Command{}, false, err
		}
		if len(r.part.words) == 0 { // an empty line or array is no command
			r.start += size
			r.part.reset()
			continue
		}
		if size >= handOver && !first {
			// It would take the bytes of the commands before it along, which
			// Unread still needs. Its words are found again.
			r.part.reset()
			return Command{}, false, nil
		}
		return r.take(size, kind), true, nil
	}
	return Command{}, false, nil
}

// text looks at b, which begins with a plain line or with an HTTP request.
func (r *Reader) text(b []byte) (kind Kind, size int, err error) {
	p := &r.part
	if p.web == nil {
		size, err = p.line(b, &r.lim)
	} else {
		size, err = p.http(b, &r.lim)
	}
	q := p.web
	if q == nil {
		return Inline, size, err
	}
	if begun := r.half.Load()&1 == 1; begun != (q.head == 0) {
		r.half.Add(1)
	}
	switch {
	case r.lim.NoHTTP:
		return HTTP, 0, errNoHTTP()
	case q.Handshake != "":
		return WebSocket, size, err
	}
	return HTTP, size, err
}

// HalfRequest is odd while the head of an HTTP request is incomplete; each
// request has a number of its own. Unlike the other methods it may be called
// from anywhere: a client must not take for ever to send a head.
func (r *Reader) HalfRequest() int64 { return r.half.Load() }

// take makes a command of the next size bytes, whose words are known.
func (r *Reader) take(size int, kind Kind) Command {
	r.starts = append(r.starts, r.start)
	var text string
	switch raw := r.buf[r.start : r.start+size]; {
	case r.part.unquoted != nil:
		// Made for this command, and forgotten below.
		text = unsafe.String(unsafe.SliceData(r.part.unquoted), len(r.part.unquoted))
		r.start += size
	case size >= handOver:
		// Nothing writes to this buffer again: it is replaced here.
		text = unsafe.String(unsafe.SliceData(raw), len(raw))
		rest := r.buf[r.start+size : r.end]
		r.buf = make([]byte, max(activeBuffer, 2*len(rest)))
		r.start, r.end = 0, copy(r.buf, rest)
	default:
		text = string(raw)
		r.start += size
	}
	base := len(r.args)
	for _, w := range r.part.words {
		r.args = append(r.args, text[w.from:w.to])
	}
	var web *Request
	if q := r.part.web; q != nil {
		web = &q.Request
		r.frames = kind == WebSocket
		r.handshake = r.frames
	}
	r.part.reset()
	return Command{Args: r.args[base:len(r.args):len(r.args)], Kind: kind, Web: web, Size: size}
}

// fill reads once from the source.
func (r *Reader) fill() error {
	if err := r.pending; err != nil {
		r.pending = nil
		return err
	}
	r.makeRoom()
	for range maxEmptyReads {
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		if n > 0 {
			r.pending = err
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// makeRoom leaves free space behind the unread bytes. Each byte is moved a
// bounded number of times: a move frees or adds at least half a buffer.
func (r *Reader) makeRoom() {
	have, size := r.end-r.start, len(r.buf)
	switch {
	case r.buf == nil:
		r.buf = make([]byte, idleBuffer)
	case size < activeBuffer:
		r.move(activeBuffer)
	case have == 0:
		r.start, r.end = 0, 0
		if size > keepBuffer {
			r.move(activeBuffer)
		}
	case size-r.end >= size/4:
	case have <= size/2:
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	default:
		r.move(r.part.grown(size))
	}
}

func (r *Reader) move(size int) {
	buf := make([]byte, size)
	r.end = copy(buf, r.buf[r.start:r.end])
	r.start = 0
	r.buf = buf
}
