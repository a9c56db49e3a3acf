package bridge

import (
	"context"
	"crypto/md5" //nolint:gosec // AOFMD5 is a checksum by definition of the protocol, no protection
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/tile38"
)

// aofName is the name of a Tile38's file.
const aofName = "appendonly.aof"

// file is the follower's own append-only file, on the volume that both share.
type file struct {
	fs   fsx.FS
	path string
}

func newFile(fsys fsx.FS, dir string) file { return file{fsys, filepath.Join(dir, aofName)} }

// open opens the file; nil: there is none.
func (f file) open() (fsx.File, error) {
	h, err := f.fs.OpenFile(f.path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return h, err
}

// md5 is what AOFMD5 answers of a piece: "" when it is not there. The follower asks
// for what it has, which may still be on its way to the disk.
func (f file) md5(ctx context.Context, pos, size int64) (string, error) {
	for end := time.Now().Add(2 * time.Second); ; {
		sum, err := f.sum(pos, size)
		if sum != "" || err != nil || time.Now().After(end) || !pause(ctx, 10*time.Millisecond) {
			return sum, err
		}
	}
}

func (f file) sum(pos, size int64) (string, error) {
	h, err := f.open()
	if h == nil || err != nil {
		return "", err
	}
	defer func() { _ = h.Close() }()
	d := md5.New() //nolint:gosec // see above
	n, err := io.Copy(d, io.NewSectionReader(h, pos, size))
	if err != nil || n < size {
		return "", err
	}
	return hex.EncodeToString(d.Sum(nil)), nil
}

// windows are how much of the end of the file is looked at: until there is a
// heartbeat in it.
const (
	firstWindow = 64 << 10
	lastWindow  = 16 << 20
)

// ending reads the end of the file.
func (f file) ending(beats tile38.Beats) (*ending, error) {
	h, err := f.open()
	if err != nil {
		return nil, err
	}
	if h == nil {
		return &ending{whole: true}, nil
	}
	defer func() { _ = h.Close() }()
	size, err := h.Size()
	if err != nil {
		return nil, err
	}
	for window := int64(firstWindow); ; window *= 16 {
		n := min(window, size)
		b := make([]byte, n)
		if m, err := h.ReadAt(b, size-n); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("the end of the follower's file: %w", err)
		} else if int64(m) < n {
			b = b[:m]
		}
		e := &ending{cmds: tile38.Commands(b, n == size), whole: n == size, size: size}
		if beat, _ := e.beat(beats); beat != nil || n == size || window >= lastWindow {
			return e, nil
		}
	}
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
