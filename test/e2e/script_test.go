package e2e

import (
	"context"
	"crypto/sha1" // #nosec G505 -- what EVALSHA is about
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// addOne counts in an object that holds text.
const addOne = `local n = tonumber(tile38.call('GET', KEYS[1], ARGV[1]) or 0)
tile38.call('SET', KEYS[1], ARGV[1], 'STRING', n + 1)
return n + 1`

// TestScriptsAreAtomic: a counter that several clients raise by scripts loses
// nothing, by EVAL and EVALSHA, through go-redis and raw RESP, while others
// write; a restart and a follower come to the same state.
func TestScriptsAreAtomic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := start(t, dir)
	f := start(t, t.TempDir(), "--follow", l.addr)
	ctx := context.Background()
	sum := sha1.Sum([]byte(addOne)) // #nosec G401 -- what EVALSHA is about
	sha := hex.EncodeToString(sum[:])
	if got := l.do("SCRIPT", "LOAD", addOne); got != sha {
		t.Fatalf("SCRIPT LOAD = %v, want %s", got, sha)
	}
	const each = 150
	var wg sync.WaitGroup
	run := func(add func() error) {
		wg.Go(func() {
			for range each {
				if err := add(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	script := redis.NewScript(addOne)
	for range 2 {
		run(func() error { return l.rdb.Eval(ctx, addOne, []string{"k"}, "n").Err() })
		run(func() error { return script.EvalSha(ctx, l.rdb, []string{"k"}, "n").Err() })
		w := l.wire()
		run(func() error {
			w.sendArgs("EVALSHA", sha, "1", "k", "n")
			got, err := w.read()
			if err == nil && !strings.HasPrefix(got, ":") {
				err = fmt.Errorf("EVALSHA answers %s", got)
			}
			return err
		})
		run(func() error { return l.rdb.Do(ctx, "SET", "k", "other", "STRING", "x").Err() })
	}
	wg.Wait()
	if got := l.words("GET k n"); got != fmt.Sprint(6*each) {
		t.Errorf("the counter is %v, want %d", got, 6*each)
	}
	level(t, l, f)
	want := l.status().Digest
	l.kill()
	l = start(t, dir)
	if got := l.status().Digest; got != want {
		t.Errorf("digest %s after a restart, want %s", got, want)
	}
	err := l.rdb.EvalSha(ctx, sha, []string{"k"}, "n").Err()
	if err == nil || err.Error() != "ERR sha not found" {
		t.Errorf("EVALSHA after a restart: %v", err)
	}
	for i, eval := range []func() (int, error){
		l.rdb.Eval(ctx, addOne, []string{"k"}, "n").Int, // which keeps the script
		func() (int, error) { return l.rdb.EvalSha(ctx, sha, []string{"k"}, "n").Int() },
	} {
		if n, err := eval(); err != nil || n != 6*each+1+i {
			t.Errorf("the next count is %d (%v), want %d", n, err, 6*each+1+i)
		}
	}
}

// TestScriptsOnFollower: reading scripts run there, writing ones are refused.
func TestScriptsOnFollower(t *testing.T) {
	t.Parallel()
	l := start(t, t.TempDir())
	f := start(t, t.TempDir(), "--follow", l.addr, "--write-forwarding=false")
	l.words("SET k a STRING hello")
	level(t, l, f)
	if got := f.do("EVALRO", "return tile38.call('GET', KEYS[1], 'a')", 1, "k"); got != "hello" {
		t.Errorf("EVALRO = %v", got)
	}
	before := f.status()
	ctx := context.Background()
	for _, c := range []struct{ name, script, want string }{
		{"EVAL", "return tile38.call('SET', 'k', 'a', 'STRING', 'x')", "not the leader"},
		{"EVAL", "return tile38.call('GET', 'k', 'a')", "not the leader"},
		{"EVALNA", "return tile38.call('SET', 'k', 'a', 'STRING', 'x')", "not the leader"},
		{"EVALRO", "return tile38.call('SET', 'k', 'a', 'STRING', 'x')", "read only"},
	} {
		err := f.rdb.Do(ctx, c.name, c.script, 0).Err()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %s", c.name, c.script, err, c.want)
		}
	}
	if after := f.status(); after.Digest != before.Digest || after.Offset != before.Offset {
		t.Errorf("the follower went from %d %s to %d %s", before.Offset, before.Digest, after.Offset, after.Digest)
	}
}

// TestEndlessScripts: TIMEOUT and --script-timeout end them; what they have
// written stays, here, on a follower and after a restart. Others wait no longer
// than the bound, and not at all for one that reads.
func TestEndlessScripts(t *testing.T) {
	t.Parallel()
	const bound = time.Second
	dir := t.TempDir()
	l := start(t, dir, "--script-timeout", bound.String())
	f := start(t, t.TempDir(), "--follow", l.addr)
	loop := "tile38.call('SET', 'k', ARGV[1], 'STRING', 'x'); while true do end"
	look := "while true do tile38.call('GET', 'k', 'a') end"
	for _, c := range []struct {
		name, want string
		ends, wait time.Duration
		args       []any
	}{
		{"TIMEOUT", "timeout", 300 * time.Millisecond, 300 * time.Millisecond, []any{"TIMEOUT", 0.3, "EVAL", loop, 0, "timeout"}},
		{"limit", "ran longer than", bound, bound, []any{"EVAL", loop, 0, "limit"}},
		{"EVALNA", "ran longer than", bound, 0, []any{"EVALNA", loop, 0, "na"}},
		{"EVALRO", "timeout", 500 * time.Millisecond, 0, []any{"TIMEOUT", 0.5, "EVALRO", look, 0}},
	} {
		begun := time.Now()
		ended := make(chan error, 1)
		go func() { ended <- l.rdb.Do(context.Background(), c.args...).Err() }()
		var slowest time.Duration
		var err error
		for err == nil {
			select {
			case err = <-ended:
			default:
				at := time.Now()
				l.do("SET", "k", "w", "POINT", 1, 1)
				slowest = max(slowest, time.Since(at))
			}
		}
		if took := time.Since(begun); !strings.Contains(err.Error(), c.want) || took < c.ends || took > c.ends+2*time.Second {
			t.Errorf("%s: %v after %s, want %s after %s", c.name, err, took, c.want, c.ends)
		}
		if slowest > c.wait+c.ends/2+100*time.Millisecond {
			t.Errorf("%s: a write took %s", c.name, slowest)
		}
		t.Logf("%s: the slowest write took %s", c.name, slowest)
	}
	for _, id := range []string{"timeout", "limit", "na"} {
		if got := l.words("GET k " + id); got != "x" {
			t.Errorf("GET k %s = %v", id, got)
		}
	}
	level(t, l, f)
	want := l.status().Digest
	l.kill()
	l = start(t, dir)
	if got := l.status().Digest; got != want {
		t.Errorf("digest %s after a restart, want %s", got, want)
	}
}

// TestHungryScript: memory that a script wants is bounded.
func TestHungryScript(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "--script-memory", "8000000")
	before := s.resident()
	for _, script := range []string{
		"local t = {} while true do t[#t+1] = string.rep('x', 1000) .. #t end",
		"local s = 'x' while true do s = s .. s end",
		"return string.rep('x', 1000000000)",
		"local t = {} for i = 1, 1e9 do t[i] = {} end",
	} {
		err := s.rdb.Do(context.Background(), "EVAL", script, 0).Err()
		if err == nil || !strings.Contains(err.Error(), "script holds more than") {
			t.Errorf("%s: %v", script, err)
		}
	}
	grown := s.resident() - before
	bound := int64(150 << 20)
	if len(buildFlags) > 0 {
		bound *= 5 // the race detector's own memory
	}
	if grown > bound {
		t.Errorf("%d MiB more are resident", grown>>20)
	}
}
