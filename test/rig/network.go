package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/pkg/leader"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/resp"
)

// Faults are what a network does to connections. Chances are for one connection.
type Faults struct {
	Delay   time.Duration // of a piece of data, at most
	Cut     float64       // it ends in the middle of a piece
	Silent  float64       // nothing comes through any more, and nobody is told
	Refuse  float64       // it is not made
	Replay  float64       // what was sent to the server comes again, later, on a new one
	Distant int64         // bytes after which a connection is cut or silent, at most
}

// Network is where pods reach each other by name.
type Network struct {
	seed uint64

	mu      sync.Mutex
	faults  Faults
	servers map[string]func(net.Conn)
	wires   map[*wire]struct{}
	alone   map[string]bool
	dialled uint64

	pumps sync.WaitGroup

	// Counts.
	Cuts, Silences, Replays atomic.Int64
}

// NewNetwork returns a network whose faults come from seed.
func NewNetwork(seed uint64) *Network {
	return &Network{seed: seed, servers: map[string]func(net.Conn){}, wires: map[*wire]struct{}{}, alone: map[string]bool{}}
}

// Worsen sets the faults of connections that are made from now on.
func (n *Network) Worsen(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// CutAll ends all connections.
func (n *Network) CutAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.wires {
		n.Cuts.Add(1)
		w.cut()
	}
}

// Close ends all connections and waits for what carries them.
func (n *Network) Close() {
	n.CutAll()
	n.pumps.Wait()
}

func (n *Network) serve(name string, serve func(net.Conn)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.servers[name] = serve
}

// silence lets nobody reach name any more, and ends its connections.
func (n *Network) silence(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.servers, name)
	for w := range n.wires {
		if w.server == name {
			w.cut()
		}
	}
}

var errRefused = errors.New("connection refused")

// Isolate cuts a pod off from all others, or ends that.
func (n *Network) Isolate(name string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.alone[name] = on
	for w := range n.wires {
		if on && (w.server == name || w.client == name) {
			w.cut()
		}
	}
}

// Dial connects to the pod of this name.
func (n *Network) Dial(ctx context.Context, name string) (net.Conn, error) {
	return n.DialFrom(ctx, "", name)
}

// DialFrom is Dial of the pod from.
func (n *Network) DialFrom(_ context.Context, from, name string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dialled++
	r := rand.New(rand.NewPCG(n.seed, n.dialled))
	serve := n.servers[name]
	if serve == nil || n.alone[name] || n.alone[from] || r.Float64() < n.faults.Refuse {
		return nil, fmt.Errorf("dial %s: %w", name, errRefused)
	}
	return n.connect(from, name, serve, r), nil
}

// connect makes a connection. The caller holds mu.
func (n *Network) connect(from, name string, serve func(net.Conn), r *rand.Rand) net.Conn {
	w := &wire{net: n, client: from, server: name, faults: n.faults, ended: make(chan struct{}), left: -1}
	if w.faults.Distant > 0 {
		switch x := r.Float64(); {
		case x < w.faults.Cut:
			w.left = r.Int64N(w.faults.Distant)
		case x < w.faults.Cut+w.faults.Silent:
			w.left, w.silent = r.Int64N(w.faults.Distant), true
		}
	}
	client, outer := net.Pipe()
	inner, server := net.Pipe()
	w.ends = []net.Conn{outer, inner}
	if r.Float64() < w.faults.Replay {
		w.record = &bytes.Buffer{}
	}
	n.wires[w] = struct{}{}
	var both sync.WaitGroup
	up, down := rand.New(rand.NewPCG(r.Uint64(), 1)), rand.New(rand.NewPCG(r.Uint64(), 2))
	both.Go(func() { w.pump(inner, outer, up, w.record) })
	both.Go(func() { w.pump(outer, inner, down, nil) })
	n.pumps.Go(func() {
		both.Wait()
		n.mu.Lock()
		delete(n.wires, w)
		n.mu.Unlock()
		if w.record != nil {
			time.Sleep(time.Duration(up.Int64N(int64(10 * time.Second))))
			n.replay(name, w.record.Bytes())
		}
	})
	n.pumps.Go(func() { serve(newEager(server, &n.pumps)) })
	return newEager(client, &n.pumps)
}

// replay sends what a client has once sent, on a connection of its own, and
// listens to nobody.
func (n *Network) replay(name string, sent []byte) {
	n.mu.Lock()
	serve := n.servers[name]
	if n.alone[name] {
		serve = nil
	}
	n.mu.Unlock()
	if serve == nil {
		return
	}
	n.Replays.Add(1)
	client, server := net.Pipe()
	var both sync.WaitGroup
	both.Go(func() { serve(newEager(server, &n.pumps)) })
	both.Go(func() { _, _ = io.Copy(io.Discard, client) })
	_, _ = client.Write(sent) // the server may hang up
	time.Sleep(time.Second)
	client.Close()
	both.Wait()
}

// wire carries one connection.
type wire struct {
	net    *Network
	client string // "": not known
	server string
	faults Faults
	ends   []net.Conn
	record *bytes.Buffer // what went to the server

	once   sync.Once
	ended  chan struct{}
	left   int64 // bytes until the fault; negative: none. Under mu
	silent bool
	mu     sync.Mutex
}

func (w *wire) cut() {
	w.once.Do(func() {
		close(w.ended)
		for _, e := range w.ends {
			e.Close()
		}
	})
}

// pump carries one direction.
func (w *wire) pump(to, from net.Conn, r *rand.Rand, record *bytes.Buffer) {
	defer w.cut()
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf[:1+r.IntN(len(buf))])
		if err != nil || !w.delay(r) {
			return
		}
		pass, fault := w.pass(n)
		if record != nil {
			record.Write(buf[:pass])
		}
		if _, err := to.Write(buf[:pass]); err != nil {
			return
		}
		if fault && w.silent {
			<-w.ended
		}
		if fault {
			return
		}
	}
}

func (w *wire) delay(r *rand.Rand) (ok bool) {
	if w.faults.Delay == 0 {
		return true
	}
	t := time.NewTimer(time.Duration(r.Int64N(int64(w.faults.Delay))))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.ended:
		return false
	}
}

// pass says how much of n bytes comes through, and whether the fault is then.
func (w *wire) pass(n int) (pass int, fault bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left < 0 || int64(n) <= w.left {
		if w.left >= 0 {
			w.left -= int64(n)
		}
		return n, false
	}
	if w.silent {
		w.net.Silences.Add(1)
	} else {
		w.net.Cuts.Add(1)
	}
	pass, w.left = int(w.left), 0
	return pass, true
}

// session serves a follower that connects.
func session(ctx context.Context, lead *leader.Leader, conn net.Conn) {
	defer conn.Close()
	unhook := context.AfterFunc(ctx, func() { conn.Close() })
	defer unhook()
	r := resp.NewReader(conn, resp.Limits{})
	cmd, err := r.Next()
	if err != nil || !strings.EqualFold(cmd.Args[0], replication.CommandName) {
		return
	}
	hello, err := replication.ParseHello(cmd.Args)
	if err != nil {
		return
	}
	rest := io.MultiReader(bytes.NewReader(bytes.Clone(r.Buffered())), conn)
	_ = lead.Serve(ctx, conn, rest, hello) // the leader counts how it ended
}
