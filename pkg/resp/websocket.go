package resp

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xA
)

// Status codes of section 7.4.1.
const (
	closeProtocol = 1002
	closeTooBig   = 1009
)

const (
	finalBit   = 0x80
	maskBit    = 0x80
	maxControl = 125  // bytes that a control frame may hold
	maxExtra   = 4096 // bytes of frame heads and control frames within one message
)

// frameHead begins an unmasked, final frame of n bytes.
func frameHead(op byte, n int) []byte {
	h := []byte{finalBit | op}
	switch {
	case n <= 125:
		return append(h, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(h, 126), uint16(n)) //nolint:gosec // it has just been checked
	}
	return binary.BigEndian.AppendUint64(append(h, 127), uint64(n)) //nolint:gosec // a length
}

// frame is the head of a client's frame.
type frame struct {
	final bool
	op    byte
	mask  [4]byte
	size  int64 // of the payload
	head  int   // size of the head
}

// frameAt reads the head of the frame that b begins with; head is 0 when it is
// incomplete. fault tells what is wrong with it.
func frameAt(b []byte) (f frame, fault string) {
	if len(b) < 2 {
		return f, ""
	}
	f.final, f.op, f.size = b[0]&finalBit != 0, b[0]&0x0f, int64(b[1]&^maskBit)
	switch {
	case b[0]&0x70 != 0:
		return f, "reserved bits are set"
	case f.op > opBinary && f.op < opClose, f.op > opPong:
		return f, "unknown opcode"
	case b[1]&maskBit == 0:
		return f, "frame without a mask"
	case f.op >= opClose && (f.size > maxControl || !f.final):
		return f, "broken control frame"
	}
	at := 2
	switch wide := f.size - 125; {
	case wide == 1 && len(b) >= 4:
		f.size, at = int64(binary.BigEndian.Uint16(b[2:])), 4
	case wide == 2 && len(b) >= 10:
		n := binary.BigEndian.Uint64(b[2:])
		f.size, at = int64(min(n, maxLength)), 10 //nolint:gosec // bounded by maxLength
	case wide > 0:
		f.size = 0
		return f, ""
	}
	if len(b) < at+len(f.mask) {
		return f, ""
	}
	copy(f.mask[:], b[at:])
	f.head = at + len(f.mask)
	return f, ""
}

// unmask appends payload, which is masked, in the clear.
func (f *frame) unmask(dst, payload []byte) []byte {
	for i, c := range payload {
		dst = append(dst, c^f.mask[i&3])
	}
	return dst
}

// Respond sets where pongs and the answer to a close are written to, each with
// one Write. Without it they are not sent. Write may wait: it is called by
// whoever calls Next or Batch.
func (r *Reader) Respond(w io.Writer) { r.respond = w }

// message looks for the next message of a WebSocket, in which case its words
// are known and its size is returned, before that 0. Pings are answered and
// pongs dropped on the way. A message is at most MaxMessage bytes, in as many
// frames as the client likes.
func (r *Reader) message() (int, error) {
	p := &r.part
	for {
		b := r.buf[r.start:r.end]
		f, fault := frameAt(b[p.at:])
		if fault != "" {
			return 0, r.violation(closeProtocol, fault)
		}
		// The second sum is about a message that is never finished but interrupted
		// by pings.
		if int64(len(p.unquoted))+f.size > r.lim.MaxMessage || int64(p.at) > r.lim.MaxMessage+maxExtra {
			return 0, r.violation(closeTooBig, fmt.Sprintf("too big message: at most %d bytes are allowed", r.lim.MaxMessage))
		}
		end := p.at + f.head + int(f.size)
		if f.head == 0 || len(b) < end {
			p.bulk = max(0, int(f.size)+f.head) // lets the buffer grow to what is needed
			return 0, nil
		}
		payload := b[p.at+f.head : end]
		begun := p.unquoted != nil
		switch {
		case f.op >= opClose:
			if err := r.control(&f, payload); err != nil {
				return 0, err
			}
			if !begun { // nothing to put together: it need not be kept
				r.start += end
				end = 0
			}
		case begun != (f.op == opContinue):
			return 0, r.violation(closeProtocol, "frames out of order")
		default:
			if !begun {
				p.unquoted = make([]byte, 0, len(payload))
			}
			p.unquoted = f.unmask(p.unquoted, payload)
			if f.final {
				p.splitNative(p.unquoted, 0, len(p.unquoted))
				return end, nil
			}
		}
		p.at, p.bulk = end, -1
	}
}

// control handles a control frame.
func (r *Reader) control(f *frame, payload []byte) error {
	var answer []byte
	switch f.op {
	case opPing:
		answer = f.unmask(frameHead(opPong, len(payload)), payload)
	case opClose:
		answer = f.unmask(frameHead(opClose, len(payload)), payload)
	}
	if err := r.tell(answer); err != nil {
		return err
	}
	if f.op == opClose {
		return io.EOF
	}
	return nil
}

func (r *Reader) tell(frame []byte) error {
	if len(frame) == 0 || r.respond == nil {
		return nil
	}
	if _, err := r.respond.Write(frame); err != nil {
		return fmt.Errorf("answering a WebSocket frame: %w", err)
	}
	return nil
}

// violation ends the conversation, and tells the client why.
func (r *Reader) violation(code uint16, why string) error {
	payload := append(binary.BigEndian.AppendUint16(nil, code), why...)
	payload = payload[:min(len(payload), maxControl)]
	if err := r.tell(append(frameHead(opClose, len(payload)), payload...)); err != nil {
		return err
	}
	return &ProtocolError{Text: protocolError + "WebSocket: " + why, Quiet: true}
}
