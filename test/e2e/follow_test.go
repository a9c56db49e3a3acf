package e2e

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestFollowerStreams: a follower takes what the leader writes and refuses
// writes with Tile38's words.
func TestFollowerStreams(t *testing.T) {
	l := start(t, t.TempDir())
	l.fill("fleet", 3000)
	f := start(t, t.TempDir(), "--follow", l.addr, "--write-forwarding=false")
	level(t, l, f)
	l.words("SET fleet extra EX 1000 STRING hello")
	l.words("DEL fleet p0000001")
	level(t, l, f)
	if got := f.words("GET fleet extra"); got != "hello" {
		t.Errorf("the follower has %v", got)
	}
	err := f.rdb.Do(context.Background(), "SET", "fleet", "x", "POINT", 1, 1).Err()
	if err == nil || err.Error() != "ERR not the leader" {
		t.Errorf("a write to a follower: %v, want ERR not the leader", err)
	}
}

// TestFollowerSurvivesLeaderRestart: no full resync when the leader still has
// the follower's offset, be it stopped or killed.
func TestFollowerSurvivesLeaderRestart(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir)
	via := newRelay(t, l.addr)
	f := start(t, t.TempDir(), "--follow", via.addr())
	l.fill("a", 1000)
	level(t, l, f)
	before := f.status().Follower
	for i, end := range []func(*server){(*server).stop, (*server).kill} {
		end(l)
		l = start(t, dir, "--listen", l.addr)
		l.fill("b", 500+i)
		level(t, l, f)
	}
	after := f.status().Follower
	if after.FullResyncs != before.FullResyncs {
		t.Errorf("full resyncs: %d before the restarts, %d after", before.FullResyncs, after.FullResyncs)
	}
	if after.ContinueResyncs < before.ContinueResyncs+2 {
		t.Errorf("continued %d times before the restarts, %d after; want 2 more", before.ContinueResyncs, after.ContinueResyncs)
	}
}

// TestFollowerSurvivesCut: writes go on while the network is cut.
func TestFollowerSurvivesCut(t *testing.T) {
	l := start(t, t.TempDir())
	via := newRelay(t, l.addr)
	f := start(t, t.TempDir(), "--follow", via.addr())
	level(t, l, f)
	full := f.status().Follower.FullResyncs
	for i := range 3 {
		via.cut()
		l.fill("cut", 700*(i+1))
		via.heal()
		level(t, l, f)
	}
	st := f.status().Follower
	if st.FullResyncs != full {
		t.Errorf("full resyncs: %d, then %d", full, st.FullResyncs)
	}
}

// TestFollowerRestart: a follower goes on where it stopped.
func TestFollowerRestart(t *testing.T) {
	l := start(t, t.TempDir())
	dir := t.TempDir()
	f := start(t, dir, "--follow", l.addr)
	l.fill("a", 1000)
	level(t, l, f)
	for i, end := range []func(*server){(*server).stop, (*server).kill} {
		end(f)
		l.fill("b", 300+i)
		f = start(t, dir, "--follow", l.addr)
		level(t, l, f)
		if st := f.status().Follower; st.FullResyncs != 0 || st.ContinueResyncs < 1 {
			t.Errorf("after a restart: %d full resyncs, %d continued", st.FullResyncs, st.ContinueResyncs)
		}
	}
}

// TestCompactionIsInvisible: a leader's compaction neither disconnects a
// follower nor sends it one byte beyond the heartbeats.
func TestCompactionIsInvisible(t *testing.T) {
	l := start(t, t.TempDir())
	for range 3 {
		l.fill("fleet", 4000)
	}
	f := start(t, t.TempDir(), "--follow", l.addr)
	level(t, l, f)
	before, offset := f.status().Follower, l.status().Offset
	l.words("AOFSHRINK")
	l.waitFor("the end of the compaction", func() bool { return strings.Contains(l.log.String(), "compaction done") })
	after := f.status().Follower
	if after.Reconnects != before.Reconnects || after.FullResyncs != before.FullResyncs {
		t.Errorf("the follower was disturbed: %+v, then %+v", before, after)
	}
	if l.status().Offset != offset {
		t.Errorf("the compaction moved the offset from %d to %d", offset, l.status().Offset)
	}
	// Heartbeats are annotation lines of about 90 bytes, one a second.
	if extra := after.BytesReceived - before.BytesReceived; extra > 120*20 {
		t.Errorf("the follower got %d bytes during the compaction", extra)
	}
	l.words("SET fleet after POINT 1 1")
	level(t, l, f)
}

// TestFollowerWhoseOffsetIsGone gets what differs, and keeps nothing that the
// leader deleted meanwhile.
func TestFollowerWhoseOffsetIsGone(t *testing.T) {
	l := start(t, t.TempDir(), "--repl-backlog-size", "0", "--segment-size", "64kb")
	dir := t.TempDir()
	f := start(t, dir, "--follow", l.addr)
	l.fill("fleet", 3000)
	l.words("SET ghosts g1 POINT 1 1")
	l.words("SET fleet ghost2 POINT 1 1")
	level(t, l, f)
	f.stop()

	l.words("DROP ghosts")
	l.words("DEL fleet ghost2")
	l.fill("other", 3000)
	l.words("AOFSHRINK")
	l.waitFor("the end of the compaction", func() bool { return strings.Contains(l.log.String(), "compaction done") })
	l.fill("later", 100)

	f = start(t, dir, "--follow", l.addr)
	level(t, l, f)
	st := f.status().Follower
	if st.FullResyncs != 0 || st.RangeResyncs != 1 {
		t.Errorf("%d full resyncs and %d by ranges, want 0 and 1", st.FullResyncs, st.RangeResyncs)
	}
	if n := f.words("EXISTS fleet ghost2"); n != int64(0) {
		t.Errorf("EXISTS fleet ghost2 = %v", n)
	}
	if keys, ok := f.words("KEYS ghosts").([]any); !ok || len(keys) != 0 {
		t.Errorf("KEYS ghosts = %v", keys)
	}
}

// TestFollowerCompacts: a follower compacts its own log, restarts from it and
// goes on.
func TestFollowerCompacts(t *testing.T) {
	l := start(t, t.TempDir())
	dir := t.TempDir()
	f := start(t, dir, "--follow", l.addr)
	for range 3 {
		l.fill("fleet", 2000)
	}
	level(t, l, f)
	f.words("AOFSHRINK")
	f.waitFor("the end of the compaction", func() bool { return strings.Contains(f.log.String(), "compaction done") })
	l.fill("more", 100)
	level(t, l, f)
	f.stop()
	f = start(t, dir, "--follow", l.addr)
	level(t, l, f)
	if st := f.status().Follower; st.FullResyncs != 0 {
		t.Errorf("%d full resyncs after a restart from the compacted log", st.FullResyncs)
	}
}

// TestPromotion: of two followers one becomes the leader, by hand. The other one
// goes on where it is; the old leader, which went on alone, gives up what it wrote and keeps
// it in a file.
func TestPromotion(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir)
	f, g := start(t, t.TempDir(), "--follow", l.addr), start(t, t.TempDir(), "--follow", l.addr)
	l.fill("fleet", 2000)
	level(t, l, f)
	level(t, l, g)
	f.words("FOLLOW no one")
	l.words("SET fleet alone POINT 1 1")
	level(t, l, g)
	l.stop()
	f.words("SET fleet new POINT 1 1")
	host, port, _ := net.SplitHostPort(f.addr)
	g.words("FOLLOW " + host + " " + port)
	level(t, f, g)
	l = start(t, dir, "--follow", f.addr)
	level(t, f, l)
	for name, p := range map[string]*server{"the other follower": g, "the old leader": l} {
		if st := p.status().Follower; st.FullResyncs != 0 {
			t.Errorf("%s: %d full resyncs", name, st.FullResyncs)
		}
		if n := p.words("EXISTS fleet alone"); n != int64(0) {
			t.Errorf("%s still has what only the old leader took", name)
		}
		lost, err := filepath.Glob(filepath.Join(p.dir, "lost-*.aof"))
		if err != nil || len(lost) != 1 {
			t.Errorf("%s: files %q, %v", name, lost, err)
		}
	}
	if log := l.log.String(); !strings.Contains(log, "commands=1") || !strings.Contains(log, "lost-") {
		t.Error("the old leader does not say what it gave up")
	}
}

// TestFollowByCommand: FOLLOW makes a follower and outlives a restart; FOLLOW
// no one makes a leader again.
func TestFollowByCommand(t *testing.T) {
	l := start(t, t.TempDir())
	l.fill("fleet", 100)
	dir := t.TempDir()
	f := start(t, dir)
	host, port, _ := strings.Cut(l.addr, ":")
	f.do("FOLLOW", host, port)
	level(t, l, f)
	f.stop()
	f = start(t, dir)
	level(t, l, f)
	f.words("FOLLOW no one")
	f.words("SET own x POINT 1 1")
	if n := f.words("EXISTS own x"); n != int64(1) {
		t.Errorf("EXISTS own x = %v after FOLLOW no one", n)
	}
}
