package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/leader"
	"evenkeel/pkg/store"
)

// ErrFollows is what writes of clients are answered with on a follower.
var ErrFollows = errors.New("not the leader")

// Options say how a pod runs; they may differ from one start to the next.
type Options struct {
	Fsync        aof.FsyncPolicy
	SegmentBytes int64 // 0: the default
	BacklogBytes int64 // 0: the default, negative: nothing
	// SlowBase is how long one write to a base file takes at most.
	SlowBase time.Duration
	// Follow is the address of the leader; "": it is one.
	Follow string
	// NoExpiry leaves objects whose time is over where they are.
	NoExpiry bool
	// Events, if set, makes who hears of fences, on the disk of the pod, and what
	// ends it; default: Pod.Told.
	Events func(disk fsx.FS) (e store.Events, end func(), err error)
	// NoRanges lets a follower take whole bases only.
	NoRanges bool
	// NewEpochs lets a leader that did not end in order begin a new epoch at its
	// start, as the program does.
	NewEpochs bool
	// Opened, if set, hears that the pod has opened its log, and does not follow yet.
	Opened func(p *Pod)
	// AckTimeout is how long a follower may be silent before a leader cuts it.
	AckTimeout time.Duration
}

// Pod is one server, without the listener. Its methods but Do belong to one
// goroutine.
type Pod struct {
	Name    string
	Dir     string
	Options Options

	Log      *aof.Log
	Store    *store.Store
	Leader   *leader.Leader
	Follower *follower.Follower
	Told     Told

	// What happened to the pod since it was made: resyncs that were carried through
	// (and how many of them by ranges), those begun when there had been one,
	// divergences, compactions.
	Resyncs, Ranges, Again, Diverged, Compactions atomic.Int64
	Lost                                          atomic.Int64 // connections to a leader, and attempts
	Began                                         atomic.Int64 // offset that the last resync led to
	Lives                                         atomic.Int64 // starts and ends, promotions

	disk fsx.FS // what outlives the process
	dies *fsxtest.FS
	net  *Network

	stop      context.CancelFunc
	running   bool
	following atomic.Bool
	begin     func() error // to follow Options.Follow
	leave     func()       // ends that; nil: it does not follow
	unhook    func()       // ends what Options.Events has made
	parts     sync.WaitGroup
	turning   chan struct{} // holds one while a compaction waits for its turn, or has it
	files     chan struct{} // holds one while a compaction runs, or a base is received
}

// NewPod returns a pod with an empty disk in memory, which does not run yet. n
// may be nil: it has no peers then.
func NewPod(name string, n *Network, o Options) *Pod {
	return NewPodOn(fsxtest.NewFolders(), "data", name, n, o)
}

// NewPodOn is NewPod on a folder of another disk.
func NewPodOn(disk fsx.FS, dir, name string, n *Network, o Options) *Pod {
	return &Pod{Name: name, Dir: dir, Options: o, disk: disk, net: n, files: make(chan struct{}, 1), turning: make(chan struct{}, 1)}
}

// Start opens the log, replays it and begins to serve.
func (p *Pod) Start() (err error) {
	p.Lives.Add(1)
	p.dies = fsxtest.New(p.disk)
	disk := fsx.FS(p.dies)
	if p.Options.SlowBase > 0 {
		disk = &slowDisk{FS: disk, most: p.Options.SlowBase, random: rand.New(rand.NewPCG(1, 2))}
	}
	p.Log, err = aof.Open(aof.Options{
		FS: disk, Dir: p.Dir, Fsync: p.Options.Fsync,
		SegmentBytes: p.Options.SegmentBytes, BacklogBytes: p.Options.BacklogBytes,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.Store, err = store.Open(ctx, store.Options{Log: p.Log, Engine: engine.Options{Seed: 1}, CompactCPU: 100})
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, errors.Join(err, p.Stop()))
	}
	if err := p.attach(); err != nil {
		return fmt.Errorf("%s: %w", p.Name, errors.Join(err, p.Stop()))
	}
	st := p.Store
	p.Leader, err = leader.New(leader.Options{
		Log: p.Log, ID: p.Name, AckTimeout: p.Options.AckTimeout,
		Snapshot: func(ctx context.Context) (leader.Snapshot, error) { return st.RangeSnapshot(ctx) },
	})
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, errors.Join(err, p.Stop()))
	}
	p.running = true
	if p.Options.Opened != nil {
		p.Options.Opened(p)
	}
	p.begin = func() error { return p.follow(ctx) }
	if err := p.takeRole(ctx); err != nil {
		return fmt.Errorf("%s: %w", p.Name, errors.Join(err, p.Stop()))
	}
	if !p.Options.NoExpiry {
		p.parts.Go(func() { p.Store.Expire(ctx) })
	}
	if p.net != nil {
		lead := p.Leader
		p.net.serve(p.Name, func(conn net.Conn) {
			if p.following.Load() {
				conn.Close() // nobody follows a follower
				return
			}
			session(ctx, lead, conn)
		})
	}
	return nil
}

// attach tells the store who hears of fences.
func (p *Pod) attach() error {
	if p.Options.Events == nil {
		p.Store.Attach(&p.Told)
		return nil
	}
	e, end, err := p.Options.Events(p.dies)
	if err != nil {
		return err
	}
	p.Store.Attach(e)
	p.unhook = end
	return nil
}

// Stop ends the pod in order. Its error says what the log said.
func (p *Pod) Stop() error {
	p.end()
	if err := p.Log.Close(context.Background()); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// end ends everything but the log.
func (p *Pod) end() {
	p.running = false
	p.Lives.Add(1)
	if p.net != nil {
		p.net.silence(p.Name)
	}
	p.stop()
	if p.Leader != nil {
		_ = p.Leader.Close() // there is no error
	}
	p.parts.Wait()
	p.leave = nil
	if p.unhook != nil {
		p.unhook()
		p.unhook = nil
	}
	p.Leader, p.Follower = nil, nil
}

// Kill ends the process: what it had written is there, nothing is written any
// more.
func (p *Pod) Kill() {
	p.dies.DieAt(0)
	p.end()
	_ = p.Log.Close(context.Background()) // its disk is dead
}

// LosePower ends the process and loses what the loss says. The disk must be one
// in memory.
func (p *Pod) LosePower(l fsxtest.Loss, r *rand.Rand) {
	p.dies.DieAt(0)
	folders, ok := p.disk.(*fsxtest.Folders)
	if !ok {
		panic("rig: the disk of " + p.Name + " is not in memory")
	}
	left := folders.AfterPowerLoss(l, r)
	p.Kill()
	p.disk = left
}

// Adopt ends the pod, which has just compacted, and gives it a folder in which a
// plain export of its log lies.
func (p *Pod) Adopt(dir string) error {
	r, err := p.Log.PayloadReader(0)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close(), p.Stop(), p.disk.MkdirAll(dir, 0o700)); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	p.Dir = dir
	return fsx.WriteFileAtomic(p.disk, filepath.Join(dir, "appendonly.aof"), data)
}

// slowDisk takes its time for writes to base files. Only they may wait: no lock
// of the log is held meanwhile.
type slowDisk struct {
	fsx.FS
	most time.Duration

	mu     sync.Mutex
	random *rand.Rand
}

// OpenFile implements fsx.FS.
func (d *slowDisk) OpenFile(path string, flag int, perm fs.FileMode) (fsx.File, error) {
	f, err := d.FS.OpenFile(path, flag, perm)
	if ok, _ := filepath.Match("base-*"+fsx.TempSuffix, filepath.Base(path)); err != nil || !ok {
		return f, err
	}
	return slowFile{f, d}, nil
}

type slowFile struct {
	fsx.File
	disk *slowDisk
}

// WriteAt waits, then writes.
func (f slowFile) WriteAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	wait := time.Duration(f.disk.random.Int64N(int64(f.disk.most)))
	f.disk.mu.Unlock()
	time.Sleep(wait)
	return f.File.WriteAt(b, off)
}
