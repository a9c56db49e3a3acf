package aof

import (
	"errors"
	"io/fs"
	"strings"
	"time"

	"evenkeel/internal/fsx"
)

// Stats is a picture of the log. Sizes are bytes.
type Stats struct {
	Epoch string
	First int64 // the oldest offset that a tail can start from
	Base  Mark  // of the base; zero without one
	Last  Mark  // appended
	Seen  Mark  // written (with FsyncAlways: synced)
	// Synced is an offset up to which the log is known to be on the disk.
	Synced int64

	BaseBytes    int64 // the base or adopted file
	SinceBytes   int64 // segments behind the base
	BacklogBytes int64 // segments before the base
	TempBytes    int64 // unfinished files
	PayloadBytes int64 // base and segments behind it without annotations
	PendingBytes int64 // in memory, waiting for the disk

	Segments int // files
	Tails    int // readers that keep segments

	Policy    FsyncPolicy
	Writable  bool
	Failure   error // why it is not writable
	Batches   int64 // annotations made
	Flushes   int64 // group commits
	Rotations int64 // segments completed
	Syncs     int64
	SyncTime  time.Duration // sum over all syncs
	SyncError error         // of the last sync
}

// Stats returns the state of now. It reads the directory for TempBytes.
func (l *Log) Stats() Stats {
	temp := l.tempBytes()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{
		Epoch: l.epoch, Last: l.last, Seen: l.seen,
		TempBytes:    temp,
		PayloadBytes: l.payloadSizeLocked(),
		PendingBytes: int64(len(l.active)) + l.inFlight,
		Segments:     len(l.segs),
		Tails:        len(l.cursors),
		Policy:       l.policy,
		Writable:     l.writableLocked() == nil,
		Failure:      l.failure,
		Batches:      l.stats.batches,
		Flushes:      l.stats.flushes,
		Rotations:    l.stats.cuts,
		Syncs:        l.stats.syncs,
		SyncTime:     l.stats.syncTime,
		SyncError:    l.stats.syncErr,
	}
	s.Synced = l.syncedLocked()
	if l.base != nil {
		s.Base, s.First, s.BaseBytes = l.base.end, l.base.end.Offset, l.base.size
	}
	for _, f := range l.segs {
		s.First = min(s.First, f.start)
		if l.base != nil && f.start < l.base.end.Offset {
			s.BacklogBytes += f.visible
		} else {
			s.SinceBytes += f.visible
		}
	}
	return s
}

// Synced returns the offset up to which the log is known to be on the disk.
func (l *Log) Synced() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.syncedLocked()
}

func (l *Log) syncedLocked() int64 {
	if l.policy == FsyncAlways {
		return l.seen.Offset
	}
	synced := l.synced
	if l.base != nil {
		synced = max(synced, l.base.end.Offset)
	}
	return synced
}

// tempBytes sums up unfinished files; a file that goes away meanwhile counts
// nothing, and so does what cannot be read: this is a measurement.
func (l *Log) tempBytes() (sum int64) {
	entries, err := l.fs.ReadDir(l.o.Dir)
	if err != nil {
		l.logger.Debug("measure unfinished files", "error", err)
		return 0
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), fsx.TempSuffix) {
			continue
		}
		info, err := e.Info()
		if err == nil {
			sum += info.Size()
		} else if !errors.Is(err, fs.ErrNotExist) {
			l.logger.Debug("measure unfinished files", "error", err)
		}
	}
	return sum
}
