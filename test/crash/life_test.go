package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/fence"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/hooks"
	"evenkeel/pkg/store"
	"evenkeel/test/rig"
)

var bg = context.Background()

const hook = "deliver" // the webhook of every life

// script is what all lives of a test have in common.
type script struct {
	policy aof.FsyncPolicy
	adopt  bool // it begins with a plain file
	// segment is the size of a segment: small ones are synced at each rotation, so
	// that policies other than always need large ones, too.
	segment int64
	leader  *leaderLog
	writes  [][]string
}

func newScript(policy aof.FsyncPolicy, seed uint64, leader *leaderLog) *script {
	writes := slices.DeleteFunc(rig.Writes(rand.New(rand.NewPCG(seed, uint64(policy))), 60), func(c []string) bool {
		// The webhook stays, and a thousand objects are another matter.
		return c[0] == "FLUSHDB" || c[0] == "PDELHOOK" || len(c) > 8 && c[0] == "EVAL"
	})
	s := &script{policy: policy, adopt: seed%2 == 1, segment: 400, leader: leader, writes: writes[:40]}
	if policy != aof.FsyncAlways && seed%4 >= 2 {
		s.segment = 1 << 20
	}
	return s
}

// life is what a pod did and promised until its disk failed.
type life struct {
	*script
	disk *fsxtest.FS
	pod  *rig.Pod
	next int // of writes

	died      time.Time // zero: the disk did not fail
	states    map[int64]string
	messages  map[int64]int // by offset, how many there were up to it
	told      []string      // messages of the webhook
	acked     []ack
	resetting bool // the leader's base is being received
	reset     bool // it has been
}

// ack is a promise.
type ack struct {
	offset int64
	at     time.Time
}

// live leads a life on a disk whose operations fail from the nth on.
func live(s *script, disk fsx.FS, n int) (*life, error) {
	l := &life{script: s, disk: fsxtest.New(disk), states: map[int64]string{}, messages: map[int64]int{}}
	if s.adopt { // somebody else has written it
		if err := plainFile(disk, "data"); err != nil {
			return nil, err
		}
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
	l.pod = rig.NewPodOn(l.disk, "data", "pod", nil, rig.Options{
		Fsync: s.policy, SegmentBytes: s.segment, BacklogBytes: -1, NoExpiry: true, Events: l.attach,
	})
	err := l.all()
	if l.pod.Log != nil {
		l.pod.Kill()
	}
	if err != nil && l.died.IsZero() {
		return nil, fmt.Errorf("a life without a crash: %w", err)
	}
	return l, nil
}

// plainFile is the log of a stock Tile38.
func plainFile(disk fsx.FS, dir string) error {
	var b []byte
	for _, c := range [][]string{{"SET", "fleet", "a1", "POINT", "1", "2"}, {"SET", "k", "b1", "FIELD", "age", "5", "STRING", "text"}, {"DEL", "fleet", "none"}} {
		b = appendCommand(b, c)
	}
	if err := disk.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(fsx.WriteFileAtomic(disk, filepath.Join(dir, "appendonly.aof"), b))
}

func appendCommand(b []byte, words []string) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(words))
	for _, w := range words {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b
}

// all is a whole life. It ends at the first thing that fails.
func (l *life) all() error {
	define := []string{"SETHOOK", hook, "http://127.0.0.1:1/a", "WITHIN", "fleet", "FENCE", "DETECT", "inside,outside", "BOUNDS", "-90", "-180", "90", "180"}
	for _, step := range []func() error{
		l.start,
		func() error { return l.write(define) },
		func() error { return l.some(8) },
		l.compact,
		func() error { return l.together(3) },
		l.compactMeanwhile,
		func() error { return l.some(5) },
		l.particular,
		l.restart,
		func() error { return l.some(4) },
		l.compact, l.compact,
		func() error { return l.together(2) },
		l.particular,
		l.follow,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return l.pod.Stop()
}

func (l *life) start() error {
	if err := l.pod.Start(); err != nil {
		return err
	}
	l.note()
	return nil
}

// note adds the state of now to the model.
func (l *life) note() {
	at, _ := l.pod.Store.Position()
	if l.resetting {
		return // the leader's are known
	}
	l.states[at.Offset] = l.pod.State()
	l.messages[at.Offset] = len(l.told)
}

// write carries out a command and commits it.
func (l *life) write(cmds ...[]string) error {
	time.Sleep(130 * time.Millisecond)
	var offset int64
	for _, c := range cmds {
		var out reply.Reply
		offset = max(offset, l.pod.Run([][]string{c}, &out))
		l.note()
	}
	if offset == 0 {
		return nil
	}
	if err := l.pod.Store.Commit(bg, offset); err != nil {
		return err
	}
	l.acked = append(l.acked, ack{offset, time.Now()})
	return nil
}

// particular writes what chance may leave out.
func (l *life) particular() error {
	for _, c := range [][]string{
		{"SET", "old", "x", "EX", "99", "POINT", "1", "2"},
		{"PERSIST", "old", "x"},
		{"RENAME", "old", "young"},
		{"JSET", "young", "j", "a.b", "5"},
		{"EVAL", "for i = 1, 9 do tile38.call('SET', KEYS[1], i, 'POINT', i, i); tile38.call('FSET', KEYS[1], i, 'n', i) end", "1", "fleet"},
		{"DROP", "young"},
		{"PUBLISH", "c0", "hello"},
	} {
		if err := l.write(c); err != nil {
			return err
		}
	}
	return nil
}

func (l *life) take(n int) [][]string {
	l.next += n
	return l.writes[l.next-n : l.next]
}

func (l *life) some(n int) error {
	for _, c := range l.take(n) {
		if err := l.write(c); err != nil {
			return err
		}
	}
	return nil
}

// together writes with two clients: what one commits, the other has begun.
func (l *life) together(n int) error {
	for range n {
		if err := l.write(l.take(3)...); err != nil {
			return err
		}
	}
	return nil
}

func (l *life) compact() error { return l.pod.Compact() }

// compactMeanwhile writes while a compaction runs.
func (l *life) compactMeanwhile() error {
	failed := make(chan error, 1)
	l.pod.CompactMeanwhile(func(err error) { failed <- err })
	err := l.some(3)
	select {
	case e := <-failed:
		return errors.Join(err, e)
	default:
		return err
	}
}

func (l *life) restart() error {
	if err := l.pod.Stop(); err != nil {
		return err
	}
	return l.start()
}

// attach opens the queue of webhooks. Nothing is delivered: it is not started.
func (l *life) attach(disk fsx.FS) (store.Events, func(), error) {
	q, err := hooks.Open(hooks.Options{FS: disk, Dir: "hooks", Fsync: l.policy, SegmentBytes: 600})
	if err != nil {
		return nil, nil, err
	}
	return &events{q: q, life: l}, func() { _ = q.Stop(bg) }, nil // its disk may be dead
}

// events is what stands between store and queue in a node.
type events struct {
	q    *hooks.Queue
	life *life // nil: nobody counts
}

var group = regexp.MustCompile(`"group":"[^"]*",?`)

func (e *events) Fence(f *fence.Fence, msg []byte) {
	if f.IsChannel() {
		return
	}
	if f.Name() == hook && !e.life.resetting {
		e.life.told = append(e.life.told, group.ReplaceAllString(string(msg), ""))
	}
	e.q.Append(f.Name(), msg)
}

func (e *events) Publish(string, []byte) int { return 0 }

func (e *events) Hook(hk *collection.Hook, gone bool) {
	switch {
	case hk.Channel:
	case gone:
		e.q.RemoveHook(hk.Name)
	default:
		e.q.SetHook(hk.Name, hk.Endpoints)
	}
}

func (e *events) Rebuilt(st *collection.State) {
	e.q.RemoveHooks(func(name string) bool { return st.Hook(name) == nil })
	st.ScanHooks(func(hk *collection.Hook) bool { e.Hook(hk, false); return true })
}

func (e *events) Commit(ctx context.Context) error { return e.q.Commit(ctx) }
func (e *events) Blocked() error                   { return e.q.Blocked() }

// leaderLog is a leader's history: a base, batches behind it, and the state at
// the end of each.
type leaderLog struct {
	epoch   string
	mark    aof.Mark
	base    []byte
	batches []aof.Batch
	states  map[int64]string
}

// newLeaderLog is to be called in a bubble of its own.
func newLeaderLog() (l *leaderLog, err error) {
	p := rig.NewPod("leader", nil, rig.Options{NoExpiry: true})
	if err := p.Start(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	l = &leaderLog{states: map[int64]string{}}
	writes := rig.Writes(rand.New(rand.NewPCG(99, 99)), 30)
	for i, c := range writes {
		if i == 20 {
			if err := p.Compact(); err != nil {
				return nil, err
			}
		}
		time.Sleep(time.Second)
		if _, err := p.Do([][]string{c}, false); err != nil {
			return nil, err
		}
		if at, _ := p.Store.Position(); i >= 19 {
			l.states[at.Offset] = p.State()
		}
	}
	r, err := p.Log.OpenBase()
	if err != nil {
		return nil, err
	}
	l.epoch, l.mark = r.Position().Epoch, r.Mark()
	l.base, err = io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return l, p.Log.Replay(bg, func(b aof.Batch) error {
		if b.Offset > l.mark.Offset {
			b.Payload = slices.Clone(b.Payload)
			l.batches = append(l.batches, b)
		}
		return nil
	}, nil)
}

// follow receives the leader's base and goes on with its batches.
func (l *life) follow() error {
	l.resetting = true
	l.pod.Store.Refuse(rig.ErrFollows)
	if err := l.pod.Store.Reset(bg, aof.History{Epoch: l.leader.epoch}, l.leader.mark, -1, int64(len(l.leader.base)), bytes.NewReader(l.leader.base)); err != nil {
		return err
	}
	l.reset, l.acked = true, nil
	for _, b := range l.leader.batches {
		time.Sleep(130 * time.Millisecond)
		if err := l.pod.Store.ApplyBatch(bg, b); err != nil {
			return err
		}
		l.acked = append(l.acked, ack{b.Offset, time.Now()})
		if len(l.acked) == 4 {
			if err := l.pod.Compact(); err != nil {
				return err
			}
		}
	}
	return nil
}
