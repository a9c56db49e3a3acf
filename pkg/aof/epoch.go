package aof

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// maxForks is how many histories before its own a log remembers. One is added
// by a promotion; whoever followed a leader so long ago resyncs.
const maxForks = 64

// Fork is a history that the log's own one agrees with up to Offset: there one
// of them went on under another name.
type Fork struct {
	Epoch  string `json:"epoch"`
	Offset int64  `json:"offset"`
}

// History names a history, and those that it goes on from.
type History struct {
	Epoch string
	Forks []Fork // oldest first; the newest of them, if there are very many
}

// check says what is wrong with a name of a history.
func (h *History) check() error {
	if !validEpoch(h.Epoch) {
		return fmt.Errorf("epoch %q: want 40 hexadecimal digits", h.Epoch)
	}
	return checkForks(h.Forks)
}

// NewEpochID returns a random name for a history.
func NewEpochID() (string, error) {
	var id [20]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", fmt.Errorf("make an epoch: %w", err)
	}
	return hex.EncodeToString(id[:]), nil
}

// Forks returns the histories that the log's own one goes on from, oldest first.
func (l *Log) Forks() []Fork {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.previous)
}

// BeginEpoch lets a new history begin where the log ends, which is synced first:
// what is appended from now on belongs to it. Who has followed the old one up to
// here can go on. The caller sees to it that nobody appends meanwhile.
func (l *Log) BeginEpoch(ctx context.Context, epoch string) error {
	return l.setEpoch(ctx, epoch, l.Next(epoch).Forks)
}

// Next returns the history epoch that goes on from the log's own one where it ends.
func (l *Log) Next(epoch string) History {
	l.mu.Lock()
	defer l.mu.Unlock()
	forks := goOn(l.previous, Fork{Epoch: l.epoch, Offset: l.last.Offset})
	return History{Epoch: epoch, Forks: forks[max(0, len(forks)-maxForks):]}
}

// JoinEpoch lets the log, which follows another one, go on as part of the
// history epoch. forks are those of the other log, from the log's own epoch on:
// it must not have gone on beyond that fork.
func (l *Log) JoinEpoch(ctx context.Context, epoch string, forks []Fork) error {
	l.mu.Lock()
	at, own := l.last.Offset, l.epoch
	previous := slices.Clone(l.previous)
	l.mu.Unlock()
	if len(forks) == 0 || forks[0].Epoch != own || forks[0].Offset < at {
		return fmt.Errorf("join epoch %s: the log is at %s:%d, the histories fork at %v: %w", epoch, own, at, forks, ErrEpoch)
	}
	return l.setEpoch(ctx, epoch, goOn(previous, forks...))
}

// goOn returns previous with forks behind it. A log that has joined an epoch, and
// leaves it before it got to where that began, agrees with those before no further
// than it has got.
func goOn(previous []Fork, forks ...Fork) []Fork {
	all := slices.Concat(previous, forks)
	for i := range previous {
		all[i].Offset = min(all[i].Offset, forks[0].Offset)
	}
	return all
}

// setEpoch gives the log another epoch. Everything that was appended before is
// durable first: the fork must not lie behind the end of the log.
func (l *Log) setEpoch(ctx context.Context, epoch string, forks []Fork) error {
	if n := len(forks) - maxForks; n > 0 {
		forks = forks[n:]
	}
	h := History{Epoch: epoch, Forks: forks}
	if err := h.check(); err != nil {
		return fmt.Errorf("begin epoch %s: %w", epoch, err)
	}
	if err := l.takeTurn(ctx); err != nil {
		return fmt.Errorf("begin epoch %s: %w", epoch, err)
	}
	defer l.giveTurn()
	if err := l.blocked(); err != nil {
		return err
	}
	if err := l.flushAndSync(); err != nil {
		return err
	}
	l.manifestMu.Lock()
	defer l.manifestMu.Unlock()
	l.mu.Lock()
	m := l.manifestLocked(l.base, l.segs, l.obsoleteNames())
	l.mu.Unlock()
	m.Epoch, m.Previous = epoch, forks
	if err := l.writeManifest(m); err != nil {
		return fmt.Errorf("begin epoch %s: %w", epoch, err)
	}
	l.mu.Lock()
	l.epoch, l.previous = epoch, forks
	for c := range l.cursors {
		c.notify()
	}
	l.mu.Unlock()
	return nil
}

// agreesLocked says whether p is a position of the log's history: in its own
// epoch, or in one that it goes on from, before the fork.
func (l *Log) agreesLocked(p Position) bool {
	if p.Epoch == l.epoch {
		return true
	}
	f, ok := findFork(l.previous, p.Epoch)
	return ok && p.Offset <= f.Offset
}

// ForkOf returns up to which offset the log's history and that of epoch agree;
// ok is false when the log does not know that one. For the log's own epoch it is
// where the log ends.
func (l *Log) ForkOf(epoch string) (offset int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch == l.epoch {
		return l.seen.Offset, true
	}
	f, ok := findFork(l.previous, epoch)
	return f.Offset, ok
}

// PartedFrom returns the offset at which the log's history left that of another
// log, which is at p after forks, oldest first. parted is false if it did not go on beyond
// the other one, or has no epoch in common with it.
func (l *Log) PartedFrom(p Position, forks []Fork) (offset int64, parted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	theirs := append(slices.Clone(forks), Fork(p))
	ours := append(slices.Clone(l.previous), Fork{Epoch: l.epoch, Offset: l.seen.Offset})
	for _, f := range slices.Backward(ours) {
		for _, t := range theirs { // the first, if it came back to the epoch
			if t.Epoch == f.Epoch {
				offset = min(t.Offset, f.Offset)
				return offset, offset < l.seen.Offset
			}
		}
	}
	return 0, false
}

// findFork returns the last fork of epoch: a log may have come back to it.
func findFork(forks []Fork, epoch string) (Fork, bool) {
	for _, f := range slices.Backward(forks) {
		if f.Epoch == epoch {
			return f, true
		}
	}
	return Fork{}, false
}

// checkForks says what is wrong with a list of forks.
func checkForks(forks []Fork) error {
	var errs []error
	last := int64(0)
	for _, f := range forks {
		if !validEpoch(f.Epoch) {
			errs = append(errs, fmt.Errorf("previous epoch %q: want 40 hexadecimal digits", f.Epoch))
		}
		if f.Offset < last {
			errs = append(errs, fmt.Errorf("previous epoch %s ends at offset %d, the one before it at %d", f.Epoch, f.Offset, last))
		}
		last = f.Offset
	}
	return errors.Join(errs...)
}
