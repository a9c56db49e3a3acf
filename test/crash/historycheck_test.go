package crash

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
	"evenkeel/test/rig"
)

// check starts again on what is left, and returns which history it is.
func (l *lineage) check(left *fsxtest.Folders, loss fsxtest.Loss, r *rand.Rand) (index int, err error) {
	if loss != process {
		left = failAgain(left, r)
	}
	p := rig.NewPodOn(left, "data", "pod", nil, rig.Options{NoExpiry: true})
	if err := p.Start(); err != nil {
		return 0, err
	}
	defer p.Kill()
	at, digest := p.Store.Position()
	i, err := l.which(at)
	if err != nil {
		return 0, err
	}
	h := l.past[i]
	if !slices.Equal(p.Log.Forks(), h.forks) {
		return i, fmt.Errorf("history %d has the forks %v, want %v", i, p.Log.Forks(), h.forks)
	}
	want, ok := h.moments[at.Offset]
	if !ok {
		return i, fmt.Errorf("history %d: no command ends at offset %d", i, at.Offset)
	}
	if got := p.State(); got != want.state || digest != want.digest {
		return i, fmt.Errorf("history %d, offset %d: digest %s, want %s: %s", i, at.Offset, digest, want.digest, rig.FirstDifference(want.state, got))
	}
	if err := l.checkPromises(i, at.Offset, loss); err != nil {
		return i, err
	}
	if err := l.checkLost(left, h.chain > 0); err != nil {
		return i, err
	}
	if err := l.checkPositions(p, i, at); err != nil {
		return i, err
	}
	return i, goesOn(p)
}

// failAgain lets the power fail in a recovery.
func failAgain(left *fsxtest.Folders, r *rand.Rand) *fsxtest.Folders {
	again := fsxtest.New(left)
	again.DieAt(r.IntN(12))
	p := rig.NewPodOn(again, "data", "pod", nil, rig.Options{NoExpiry: true})
	if p.Start() == nil {
		p.Kill()
	}
	losses := fsxtest.Losses()
	return left.AfterPowerLoss(losses[r.IntN(len(losses))], r)
}

// which returns the history that at belongs to. One that was being begun has a
// name that only the log knows.
func (l *lineage) which(at aof.Position) (int, error) {
	last := len(l.past) - 1
	for i, h := range l.past {
		if h.epoch == at.Epoch {
			return i, nil
		}
	}
	if l.past[last].epoch == "" {
		return last, nil
	}
	return 0, fmt.Errorf("nobody began the epoch of %v", at)
}

// checkPromises wants the history that was begun last, and what was acknowledged
// in it, or in one that it goes on from.
func (l *lineage) checkPromises(index int, end int64, loss fsxtest.Loss) error {
	if index < l.now {
		return fmt.Errorf("history %d was begun, there is %d", l.now, index)
	}
	for _, a := range l.acked {
		if l.past[a.history].chain != l.past[index].chain || a.offset <= end {
			continue
		}
		if loss == process || promised(l.policy, a.ack, l.died) {
			return fmt.Errorf("history %d ends at %d; %d was acknowledged %s before the crash", index, end, a.offset, l.died.Sub(a.at))
		}
	}
	return nil
}

// checkLost wants the file of what was given up to be whole, if it is there, and
// to be there when the history was replaced.
func (l *lineage) checkLost(left *fsxtest.Folders, replaced bool) error {
	entries, err := left.ReadDir("data")
	if err != nil {
		return err
	}
	found := 0
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "lost-") || strings.HasSuffix(e.Name(), fsx.TempSuffix) {
			continue
		}
		b, err := fsx.ReadFile(left, filepath.Join("data", e.Name()))
		if err != nil {
			return err
		}
		found++
		if e.Name() != "lost-"+l.from+".aof" || !bytes.Equal(b, l.lost) {
			return fmt.Errorf("%s has %d bytes, given up were %d in lost-%s.aof", e.Name(), len(b), len(l.lost), l.from)
		}
	}
	if replaced && found != 1 {
		return fmt.Errorf("the history was replaced, %d files keep what was given up", found)
	}
	return nil
}

// checkPositions asks to go on from every moment of every history: those that
// lead to the state that is here are granted (or not there any more), no others.
func (l *lineage) checkPositions(p *rig.Pod, index int, at aof.Position) error {
	here := l.past[index]
	granted := 0
	for i, h := range l.past {
		epoch, last := h.epoch, at.Offset
		if i == index {
			epoch = at.Epoch
		} else if f := slices.IndexFunc(here.forks, func(f aof.Fork) bool { return f.Epoch == h.epoch }); f >= 0 {
			last = min(last, here.forks[f].Offset)
		} else {
			last = -1
		}
		if epoch == "" {
			continue
		}
		for offset, m := range h.moments {
			tail, err := p.Log.Tail(aof.Position{Epoch: epoch, Offset: offset}, m.digest)
			agrees := h.chain == here.chain && offset <= last
			if err == nil {
				granted++
				err = tail.Close()
				// A resync that has changed nothing yet leaves the state that was there.
				same := slices.ContainsFunc(l.past, func(o *history) bool {
					own, ok := o.moments[offset]
					return ok && o.chain == here.chain && own.digest == m.digest
				})
				if err == nil && (agrees || same && offset <= last) {
					continue
				}
				return errors.Join(err, fmt.Errorf("history %d, which ends at %d, goes on from %d of %d", index, at.Offset, offset, i))
			}
			if agrees && !errors.Is(err, aof.ErrGone) {
				return fmt.Errorf("history %d, which ends at %d, does not go on from %d of %d: %w", index, at.Offset, offset, i, err)
			}
		}
	}
	if granted == 0 {
		return fmt.Errorf("history %d at %d goes on from nowhere", index, at.Offset)
	}
	return nil
}
