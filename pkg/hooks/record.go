package hooks

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// A record is a header of 16 bytes and a body. All numbers are little-endian.
//
//	offset  0        4         8          12            16
//	        | magic  | length  | CRC-32C  | CRC-32C of  | body …
//	        |        | of body | of body  | the header  |
//
// The header's checksum begins with the number of the segment and the position
// in it, so that nothing is a valid record in a place other than its own: neither
// a message that looks like a record nor a block that the disk put elsewhere.
//
//	message: 'M' uvarint(id) uvarint(Unix ms) uvarint(len) hook message
//	mark:    'D' uvarint(id)                  uvarint(len) hook
//
// A mark says that all messages of the hook up to the id are done with.
const (
	headerSize = 16
	maxBody    = 512 << 20
	maxNames   = 32 << 20 // what a body has beside the message is less
	maxSegment = 1 << 30  // positions are stored in 32 bits

	kindMessage = 'M'
	kindMark    = 'D'
)

// magic holds bytes that do not occur in UTF-8 text.
var magic = []byte{0xff, 'E', 'K', 0x00} // never changed

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // never changed

// record is one record of a segment. hook and msg point into the segment's bytes.
type record struct {
	kind byte
	id   uint64
	at   int64 // Unix ms, of a message
	hook []byte
	msg  []byte
}

// bodySize returns the size of the body, in bytes.
func (r *record) bodySize() int {
	n := 1 + uvarintSize(r.id) + uvarintSize(uint64(len(r.hook))) + len(r.hook)
	if r.kind == kindMessage {
		n += uvarintSize(uint64(r.at)) + len(r.msg) // #nosec G115 -- read back alike
	}
	return n
}

func uvarintSize(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// appendRecord appends r as it stands at pos of the segment seq.
func appendRecord(buf []byte, seq uint64, pos int64, r *record) []byte {
	at := len(buf)
	buf = append(buf, make([]byte, headerSize)...)
	buf = append(buf, r.kind)
	buf = binary.AppendUvarint(buf, r.id)
	if r.kind == kindMessage {
		buf = binary.AppendUvarint(buf, uint64(r.at)) // #nosec G115 -- read back alike
	}
	buf = binary.AppendUvarint(buf, uint64(len(r.hook)))
	buf = append(buf, r.hook...)
	if r.kind == kindMessage {
		buf = append(buf, r.msg...)
	}
	h, body := buf[at:at+headerSize], buf[at+headerSize:]
	sum := placeSum(h, seq, pos)
	copy(h, magic)
	binary.LittleEndian.PutUint32(h[4:], uint32(len(body))) // #nosec G115 -- checked by Append
	binary.LittleEndian.PutUint32(h[8:], crc32.Checksum(body, castagnoli))
	binary.LittleEndian.PutUint32(h[12:], crc32.Update(sum, castagnoli, h[:12]))
	return buf
}

// placeSum returns the checksum of a place. It uses 16 bytes of scratch, so that
// nothing is allocated under the store's lock.
func placeSum(scratch []byte, seq uint64, pos int64) uint32 {
	binary.LittleEndian.PutUint64(scratch, seq)
	binary.LittleEndian.PutUint64(scratch[8:], uint64(pos)) // #nosec G115 -- a position
	return crc32.Checksum(scratch[:16], castagnoli)
}

// header returns the size of the record that b, which is at pos of the segment
// seq, begins with; 0 when it does not begin with one.
func header(b []byte, seq uint64, pos int64) int {
	if len(b) < headerSize || !bytes.Equal(b[:4], magic) {
		return 0
	}
	sum := placeSum(make([]byte, 16), seq, pos)
	if binary.LittleEndian.Uint32(b[12:]) != crc32.Update(sum, castagnoli, b[:12]) {
		return 0
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n > maxBody {
		return 0
	}
	return headerSize + int(n)
}

// parseRecord reads the record that b begins with and returns its size. When it
// is damaged ok is false; n is 0 then unless the header is whole.
func parseRecord(b []byte, seq uint64, pos int64) (r record, n int, ok bool) {
	n = header(b, seq, pos)
	if n == 0 || n > len(b) {
		return record{}, n, false
	}
	body := b[headerSize:n]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[8:]) {
		return record{}, n, false
	}
	r, ok = parseBody(body)
	return r, n, ok
}

func parseBody(b []byte) (r record, ok bool) {
	if len(b) == 0 || (b[0] != kindMessage && b[0] != kindMark) {
		return r, false
	}
	r.kind, b = b[0], b[1:]
	if r.id, b, ok = uvarint(b); !ok {
		return r, false
	}
	if r.kind == kindMessage {
		var at uint64
		if at, b, ok = uvarint(b); !ok {
			return r, false
		}
		r.at = int64(at) // #nosec G115 -- written alike
	}
	var n uint64
	if n, b, ok = uvarint(b); !ok || n > uint64(len(b)) {
		return r, false
	}
	r.hook, r.msg = b[:n:n], b[n:]
	return r, r.kind == kindMessage || len(r.msg) == 0
}

func uvarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

// walk calls fn for every record in data, the content of the segment seq, and
// skips what is damaged. It returns where the last whole record ends, and how
// many stretches before that it skipped and their bytes.
func walk(data []byte, seq uint64, fn func(r record, pos, size int)) (end, stretches, skipped int) {
	pos, bad := 0, 0 // bad: bytes before pos since the last whole record
	for pos < len(data) {
		r, n, ok := parseRecord(data[pos:], seq, int64(pos))
		if ok {
			if bad > 0 {
				stretches++
				skipped += bad
				bad = 0
			}
			fn(r, pos, n)
			pos += n
			end = pos
			continue
		}
		next := pos + n
		if n == 0 || next > len(data) {
			next = resync(data, seq, pos+1)
		}
		bad += next - pos
		pos = next
	}
	return end, stretches, skipped
}

// resync returns the next position from pos on at which a header stands.
func resync(data []byte, seq uint64, pos int) int {
	for pos < len(data) {
		i := bytes.Index(data[pos:], magic)
		if i < 0 {
			break
		}
		pos += i
		if header(data[pos:], seq, int64(pos)) > 0 {
			return pos
		}
		pos++
	}
	return len(data)
}
