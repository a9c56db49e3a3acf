package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/store"
	"evenkeel/test/rig"
)

// moment is the state at one offset of a history.
type moment struct {
	state  string
	digest aof.Digest
}

// history is one epoch in the life of a pod. Those of one chain go on from each
// other; a resync begins another chain.
type history struct {
	chain   int
	epoch   string // "": it was being begun when the disk failed
	forks   []aof.Fork
	moments map[int64]moment
}

// snapshot is a leader's state as a range resync sees it.
type snapshot struct {
	epoch  string
	mark   aof.Mark
	state  string
	ranges []sentRange
}

type sentRange struct {
	replication.Range
	hashes []uint64
	items  [][]string
}

// historyAck is a promise in a history.
type historyAck struct {
	ack
	history int
}

// lineage is a pod that is promoted, joins epochs, and is resynced, until its
// disk fails.
type lineage struct {
	policy  aof.FsyncPolicy
	segment int64
	writes  [][]string
	leader  *snapshot

	disk  *fsxtest.FS
	pod   *rig.Pod
	died  time.Time
	now   int // index of the history that is being written
	past  []*history
	acked []historyAck
	lost  []byte // what is behind the fork when the resync begins
	from  string // the epoch that it was written in
	done  bool   // the resync is through
	fork  int64
}

// newSnapshot is to be called in a bubble of its own.
func newSnapshot() (s *snapshot, err error) {
	p := rig.NewPod("leader", nil, rig.Options{NoExpiry: true})
	if err := p.Start(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	for _, c := range rig.Writes(rand.New(rand.NewPCG(98, 98)), 30) {
		if _, err := p.Do([][]string{c}, false); err != nil {
			return nil, err
		}
	}
	src, err := p.Store.RangeSnapshot(bg)
	if err != nil {
		return nil, err
	}
	s = &snapshot{epoch: src.Position().Epoch, mark: src.Mark(), state: p.State()}
	for {
		r, ok, err := src.Next(bg)
		if err != nil || !ok {
			return s, err
		}
		sent := sentRange{Range: r, hashes: src.Hashes(r)}
		all := replication.NewBits(r.Count)
		for i := range r.Count {
			all.Set(i)
		}
		err = src.Items(bg, r, all, func(args []string) error {
			sent.items = append(sent.items, slices.Clone(args))
			return nil
		})
		if err != nil {
			return nil, err
		}
		s.ranges = append(s.ranges, sent)
	}
}

// descend leads a life on a disk whose operations fail from the nth on.
func descend(policy aof.FsyncPolicy, seed uint64, leader *snapshot, disk *fsxtest.Folders, n int) (*lineage, error) {
	writes := slices.DeleteFunc(rig.Writes(rand.New(rand.NewPCG(seed, uint64(policy))), 60), func(c []string) bool {
		return c[0] == "FLUSHDB" || len(c) > 8 && c[0] == "EVAL"
	})
	l := &lineage{policy: policy, segment: 1 << 20, writes: writes, leader: leader, disk: fsxtest.New(disk)}
	if seed%2 == 0 {
		l.segment = 500
	}
	l.disk.FailWith(func(i int, op fsxtest.Op, path string) error {
		if i <= n {
			return nil
		}
		if l.died.IsZero() {
			l.died = time.Now()
		}
		return fmt.Errorf("%s %s: the power is off: %w", op, path, syscall.EIO)
	})
	l.pod = rig.NewPodOn(l.disk, "data", "pod", nil, rig.Options{Fsync: policy, SegmentBytes: l.segment, NoExpiry: true})
	err := l.all()
	if l.pod.Log != nil {
		l.pod.Kill()
	}
	if err != nil && l.died.IsZero() {
		return nil, fmt.Errorf("a life without a crash: %w", err)
	}
	return l, nil
}

func (l *lineage) all() error {
	l.begin(0, nil)
	l.past[0].moments[0] = moment{} // nothing
	if err := l.pod.Start(); err != nil {
		return err
	}
	l.note()
	for _, step := range []func() error{
		l.some(4), l.promote, l.some(4), l.compact, l.some(2),
		l.join, l.some(3), l.promote, l.restart, l.some(3),
		func() error { l.fork = l.at().Offset; return nil },
		l.some(4), l.resync, l.some(3), l.join, l.compact, l.some(1),
		l.halfway, l.some(3), l.promote, l.some(1),
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return l.pod.Stop()
}

// begin adds a history that is not known by name yet.
func (l *lineage) begin(chain int, forks []aof.Fork) {
	l.past = append(l.past, &history{chain: chain, forks: forks, moments: map[int64]moment{}})
}

// begun says that the history added last is the one that is being written.
func (l *lineage) begun() {
	l.now = len(l.past) - 1
	l.past[l.now].epoch = l.at().Epoch
	l.note()
}

func (l *lineage) at() aof.Position { return l.pod.Log.Position() }

// note adds the state of now to what is known of the history.
func (l *lineage) note() {
	at, digest := l.pod.Store.Position()
	h := l.past[l.now]
	h.epoch = at.Epoch
	h.moments[at.Offset] = moment{l.pod.State(), digest}
}

// some writes n commands and commits each.
func (l *lineage) some(n int) func() error {
	return func() error {
		for range n {
			c := l.writes[0]
			l.writes = l.writes[1:]
			time.Sleep(130 * time.Millisecond)
			var out reply.Reply
			offset := l.pod.Run([][]string{c}, &out)
			l.note()
			if offset == 0 {
				continue
			}
			if err := l.pod.Store.Commit(bg, offset); err != nil {
				return err
			}
			l.acked = append(l.acked, historyAck{ack{offset, time.Now()}, l.now})
		}
		return nil
	}
}

func (l *lineage) compact() error { return l.pod.Compact() }

// restart is that of a leader: its epoch stays, since it ended in order.
func (l *lineage) restart() error {
	if err := l.pod.Stop(); err != nil {
		return err
	}
	return l.pod.Start()
}

// next adds a history that goes on from the one of now.
func (l *lineage) next(forks ...aof.Fork) {
	h := l.past[l.now]
	known := slices.Clone(h.forks)
	for i := range known { // the pod may not have got there
		known[i].Offset = min(known[i].Offset, forks[0].Offset)
	}
	l.begin(h.chain, append(known, forks...))
	l.past[len(l.past)-1].moments[l.at().Offset] = h.moments[l.at().Offset]
}

func (l *lineage) promote() error {
	l.next(aof.Fork(l.at()))
	if err := l.pod.Store.BeginEpoch(bg); err != nil {
		return err
	}
	l.begun()
	return nil
}

// join takes up a leader's epoch, which began further on than where the pod is.
func (l *lineage) join() error {
	at := l.at()
	between, err := aof.NewEpochID()
	if err != nil {
		return err
	}
	epoch, err := aof.NewEpochID()
	if err != nil {
		return err
	}
	forks := []aof.Fork{{Epoch: at.Epoch, Offset: at.Offset + 10}, {Epoch: between, Offset: at.Offset + 20}}
	l.next(forks...)
	if err := l.pod.Store.JoinEpoch(bg, epoch, forks); err != nil {
		return err
	}
	l.begun()
	return nil
}

// resync takes the leader's state, and gives up what is behind the fork.
func (l *lineage) resync() error {
	l.lost, l.from = nil, l.at().Epoch
	err := l.pod.Log.Replay(bg, func(b aof.Batch) error {
		if b.Offset > l.fork {
			l.lost = append(l.lost, b.Payload...)
		}
		return nil
	}, nil)
	if err != nil {
		return err
	}
	l.begin(l.past[l.now].chain+1, nil)
	h := l.past[len(l.past)-1]
	h.epoch, h.moments[l.leader.mark.Offset] = l.leader.epoch, moment{l.leader.state, l.leader.mark.Digest}
	r, err := l.pod.Store.BeginResync(bg, aof.History{Epoch: l.leader.epoch}, l.leader.mark, l.fork)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, s := range l.leader.ranges {
		if err := take(r, s); err != nil {
			return err
		}
	}
	if err := r.Finish(bg); err != nil {
		return err
	}
	l.done = true
	l.begun()
	return nil
}

// take carries out one range.
func take(r *store.Resync, s sentRange) error {
	differs, err := r.Compare(s.Range)
	if err != nil || !differs {
		return err
	}
	pick := r.Pick(s.Range, s.hashes)
	var items [][]string
	for i, item := range s.items {
		if pick.Has(i) {
			items = append(items, item)
		}
	}
	_, err = r.Replace(s.Range, s.hashes, items)
	return err
}

// halfway begins a resync again, and is promoted in its midst.
func (l *lineage) halfway() error {
	r, err := l.pod.Store.BeginResync(bg, aof.History{Epoch: l.leader.epoch}, l.leader.mark, -1)
	if err != nil {
		return err
	}
	err = take(r, l.leader.ranges[0])
	if err == nil && l.pod.State() != l.leader.state {
		if finished := r.Finish(bg); !errors.Is(finished, store.ErrDigest) {
			err = fmt.Errorf("what is not the leader's state was to become the log: %w", finished)
		}
	}
	r.Close()
	if err != nil {
		return err
	}
	if at, _ := l.pod.Store.Position(); at != (aof.Position{}) {
		return fmt.Errorf("halfway there is a position, %v", at)
	}
	// Another state, but what the log was a part of is remembered.
	l.begin(l.past[l.now].chain+1, l.pod.Log.Next(l.at().Epoch).Forks)
	at, digest := l.at().Offset, aof.Digest(l.pod.Store.Snapshot().Digest())
	l.past[len(l.past)-1].moments[at] = moment{l.pod.State(), digest}
	if err := l.pod.Store.BeginEpoch(bg); err != nil {
		return err
	}
	l.begun()
	return nil
}

// TestEveryOperationOfHistories crashes at each operation on the disk in
// promotions, in joining epochs and in resyncs.
func TestEveryOperationOfHistories(t *testing.T) {
	everyLife(t, everyHistory) // with large segments and with small ones
}

func everyHistory(t *testing.T, policy aof.FsyncPolicy, seed uint64) {
	var leader *snapshot
	inBubble(t, func() (err error) { leader, err = newSnapshot(); return err })
	points, checks, met := 0, 0, map[int]int{}
	for n := 0; ; n += stride {
		disk := fsxtest.NewFolders()
		var l *lineage
		inBubble(t, func() (err error) { l, err = descend(policy, seed, leader, disk, n); return err })
		if l.died.IsZero() {
			if !l.done || len(l.lost) == 0 || len(l.past) != 8 {
				t.Errorf("a whole life: %d histories, %d bytes lost", len(l.past), len(l.lost))
			}
			break
		}
		points++
		random := rand.New(rand.NewPCG(uint64(n), seed))
		for _, loss := range append(fsxtest.Losses(), process) { // the last works on the disk itself
			left := disk
			if loss != process {
				left = disk.AfterPowerLoss(loss, random)
			}
			inBubble(t, func() error {
				h, err := l.check(left, loss, random)
				if err != nil {
					return fmt.Errorf("crash at operation %d (%s), %s: %w", n, l.disk.History()[n], loss.Name, err)
				}
				met[h]++
				return nil
			})
			checks++
		}
	}
	t.Logf("%d operations, %d recoveries, of each history %v", points, checks, met)
	if len(met) != 8 && stride == 1 {
		t.Errorf("histories recovered: %v, want all 8", met)
	}
}
