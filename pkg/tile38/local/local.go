package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"evenkeel/pkg/tile38"
)

// Options say which Tile38 and what it is to be. Zero fields mean the default.
type Options struct {
	Addr string // host:port. Required.
	Auth string // password; empty: none
	// Follow is whom it is to follow, host:port; empty: it leads.
	Follow string
	// Announce is where others reach it, host:port, which is what its leader shows;
	// it is kept in its configuration when it follows. Without a host it is the address
	// that the way to the leader begins with. Empty: left as it is.
	Announce string
	// KeepFollowing leaves a server alone that follows somebody though Follow is empty:
	// it is not in its role, hence not ready, and nobody has made a second leader of it.
	KeepFollowing bool
	// LeaderAuth is the password that it says to its leader; it is set when it
	// follows and another one is configured.
	LeaderAuth string
	// Patience is how long a server that has had its role may be out of it before it
	// is told again: the leader's sidecar lets a follower that it heals follow nobody
	// for a moment. Default 15 s.
	Patience time.Duration
	// Interval is the time between two questions. Default 1 s.
	Interval time.Duration
	// Timeout is for connecting and for each answer. Default 5 s.
	Timeout time.Duration
	// Logger; default slog.Default.
	Logger *slog.Logger
}

// State is what the server said last.
type State struct {
	Up     bool          `json:"up"`
	Err    string        `json:"error,omitempty"` // why not
	At     time.Time     `json:"at,omitzero"`     // of the last answer
	Server tile38.Server `json:"server"`
	InRole bool          `json:"in_role"` // it follows whom it should, or nobody if it should lead
	// FirstSync: it follows, has never caught up since its start, and says nothing
	// else; Server is what it said before.
	FirstSync bool `json:"first_sync,omitempty"`
	Rewriting bool `json:"rewriting"` // an AOFSHRINK runs
	// Memory is what it has taken from the system and not given back, Heap its
	// heap, in bytes; below 0: it did not say.
	Memory int64 `json:"memory_bytes"`
	Heap   int64 `json:"heap_bytes"`
}

// Local looks after one server. Run is called once, the others by any goroutine.
type Local struct {
	opt Options

	mu      sync.Mutex // guards what follows
	state   State
	changed chan struct{} // closed and replaced with each answer
	told    string        // the last error that was logged

	inRole   time.Time // Run's alone: when it last had its role
	reminded time.Time // Run's alone: when remind last told it
}

// New returns one that has not asked yet.
func New(opt Options) (*Local, error) {
	if opt.Interval == 0 {
		opt.Interval = time.Second
	}
	if opt.Patience == 0 {
		opt.Patience = 15 * time.Second
	}
	if opt.Timeout == 0 {
		opt.Timeout = 5 * time.Second
	}
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	for _, addr := range []string{opt.Addr, opt.Follow, opt.Announce} {
		if _, _, err := net.SplitHostPort(addr); err != nil && (addr != "" || opt.Addr == "") {
			return nil, fmt.Errorf("local Tile38: address %q: want host:port: %w", addr, err)
		}
	}
	return &Local{opt: opt, changed: make(chan struct{}), state: State{Err: "it was not asked yet", Memory: -1, Heap: -1}}, nil
}

// State returns what is known now.
func (l *Local) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Next waits for an answer to a question that is asked from now on.
func (l *Local) Next(ctx context.Context) (State, error) {
	since := time.Now()
	for {
		l.mu.Lock()
		st, changed := l.state, l.changed
		l.mu.Unlock()
		if st.At.After(since) {
			return st, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return st, ctx.Err()
		}
	}
}

// Ready reports whether the server answers and has its role, and every reason why
// not.
func (l *Local) Ready() (bool, []string) {
	st := l.State()
	switch {
	case !st.Up:
		return false, []string{fmt.Sprintf("the Tile38 at %s does not answer: %s", l.opt.Addr, st.Err)}
	case st.FirstSync:
		return false, []string{fmt.Sprintf("the Tile38 at %s has not caught up with its leader since its start", l.opt.Addr)}
	case !st.InRole && l.opt.KeepFollowing && l.opt.Follow == "":
		return false, []string{fmt.Sprintf("the Tile38 at %s follows %s, which this sidecar was not told: start it with --follow %s, or with --promote if the Tile38 is to lead",
			l.opt.Addr, st.Server.Following, st.Server.Following)}
	case !st.InRole && l.opt.Follow == "":
		return false, []string{fmt.Sprintf("the Tile38 at %s follows %s, and should lead", l.opt.Addr, st.Server.Following)}
	case !st.InRole:
		return false, []string{fmt.Sprintf("the Tile38 at %s does not follow %s yet", l.opt.Addr, l.opt.Follow)}
	}
	return true, nil
}

// Run asks until ctx ends and returns its error.
func (l *Local) Run(ctx context.Context) error {
	var c *tile38.Conn
	defer func() {
		if c != nil {
			_ = c.Close()
		}
	}()
	tick := time.NewTicker(l.opt.Interval)
	defer tick.Stop()
	for {
		err := l.once(ctx, &c)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			l.down(err)
			if c != nil {
				_ = c.Close()
				c = nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// once asks, and mends the role.
func (l *Local) once(ctx context.Context, c **tile38.Conn) (err error) {
	if *c == nil {
		if *c, err = tile38.Dial(ctx, tile38.Options{Addr: l.opt.Addr, Auth: l.opt.Auth, Timeout: l.opt.Timeout}); err != nil {
			return err
		}
	}
	st, err := l.ask(*c)
	if catchingUp(err) {
		st = l.State()
		st.Up, st.At, st.FirstSync, st.Err = true, time.Now(), true, ""
		l.remind(*c, st)
		l.up(st)
		return nil
	}
	if err != nil {
		return err
	}
	if !st.InRole && time.Since(l.inRole) > l.opt.Patience {
		if err := l.mend(*c, st); err != nil {
			// It answers, so it is up; what it refuses is tried again.
			l.tell(fmt.Errorf("the Tile38 at %s does not take its role: %w", l.opt.Addr, err))
		} else if next, err := l.ask(*c); err == nil {
			st = next
		} else if !catchingUp(err) {
			return err
		}
	}
	if st.InRole {
		l.inRole = time.Now()
	}
	l.up(st)
	return nil
}

// remind gives a server that has not caught up since its start its role: it does not
// say whom it follows, and may have been started with a leader of earlier days, where
// nobody is any more. Whom it follows already it goes on following.
func (l *Local) remind(c *tile38.Conn, st State) {
	if time.Since(l.inRole) <= l.opt.Patience || time.Since(l.reminded) <= l.opt.Patience {
		return
	}
	l.reminded = time.Now()
	if err := l.mend(c, st); err != nil {
		l.tell(fmt.Errorf("the Tile38 at %s does not take its role: %w", l.opt.Addr, err))
	}
}

func (l *Local) ask(c *tile38.Conn) (st State, err error) {
	at := time.Now()
	if st.Server, err = c.Server(); err != nil {
		return st, err
	}
	ext, err := c.Do("server", "ext")
	if err != nil {
		return st, err
	}
	m := ext.Map()
	number := func(name string) int64 {
		n, err := strconv.ParseInt(m[name].String(), 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	st.Up, st.At = true, at
	st.Memory, st.Heap = -1, number("heap_alloc_bytes")
	if sys, released := number("sys_bytes"), number("heap_released_bytes"); sys >= 0 && released >= 0 {
		st.Memory = sys - released
	}
	st.Rewriting = m["tile38_aof_rewrite_in_progress"].String() == "true"
	st.InRole = sameAddr(st.Server.Following, l.opt.Follow)
	return st, nil
}

// catchingUp says whether a server only says that it has yet to catch up.
func catchingUp(err error) bool {
	answer, ok := errors.AsType[tile38.AnswerError](err)
	return ok && strings.Contains(string(answer), "catching up to leader")
}

// sameAddr compares two addresses; one host may be written in two ways.
func sameAddr(a, b string) bool {
	if a == b || a == "" || b == "" {
		return a == b
	}
	ha, pa, err1 := net.SplitHostPort(a)
	hb, pb, err2 := net.SplitHostPort(b)
	if err1 != nil || err2 != nil || pa != pb {
		return false
	}
	ipa, ipb := net.ParseIP(ha), net.ParseIP(hb)
	return ha == hb || ipa != nil && ipb != nil && ipa.Equal(ipb)
}

// mend gives the server its role.
func (l *Local) mend(c *tile38.Conn, st State) error {
	if l.opt.Follow == "" && l.opt.KeepFollowing {
		return nil
	}
	if l.opt.Follow == "" {
		l.opt.Logger.Warn("the Tile38 follows, and should lead: FOLLOW no one", "engine", l.opt.Addr, "follows", st.Server.Following)
		_, err := c.Do("follow", "no", "one")
		return err
	}
	host, port, _ := net.SplitHostPort(l.opt.Follow) // New has checked it
	if err := l.configure(c); err != nil {
		return err
	}
	l.opt.Logger.Info("the Tile38 is told whom to follow", "engine", l.opt.Addr, "leader", l.opt.Follow, "followed", st.Server.Following)
	_, err := c.Do("follow", host, port)
	return err
}

// configure sets what the server says to its leader, and writes it down: it would
// be forgotten with the next restart.
func (l *Local) configure(c *tile38.Conn) error {
	want := map[string]string{}
	if l.opt.LeaderAuth != "" {
		want["leaderauth"] = l.opt.LeaderAuth
	}
	if l.opt.Announce != "" {
		host, port, _ := net.SplitHostPort(l.opt.Announce) // New has checked it
		if host == "" {
			var err error
			if host, err = hostTowards(l.opt.Follow); err != nil {
				return err
			}
		}
		want["replica_announce_ip"], want["replica_announce_port"] = host, port
	}
	changed := false
	for name, value := range want {
		v, err := c.Do("config", "get", name)
		if err != nil {
			return err
		}
		if v.Map()[name].String() == value {
			continue
		}
		if _, err := c.Do("config", "set", name, value); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	_, err := c.Do("config", "rewrite")
	return err
}

// hostTowards is the address that packets to addr leave with. None is sent.
func hostTowards(addr string) (string, error) {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return "", err
	}
	host, _, err := net.SplitHostPort(c.LocalAddr().String())
	return host, errors.Join(err, c.Close())
}

func (l *Local) up(st State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.state.Up {
		l.opt.Logger.Info("the Tile38 answers", "engine", l.opt.Addr, "version", st.Server.Version, "id", st.Server.ID)
		l.told = ""
	}
	l.state = st
	l.wake()
}

func (l *Local) down(err error) {
	l.mu.Lock()
	l.state.Up, l.state.Err = false, err.Error()
	l.wake()
	l.mu.Unlock()
	l.tell(fmt.Errorf("the Tile38 at %s does not answer: %w", l.opt.Addr, err))
}

// wake is called with the lock held.
func (l *Local) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// tell logs what goes wrong, once as long as it stays the same.
func (l *Local) tell(err error) {
	l.mu.Lock()
	again := l.told == err.Error()
	l.told = err.Error()
	l.mu.Unlock()
	level := slog.LevelWarn
	if again || errors.Is(err, context.Canceled) {
		level = slog.LevelDebug
	}
	l.opt.Logger.Log(context.Background(), level, err.Error())
}
