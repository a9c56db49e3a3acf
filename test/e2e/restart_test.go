package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestRestart: everything is there again, times to live go on.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	s.words("SET fleet a FIELD speed 90 POINT 33.5 -112.2 17")
	s.words("SET fleet b BOUNDS 1 2 3 4")
	s.words("SET fleet c HASH 9tbnthxzr")
	s.words(`SET fleet d OBJECT {"type":"LineString","coordinates":[[0,0],[1,1]]}`)
	s.words("SET fleet e STRING text")
	s.words("SET fleet f EX 1000 POINT 1 1")
	s.words("JSET doc j a.b 5")
	s.words("JSET doc j a.c 6")
	s.words("JDEL doc j a.c")
	s.words("SET gone x POINT 1 1")
	s.words("DROP gone")
	s.words("RENAME doc docs")
	want := s.status()
	s.stop()
	for _, killed := range []bool{false, true} {
		s = start(t, dir)
		got := s.status()
		if got.Digest != want.Digest || got.Offset != want.Offset {
			t.Fatalf("after a restart: offset %d digest %s, want %d %s", got.Offset, got.Digest, want.Offset, want.Digest)
		}
		// A crash may have taken the end of the log: what comes now is another history.
		if same := got.Epoch == want.Epoch; same == killed {
			t.Errorf("killed: %v; epoch %s, was %s", killed, got.Epoch, want.Epoch)
		}
		s.kill()
	}
	s = start(t, dir)
	if j := s.words("JGET docs j"); j != `{"a":{"b":5}}` {
		t.Errorf("JGET = %v", j)
	}
}

// TestTTLIsAbsolute: time to live passes while the server is down, also in a
// compacted log.
func TestTTLIsAbsolute(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	s.words("SET k long EX 1000 POINT 1 1")
	s.words("SET k short EX 2 POINT 1 1")
	s.words("SET k stays POINT 1 1")
	begun := time.Now()
	s.words("AOFSHRINK")
	s.waitFor("the end of the compaction", func() bool { return strings.Contains(s.log.String(), "compaction done") })
	s.stop()
	s = start(t, dir)
	ttl, _ := s.words("TTL k long").(int64)
	if passed := int64(time.Since(begun).Seconds()) + 1; ttl > 999 || ttl < 999-passed {
		t.Errorf("TTL = %d, %d s after it was set to 1000", ttl, passed)
	}
	s.waitFor("the end of k short", func() bool { return s.words("EXISTS k short") == int64(0) })
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("2 s of life lasted %s", took)
	}
	if n := s.words("EXISTS k stays"); n != int64(1) {
		t.Error("k stays is gone")
	}
}

// TestKill9 kills the server under load, again and again: what was
// acknowledged is there.
func TestKill9(t *testing.T) {
	for _, policy := range []string{"always", "everysec", "no"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			acked := make([]int, 8) // per writer: how many of its objects were acknowledged
			for round := range 4 {
				s := start(t, dir, "--appendfsync", policy, "--segment-size", "128kb")
				checkAcked(t, s, acked)
				if round == 2 {
					s.words("AOFSHRINK")
				}
				writeUntilKilled(s, acked)
			}
			s := start(t, dir, "--appendfsync", policy)
			checkAcked(t, s, acked)
		})
	}
}

// writeUntilKilled writes with several clients and kills the server when all
// have made some progress.
func writeUntilKilled(s *server, acked []int) {
	var wg sync.WaitGroup
	var total atomic.Int64
	enough := make(chan struct{})
	for w := range acked {
		wg.Go(func() {
			for {
				err := s.rdb.Do(context.Background(), "SET", fmt.Sprintf("w%d", w), acked[w], "POINT", w, acked[w]%80).Err()
				if err != nil {
					return
				}
				acked[w]++
				if total.Add(1) == 2000 {
					close(enough)
				}
			}
		})
	}
	<-enough
	s.kill()
	wg.Wait()
}

func checkAcked(t *testing.T, s *server, acked []int) {
	t.Helper()
	for w, want := range acked {
		n, err := s.rdb.Do(context.Background(), "SCAN", fmt.Sprintf("w%d", w), "COUNT").Int64()
		if err != nil {
			t.Fatal(err)
		}
		if n < int64(want) {
			t.Errorf("writer %d: %d objects acknowledged, %d there", w, want, n)
		}
		for i := range want {
			if i%97 != 0 && i < want-10 {
				continue // a sample, and the last ones
			}
			if err := s.rdb.Do(context.Background(), "GET", fmt.Sprintf("w%d", w), i).Err(); errors.Is(err, redis.Nil) {
				t.Errorf("writer %d: object %d was acknowledged and is gone", w, i)
			}
		}
	}
}

// TestDrain: SIGTERM turns readiness off, answers what is under way, syncs and
// ends with 0.
func TestDrain(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	if code, body := get(t, "http://"+s.probe+"/readyz"); code != 200 {
		t.Fatalf("/readyz: %d %s", code, body)
	}
	ctx := context.Background()
	var acked atomic.Int64
	var wg sync.WaitGroup
	begun := make(chan struct{})
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				if err := s.rdb.Do(ctx, "SET", "k", fmt.Sprintf("%d-%d", w, i), "POINT", 1, 1).Err(); err != nil {
					return
				}
				if acked.Add(1) == 500 {
					close(begun)
				}
			}
		})
	}
	<-begun
	s.stop()
	wg.Wait()
	s = start(t, dir)
	n, err := s.rdb.Do(ctx, "SCAN", "k", "COUNT").Int64()
	if err != nil || n < acked.Load() {
		t.Errorf("%d objects after the restart (%v), %d were acknowledged", n, err, acked.Load())
	}
}

// TestDrainIsBounded: a client that does not go away does not keep the server.
func TestDrainIsBounded(t *testing.T) {
	s := start(t, t.TempDir(), "--drain-timeout", "1s")
	c := s.dial()
	mustSend(t, c, "*2\r\n$3\r\nGET\r\n$1\r\nk") // half a command
	begun := time.Now()
	s.stop()
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the shutdown took %s", took)
	}
}

// TestStopDuringCompaction: a shutdown ends a compaction that has hardly begun,
// at once and as no failure; the next start has everything, and its compaction
// is through as soon as the rate lets it.
func TestStopDuringCompaction(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, "--compaction-rate", "1kb")
	s.fill("fleet", 5000)
	want := s.status().Digest
	s.words("AOFSHRINK")
	s.waitFor("a new base", func() bool { return len(temporary(t, dir)) > 0 })
	if got := s.metric("evenkeel_compaction_running"); got != 1 {
		t.Errorf("evenkeel_compaction_running %v", got)
	}
	s.stop()
	if !strings.Contains(s.log.String(), "compaction cancelled") || strings.Contains(s.log.String(), "compaction failed") {
		t.Errorf("it printed\n%s", s.log)
	}
	if left := temporary(t, dir); len(left) > 0 {
		t.Errorf("it left %q", left)
	}
	s = start(t, dir, "--compaction-rate", "1kb")
	if got := s.status().Digest; got != want {
		t.Errorf("digest %s after a restart, want %s", got, want)
	}
	s.words("AOFSHRINK")
	s.waitFor("a new base", func() bool { return len(temporary(t, dir)) > 0 })
	if got := s.metric("evenkeel_compaction_rate_limit_bytes"); got != 1024 {
		t.Errorf("evenkeel_compaction_rate_limit_bytes %v", got)
	}
	s.words("CONFIG SET compaction-rate adaptive")
	s.waitFor("the end of the compaction", func() bool { return strings.Contains(s.log.String(), "compaction done") })
	if got := s.metric("evenkeel_compaction_share_ratio"); got <= 0 || got > 0.25 {
		t.Errorf("evenkeel_compaction_share_ratio %v", got)
	}
}

// temporary lists the bases that are being written.
func temporary(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "base-*.tmp"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}
