package hooks

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"evenkeel/internal/fsx"
)

const (
	filePrefix = "hooks-"
	fileSuffix = ".log"
	fileDigits = 20
)

func segmentName(seq uint64) string {
	return fmt.Sprintf("%s%0*d%s", filePrefix, fileDigits, seq, fileSuffix)
}

// parseName returns the number of the segment with this file name.
func parseName(name string) (seq uint64, ok bool) {
	digits, found := strings.CutPrefix(name, filePrefix)
	digits, found2 := strings.CutSuffix(digits, fileSuffix)
	if !found || !found2 || len(digits) != fileDigits {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil
}

// segment is one file of the log.
type segment struct {
	seq  uint64
	path string

	// Guarded by Queue.mu.
	f    fsx.File // nil until it is created, and when it cannot be opened
	size int64    // with what is not written yet
	live int      // messages in it that wait
	refs int      // readers of f
	gone bool     // removed: the last reader closes f

	// Guarded by the turn.
	written, synced int64
	suspect         bool // a sync failed: what is behind synced must be written again
}

func newSegment(dir string, seq uint64) *segment {
	return &segment{seq: seq, path: filepath.Join(dir, segmentName(seq))}
}

// chunk is what is to be written to one segment, in one piece.
type chunk struct {
	seg   *segment
	start int64 // position of data in the segment
	data  []byte
	done  int // bytes of data that are written
}

// place says where a message stands.
type place struct {
	seg  *segment
	pos  uint32
	size uint32 // of the whole record
}

// readPlace returns the record at p.
func readPlace(f fsx.File, p place) (record, error) {
	if f == nil {
		return record{}, fmt.Errorf("%s cannot be read", p.seg.path)
	}
	b := make([]byte, p.size)
	if err := readFull(f, b, int64(p.pos)); err != nil {
		return record{}, fmt.Errorf("read %s at %d: %w", p.seg.path, p.pos, err)
	}
	r, n, ok := parseRecord(b, p.seg.seq, int64(p.pos))
	if !ok || n != len(b) {
		return record{}, fmt.Errorf("%s at %d: %w", p.seg.path, p.pos, errDamaged)
	}
	return r, nil
}

var errDamaged = errors.New("the record is damaged")

// readFull fills b; an end of the file before that is damage.
func readFull(f fsx.File, b []byte, at int64) error {
	for len(b) > 0 {
		n, err := f.ReadAt(b, at)
		b, at = b[n:], at+int64(n)
		if len(b) == 0 {
			return nil
		}
		if errors.Is(err, io.EOF) || (err == nil && n == 0) {
			return fmt.Errorf("%w: the file ends at %d", errDamaged, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readAll returns the content of a segment.
func readAll(f fsx.File) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > math.MaxUint32 {
		return nil, fmt.Errorf("%d bytes are too many for a segment", size)
	}
	b := make([]byte, size)
	return b, readFull(f, b, 0)
}
