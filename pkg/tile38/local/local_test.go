package local

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evenkeel/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watch runs a Local until the test ends.
func watch(t *testing.T, opt Options) *Local {
	t.Helper()
	opt.Interval, opt.Logger = 10*time.Millisecond, slog.New(slog.DiscardHandler)
	if opt.Patience == 0 {
		opt.Patience = time.Millisecond
	}
	l, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	return l
}

// until waits for a state.
func until(t *testing.T, l *Local, what string, ok func(State) bool) State {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		l.mu.Lock()
		st, changed := l.state, l.changed
		l.mu.Unlock()
		if ok(st) {
			return st
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("not within a minute: %s: %+v", what, st)
		}
	}
}

// TestState: what the server says, that it is gone, and that it is back.
func TestState(t *testing.T) {
	s := testkit.NewServer(t, testkit.ServerOptions{})
	s.Do("SET fleet a POINT 1 1")
	l := watch(t, Options{Addr: s.Addr})
	st := until(t, l, "up", func(st State) bool { return st.Up })
	if st.Server.ID != s.ID() || st.Server.Counts.Objects != 1 || st.Server.AOFSize != s.Size() || !st.InRole {
		t.Errorf("%+v", st)
	}
	if ok, why := l.Ready(); !ok {
		t.Errorf("not ready: %q", why)
	}
	s.Do("SET fleet b POINT 1 1")
	if st, err := l.Next(t.Context()); err != nil || st.Server.Counts.Objects != 2 {
		t.Errorf("%+v, %v", st, err)
	}
	s.Stop()
	until(t, l, "down", func(st State) bool { return !st.Up && st.Err != "" })
	if ok, why := l.Ready(); ok || len(why) != 1 || !strings.Contains(why[0], "does not answer: ") {
		t.Errorf("ready %v, %q", ok, why)
	}
	s.Start()
	until(t, l, "up again", func(st State) bool { return st.Up })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next returned %v", err)
	}
}

// TestRealState: what only the real server says.
func TestRealState(t *testing.T) {
	p := testkit.NewProcess(t)
	l := watch(t, Options{Addr: p.Address()})
	if st := until(t, l, "up", func(st State) bool { return st.Up }); st.Memory <= 0 || st.Heap <= 0 || st.Heap > st.Memory || st.Rewriting {
		t.Errorf("%+v", st)
	}
	f := testkit.NewProcess(t)
	m := watch(t, Options{Addr: f.Address(), Follow: p.Address()})
	until(t, m, "follows", func(st State) bool { return st.InRole })
}

// TestRole: a server is told whom to follow, again when somebody tells it
// otherwise, with the leader's password; and one that should lead is told that.
func TestRole(t *testing.T) {
	lead, follow := testkit.NewServer(t, testkit.ServerOptions{}), testkit.NewServer(t, testkit.ServerOptions{})
	lead.Do("CONFIG SET requirepass secret")
	l := watch(t, Options{Addr: follow.Addr, Follow: lead.Addr, LeaderAuth: "secret", Announce: ":7777"})
	until(t, l, "follows", func(st State) bool { return st.InRole })
	for name, want := range map[string]string{"replica_announce_ip": "127.0.0.1", "replica_announce_port": "7777", "leaderauth": "secret"} {
		if got := follow.Args("CONFIG", "GET", name); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %s", name, got, want)
		}
	}
	if ok, why := l.Ready(); !ok {
		t.Errorf("not ready: %q", why)
	}
	follow.Do("FOLLOW no one")
	until(t, l, "follows again", func(st State) bool { return st.InRole && st.Server.Following != "" })

	other := testkit.NewServer(t, testkit.ServerOptions{})
	other.Do("CONFIG SET leaderauth secret", "FOLLOW "+strings.Replace(lead.Addr, ":", " ", 1))
	m := watch(t, Options{Addr: other.Addr})
	until(t, m, "leads", func(st State) bool { return st.Up && st.InRole && st.Server.Following == "" })
}

// TestPatience: who follows nobody for a moment is left alone.
func TestPatience(t *testing.T) {
	lead, follow := testkit.NewServer(t, testkit.ServerOptions{}), testkit.NewServer(t, testkit.ServerOptions{})
	l := watch(t, Options{Addr: follow.Addr, Follow: lead.Addr, Patience: time.Hour})
	until(t, l, "follows at once", func(st State) bool { return st.InRole })
	follow.Do("FOLLOW no one")
	for range 5 {
		if st, err := l.Next(t.Context()); err != nil || st.InRole {
			t.Errorf("%+v, %v", st, err)
		}
	}
	if ok, why := l.Ready(); ok || !strings.Contains(why[0], "does not follow") {
		t.Errorf("ready %v, %q", ok, why)
	}
}

// TestFirstSync: a server that only says that it catches up is up, and not ready.
func TestFirstSync(t *testing.T) {
	lead, follow := testkit.NewServer(t, testkit.ServerOptions{}), testkit.NewServer(t, testkit.ServerOptions{})
	lead.Do("SET fleet a POINT 1 1")
	lead.Block(true) // its log stands still
	l := watch(t, Options{Addr: follow.Addr, Follow: lead.Addr})
	until(t, l, "catching up", func(st State) bool { return st.FirstSync && st.Up })
	if ok, why := l.Ready(); ok || !strings.Contains(why[0], "has not caught up") {
		t.Errorf("ready %v, %q", ok, why)
	}
	lead.Block(false)
	until(t, l, "caught up", func(st State) bool { return !st.FirstSync && st.InRole && st.Server.Counts.Objects == 1 })
	if ok, why := l.Ready(); !ok {
		t.Errorf("not ready: %q", why)
	}
}

// TestStartsWithAnotherLeader: a server that was restarted with a leader which is no
// more, and says only that it catches up, is told its role all the same.
func TestStartsWithAnotherLeader(t *testing.T) {
	for _, role := range []string{"follower", "leader"} {
		t.Run(role, func(t *testing.T) {
			gone, lead := testkit.NewServer(t, testkit.ServerOptions{}), testkit.NewServer(t, testkit.ServerOptions{})
			s := testkit.NewServer(t, testkit.ServerOptions{})
			s.Do("FOLLOW " + strings.Replace(gone.Addr, ":", " ", 1))
			s.Stop()
			gone.Stop()
			s.Start()
			opt := Options{Addr: s.Addr}
			if role == "follower" {
				opt.Follow = lead.Addr
			}
			l := watch(t, opt)
			until(t, l, "in its role", func(st State) bool { return st.InRole && !st.FirstSync && st.Server.Following == opt.Follow })
		})
	}
}

// TestRefused: a server that does not take its role is up and not ready.
func TestRefused(t *testing.T) {
	s := testkit.NewServer(t, testkit.ServerOptions{})
	l := watch(t, Options{Addr: s.Addr, Follow: "127.0.0.1:1"})
	until(t, l, "up", func(st State) bool { return st.Up && !st.InRole })
	if ok, why := l.Ready(); ok || len(why) != 1 || !strings.Contains(why[0], "does not follow 127.0.0.1:1 yet") {
		t.Errorf("ready %v, %q", ok, why)
	}
}

func TestOptions(t *testing.T) {
	for _, opt := range []Options{{}, {Addr: "nonsense"}, {Addr: "a:1", Follow: "b"}} {
		if _, err := New(opt); err == nil || !strings.Contains(err.Error(), "want host:port") {
			t.Errorf("%+v: %v", opt, err)
		}
	}
}

func TestSameAddr(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"", "", true}, {"a:1", "", false}, {"", "a:1", false}, {"a:1", "a:1", true}, {"a:1", "a:2", false}, {"a:1", "b:1", false},
		{"127.0.0.1:1", "127.0.0.1:1", true}, {"[::1]:1", "[0:0:0:0:0:0:0:1]:1", true}, {"127.0.0.1:1", "127.0.0.2:1", false}, {"x", "y", false},
	} {
		if got := sameAddr(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %v", tt.a, tt.b, got)
		}
	}
}

// TestKeepFollowing: one that follows, and whose sidecar was told nothing of it, is
// left alone, and is not ready; once it leads it is.
func TestKeepFollowing(t *testing.T) {
	lead, follow := testkit.NewServer(t, testkit.ServerOptions{}), testkit.NewServer(t, testkit.ServerOptions{})
	follow.Do("FOLLOW " + strings.Replace(lead.Addr, ":", " ", 1))
	l := watch(t, Options{Addr: follow.Addr, KeepFollowing: true})
	until(t, l, "up", func(st State) bool { return st.Up && !st.FirstSync })
	for range 3 { // it had every chance to be promoted
		if st, err := l.Next(t.Context()); err != nil || st.InRole || st.Server.Following != lead.Addr {
			t.Fatalf("%+v, %v", st, err)
		}
	}
	if ok, why := l.Ready(); ok || len(why) != 1 || !strings.Contains(why[0], "start it with --follow "+lead.Addr) {
		t.Errorf("ready %v, %q", ok, why)
	}
	follow.Do("FOLLOW no one")
	until(t, l, "leads", func(st State) bool { return st.InRole })
	if ok, why := l.Ready(); !ok {
		t.Errorf("not ready: %q", why)
	}
}
