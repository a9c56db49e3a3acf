package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"evenkeel/internal/testkit"
	"evenkeel/pkg/compactor"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/tile38/local"
	"evenkeel/pkg/tile38/shrink"
)

// parse reads the flags of `run`.
func parse(t *testing.T, args ...string) (*config, error) {
	t.Helper()
	var c config
	set := pflag.NewFlagSet("run", pflag.ContinueOnError)
	c.flags(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &c, c.validate()
}

// TestEngineFlags: flags of one engine are refused with the other, all of them
// have a limit, and clients get another port beside a Tile38.
func TestEngineFlags(t *testing.T) {
	for _, f := range []string{
		"announce=host", "engine-addr=host", "engine-addr=:0", "bridge-listen=x", "read-from=nobody", "read-your-writes-timeout=0s", "engine-wait=-1s",
		"write-forwarding-timeout=0s", "protected-mode=maybe", "heartbeat-interval=-1s", "heartbeat-key=", "max-pending-commands=0", "max-unavailable=0", "max-healing-shrinks=0", "max-healing-shrinks=-2", "aofshrink-timeout=0s", "verify-interval=0s", "verify-rate=-1",
		"engine-memory-limit=0", "engine-memory-limit=much",
		"shared-connections=-2", "shared-connections=65", "max-unsent-replies=0", "max-unsent-replies=much",
		"engine-password-file=/nothing/there", "leader-password-file=/nothing/there",
	} {
		name, value, _ := strings.Cut(f, "=")
		_, err := parse(t, "--engine=tile38", "--"+f)
		if err == nil || !strings.Contains(err.Error(), "--"+name) || value != "" && !strings.Contains(err.Error(), value) {
			t.Errorf("--%s: %v", f, err)
		}
	}
	for _, f := range []string{
		"read-from=nobody", "read-your-writes-timeout=0s", "write-forwarding-timeout=-1s", "write-forwarding-idle=0s", "write-forwarding-waiting=0", "write-forwarding-connections=-1",
	} {
		name, value, _ := strings.Cut(f, "=")
		if _, err := parse(t, "--"+f); err == nil || !strings.Contains(err.Error(), "--"+name) || !strings.Contains(err.Error(), value) {
			t.Errorf("--%s: %v", f, err)
		}
	}
	for _, args := range [][2]string{
		{"tile38", "appendfsync=always"}, {"tile38", "compaction-cpu=10"}, {"tile38", "max-bulk=100"}, {"tile38", "hook-senders=3"},
		{"embedded", "engine-addr=127.0.0.1:9851"}, {"tile38", "write-forwarding-connections=3"}, {"tile38", "write-forwarding-waiting=3"}, {"tile38", "write-forwarding-idle=3s"}, {"embedded", "bridge=false"}, {"embedded", "protected-mode=yes"},
		{"embedded", "engine-memory-limit=1gb"},
		{"embedded", "shared-connections=0"}, {"embedded", "max-unsent-replies=1mb"},
	} {
		name, _, _ := strings.Cut(args[1], "=")
		_, err := parse(t, "--engine="+args[0], "--"+args[1])
		if want := "--" + name + " means nothing with --engine " + args[0]; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
	for n, want := range map[string]int{"0": 0, "5": 5, "64": 64, "-1": min(runtime.GOMAXPROCS(0), 8)} {
		c, err := parse(t, "--engine=tile38", "--shared-connections="+n)
		if err != nil || c.tile38.sharedConnections() != want {
			t.Errorf("--shared-connections=%s: %d, %v", n, c.tile38.sharedConnections(), err)
		}
	}
	if _, err := parse(t, "--engine=redis"); err == nil || !strings.Contains(err.Error(), `--engine "redis": want embedded or tile38`) {
		t.Errorf("%v", err)
	}
	if _, err := parse(t, "--engine=tile38", "--follow=a:1"); err == nil || !strings.Contains(err.Error(), "--engine-dir: a follower needs") {
		t.Errorf("%v", err)
	}
	for want, args := range map[string][]string{
		"--leader-tls: a Tile38":      {"--engine=tile38", "--follow=a:1", "--bridge=false", "--leader-tls"},
		"--tls-cert, --tls-key: ":     {"--tls-cert=x"},
		"--tls-client-ca: clients":    {"--tls-client-ca=x"},
		"give --leader-tls as well":   {"--leader-tls-ca=x"},
		"--engine-dir: a follower ne": {"--engine=tile38", "--follow=a:1"},
		"--promote=false: with --fol": {"--engine=tile38", "--follow=a:1", "--promote=false"},
	} {
		if _, err := parse(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
	for want, args := range map[string][]string{
		":9861": {"--engine=tile38"}, ":7": {"--engine=tile38", "--listen=:7"}, ":9851": {},
	} {
		if c, err := parse(t, args...); err != nil || c.listen != want {
			t.Errorf("%v: listens on %s, %v; want %s", args, c.listen, err, want)
		}
	}
	if c, err := parse(t, "--engine=tile38", "--follow=a:1", "--bridge=false", "--http-header-timeout=1s", "--max-http-header=100"); err != nil || c.tile38.bridge || c.proxy.Limits.MaxHeader != 100 {
		t.Errorf("%v", err)
	}
}

// TestEngineMemoryLimit: from the flag, else from the environment.
func TestEngineMemoryLimit(t *testing.T) {
	for _, tt := range []struct {
		env  string
		args []string
		want int64
	}{
		{"", nil, 0}, {"1048576", nil, 1 << 20}, {"1048576", []string{"--engine-memory-limit=2gb"}, 2 << 30},
	} {
		t.Setenv("EVENKEEL_ENGINE_MEMORY_LIMIT", tt.env)
		c, err := parse(t, append(tt.args, "--engine=tile38")...)
		if err != nil || c.tile38.memoryLimit != tt.want {
			t.Errorf("%q, %v: %d, %v; want %d", tt.env, tt.args, c.tile38.memoryLimit, err, tt.want)
		}
	}
}

// TestConditionState: no condition is taken for a follower that streams, but those
// of one that has reached the end of the log.
func TestConditionState(t *testing.T) {
	for c, want := range map[shrink.Condition]replication.State{
		shrink.Fine: replication.Streaming, shrink.Diverged: replication.Streaming,
		shrink.CatchingUp: replication.CatchingUp, shrink.Doubled: replication.CatchingUp,
		shrink.Detached: replication.Connecting, shrink.Unreachable: replication.Connecting, shrink.Unknown: replication.Connecting,
	} {
		if got := conditionState(c); got != want {
			t.Errorf("%s: %s, want %s", c, got, want)
		}
	}
}

// TestEnginePasswords: from a file, from the environment, and the leader's is the
// same unless it is given.
func TestEnginePasswords(t *testing.T) {
	t.Setenv("EVENKEEL_PASSWORD", "from the environment")
	t.Setenv("EVENKEEL_LEADER_PASSWORD", "")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args           []string
		engine, leader string
	}{
		{nil, "from the environment", "from the environment"},
		{[]string{"--engine-password-file=" + file}, "from a file", "from a file"},
		{[]string{"--leader-password-file=" + file}, "from the environment", "from a file"},
	} {
		c, err := parse(t, append(tt.args, "--engine=tile38")...)
		if err != nil || c.tile38.password != tt.engine || c.tile38.leader != tt.leader {
			t.Errorf("%v: %q and %q, %v", tt.args, c.tile38.password, c.tile38.leader, err)
		}
	}
}

// fixedTarget is a log that should be compacted at once.
type fixedTarget struct{}

func (fixedTarget) Facts() compactor.Facts { return compactor.Facts{LogBytes: 1 << 40} }
func (fixedTarget) Compact(context.Context) (compactor.Result, error) {
	return compactor.Result{Objects: 7}, nil
}

// TestOnlyLeading: a Tile38 that was left to follow is not compacted, neither by size
// nor by hand; one that leads is.
func TestOnlyLeading(t *testing.T) {
	leader, follower := testkit.NewServer(t, testkit.ServerOptions{}), testkit.NewServer(t, testkit.ServerOptions{})
	follower.Do("FOLLOW " + strings.Replace(leader.Addr, ":", " ", 1))
	for addr, leads := range map[string]bool{leader.Addr: true, follower.Addr: false} {
		l, err := local.New(local.Options{Addr: addr, KeepFollowing: true, Interval: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		if _, err := l.Next(ctx); err != nil {
			t.Fatal(err)
		}
		cfg := &config{}
		cfg.tile38.addr = addr
		o := onlyLeading{fixedTarget{}, &external{shell: &shell{cfg: cfg}, local: l}}
		r, err := o.Compact(ctx)
		if got := o.Facts().LogBytes > 0; got != leads || (err == nil) != leads || (r.Objects == 7) != leads {
			t.Errorf("leads %v: would be compacted %v, %+v, %v", leads, got, r, err)
		}
		cancel()
		<-done
	}
}
