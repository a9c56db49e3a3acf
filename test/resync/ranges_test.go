package resync

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"evenkeel/pkg/replication/reptest"
)

// apart makes a leader and a follower that was away: what happened meanwhile,
// between is called for, and the log is not there any more.
func apart(t testing.TB, before, meanwhile func(l *pod)) (l, f *pod) {
	t.Helper()
	l, f = open(t, t.TempDir()), open(t, t.TempDir())
	l.serve()
	before(l)
	f.follow(l)
	f.converge(l)
	f.unfollow()
	meanwhile(l)
	l.compact()
	f.net.Received.Store(0)
	return l, f
}

// TestRanges: after its offset is gone a follower takes what differs, and the
// state is the leader's in every respect.
func TestRanges(t *testing.T) {
	many := func(n int) func(l *pod) { return func(l *pod) { l.fill("fleet", 0, n) } }
	for _, tt := range []struct {
		name              string
		before, meanwhile func(l *pod)
		changed           int64
	}{
		{"nothing differs", many(1000), func(l *pod) { l.write("SET fleet x POINT 1 1", "DEL fleet x") }, 0},
		{"some", many(1000), func(l *pod) {
			l.write("SET fleet truck0000500 POINT 1 1", "DEL fleet truck0000100", "SET fleet a POINT 1 2", "SET fleet z POINT 3 4")
		}, 4},
		{"fields go", many(300), func(l *pod) { l.write("DEL fleet truck0000007", "SET fleet truck0000007 POINT 7.25 7.5") }, 1},
		{"ghosts", many(3000), func(l *pod) { l.write("PDEL fleet truck00010*") }, 100},
		{"a collection goes", func(l *pod) { l.fill("a", 0, 700); l.fill("b", 0, 10); l.fill("c", 0, 700) },
			func(l *pod) { l.write("DROP b") }, 0},
		{"the last goes", func(l *pod) { l.fill("a", 0, 700); l.fill("b", 0, 10) }, func(l *pod) { l.write("DROP b") }, 0},
		{"a collection comes", many(300), func(l *pod) { l.fill("a", 0, 20); l.fill("z", 0, 20) }, 40},
		{"everything else", many(300), func(l *pod) { l.write("FLUSHDB"); l.fill("other", 0, 300) }, 300},
		{"renamed", many(300), func(l *pod) { l.write("RENAME fleet boats") }, 300},
		{"empty", many(300), func(l *pod) { l.write("FLUSHDB") }, 0},
		{"a channel becomes a hook, and a hook a channel", func(l *pod) {
			l.fill("fleet", 0, 300)
			l.write("SETCHAN a NEARBY fleet FENCE POINT 1 1 100", "SETHOOK b http://127.0.0.1:1 NEARBY fleet FENCE POINT 1 1 100")
		}, func(l *pod) {
			l.write("DELCHAN a", "DELHOOK b")
			l.write("SETHOOK a http://127.0.0.1:1 NEARBY fleet FENCE POINT 1 1 100", "SETCHAN b NEARBY fleet FENCE POINT 1 1 100")
		}, 2},
		{"all kinds", func(l *pod) {
			l.fill("fleet", 0, 300)
			l.write("SET k s STRING text", "SET k t EX 1000 POINT 1 2 3", "SET k b BOUNDS 1 2 3 4", "SET k h HASH 9tbnwg",
				"SETCHAN c NEARBY fleet FENCE POINT 1 1 100", "SETHOOK h http://127.0.0.1:1 WITHIN fleet FENCE OBJECT {\"type\":\"Point\",\"coordinates\":[1,1]}")
		}, func(l *pod) {
			l.write("SET k s STRING other", "SET k t EX 500 POINT 1 2 3", "SET k o OBJECT {\"type\":\"Point\",\"coordinates\":[1,2,3,4]}",
				"SET k j FIELD a 1 FIELD b text POINT 1 1", "PERSIST k t", "EXPIRE k h 77.5",
				"DELCHAN c", "SETCHAN d EX 100 NEARBY fleet FENCE POINT 1 1 200", "SETHOOK h http://127.0.0.1:2 META a b WITHIN fleet FENCE BOUNDS 1 1 2 2")
		}, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, f := apart(t, tt.before, tt.meanwhile)
			f.follow(l)
			f.converge(l)
			f.resyncs(0, 1, 0)
			if got := f.fol.Status().Resync.Changed; got != tt.changed {
				t.Errorf("%d objects came or went, want %d", got, tt.changed)
			}
			l.write("SET fleet after POINT 1 1")
			f.converge(l)
			f.unfollow()
			f = f.reopened() // what is on the disk is the same
			f.same(l)
			f.follow(l)
			f.converge(l)
			f.resyncs(1, 0, 0)
		})
	}
}

// TestRangesWhileWritten: the leader goes on meanwhile.
func TestRangesWhileWritten(t *testing.T) {
	l, f := apart(t, func(l *pod) { l.fill("fleet", 0, 20000) }, func(l *pod) { l.fill("fleet", 5000, 9000); l.write("PDEL fleet truck00199*") })
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			l.write(fmt.Sprintf("SET fleet truck%07d POINT 5 5", i*97), fmt.Sprintf("DEL fleet truck%07d", i*89))
			if i%50 == 0 {
				l.compact()
			}
		}
	}()
	f.follow(l)
	<-done
	f.converge(l)
	f.resyncs(0, 1, 0)
}

// TestRangesStuck: what fails each time is not tried for ever.
func TestRangesStuck(t *testing.T) {
	l, f := apart(t, func(l *pod) { l.fill("fleet", 0, 3000) }, func(l *pod) { l.write("SET fleet truck0000500 POINT 1 1") })
	f.replacing = func() error { return errors.New("stuck") }
	f.follow(l)
	f.converge(l)
	f.resyncs(0, 3, 1)
}

// TestRangesMemory: what leader and follower hold together does not grow while a
// tenth of the objects is replaced.
func TestRangesMemory(t *testing.T) {
	const objects = 40_000
	l, f := apart(t, func(l *pod) { l.fill("fleet", 0, objects) }, func(l *pod) {
		for i := range objects / 10 {
			l.write(fmt.Sprintf("SET fleet truck%07d POINT 5 5", i*10))
		}
	})
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most, n := live(), uint64(0), 0
	f.replacing = func() error {
		if n++; n%50 == 0 {
			most = max(most, live())
		}
		return nil
	}
	f.follow(l)
	f.converge(l)
	f.resyncs(0, 1, 0)
	t.Logf("%d ranges; live %d bytes before, at most %d", n, before, most)
	if n < 100 || most > before+before/10 {
		t.Errorf("%d ranges; live %d bytes before, at most %d", n, before, most)
	}
}

// TestRangesCut: wherever the connection is cut, the follower is not ready, and
// goes on where it was: all attempts together cost little more than one.
func TestRangesCut(t *testing.T) {
	l, f := apart(t, func(l *pod) { l.fill("fleet", 0, 3000) }, func(l *pod) {
		for i := range 40 {
			l.write(fmt.Sprintf("SET fleet truck%07d POINT 5 5", i*71))
		}
		l.write("DROP none", "PDEL fleet truck00020*", "SETCHAN c NEARBY fleet FENCE POINT 1 1 100")
	})
	probe := open(t, copyOf(t, f))
	probe.follow(l)
	probe.converge(l)
	whole := probe.net.Received.Load()
	probe.close()
	for cut := int64(1); cut < whole; cut += 199 {
		g := open(t, copyOf(t, f))
		g.net.Inject(reptest.Fault{CutAfter: cut})
		g.follow(l)
		g.until("cut", func() bool { return g.net.Dialed.Load() > 1 })
		g.converge(l)
		g.same(l)
		if st := g.fol.Status(); st.FullResyncs != 0 {
			t.Fatalf("cut after %d of %d bytes: %d full resyncs", cut, whole, st.FullResyncs)
		}
		g.close()
	}
	t.Logf("a resync of %d bytes, cut at %d places", whole, whole/199)
}

// TestRangesDied: a follower that dies in the middle has its old state on the
// disk, whole, and knows that it is not the leader's.
func TestRangesDied(t *testing.T) {
	l, f := apart(t, func(l *pod) { l.fill("fleet", 0, 50000) }, func(l *pod) { l.write("DROP fleet"); l.fill("fleet", 1, 50000) })
	l.write("PDEL fleet truck00011*", "RENAME fleet old")
	l.fill("fleet", 20000, 70000)
	before, _ := f.Digest()
	f.net.Inject(reptest.Fault{CutAfter: 1 << 20})
	f.follow(l)
	f.until("halfway", func() bool { return f.fol.Status().Resync.Changed > 100 })
	if ok, why := f.fol.Ready(0); ok || len(why) == 0 {
		t.Errorf("ready in the middle of it")
	}
	f.unfollow()
	if now, _ := f.Digest(); now == before {
		t.Fatal("the state is the old one: nothing was tested")
	}
	if pos, _ := f.Position(); pos.Epoch != "" {
		t.Errorf("the position is %v, but the state is not the log's", pos)
	}
	if _, err := f.Compact(t.Context()); err == nil {
		t.Error("compacted a state that is no state")
	}
	f = f.reopened()
	if now, _ := f.Digest(); now != before {
		t.Fatalf("after a restart the digest is %s, was %s", now, before)
	}
	f.follow(l)
	f.converge(l)
	f.resyncs(0, 1, 0)
}

// TestEmptyTakesBase: who has nothing, or little, takes the base as it is.
func TestEmptyTakesBase(t *testing.T) {
	l, f, g := open(t, t.TempDir()), open(t, t.TempDir()), open(t, t.TempDir())
	l.serve()
	l.fill("fleet", 0, 1000)
	l.compact()
	f.follow(l)
	f.converge(l)
	f.resyncs(0, 0, 1)
	g.fill("own", 0, 10)
	g.follow(l)
	g.converge(l)
	g.resyncs(0, 0, 1)
}

// TestStranger: a pod with data of its own becomes what its leader is.
func TestStranger(t *testing.T) {
	l, f := open(t, t.TempDir()), open(t, t.TempDir())
	l.serve()
	l.fill("fleet", 0, 1000)
	f.fill("fleet", 500, 1500)
	f.fill("own", 0, 100)
	f.follow(l)
	f.converge(l)
	f.resyncs(0, 1, 0)
	if st := f.fol.Status().Resync; st.Changed != 1000 {
		t.Errorf("%d objects came or went, want 500 and 500", st.Changed)
	}
}
