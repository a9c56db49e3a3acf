package resync

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evenkeel/pkg/replication/reptest"
)

// cluster is a leader and two followers that are level with it.
func cluster(t testing.TB) (l, f, g *pod) {
	t.Helper()
	l, f, g = open(t, t.TempDir()), open(t, t.TempDir()), open(t, t.TempDir())
	l.serve()
	l.fill("fleet", 0, 1000)
	for _, p := range []*pod{f, g} {
		p.follow(l)
		p.converge(l)
	}
	return l, f, g
}

// lost returns how many SETs and FLUSHDBs are in the files of what a pod has given up.
func lost(t *testing.T, p *pod) (files, commands int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(p.dir, "lost-*.aof"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		commands += strings.Count(string(b), "\r\nSET\r\n") + strings.Count(string(b), "\r\nFLUSHDB\r\n")
	}
	return len(names), commands
}

// TestPromotion: the other followers of the old leader go on from where they
// are, one that was behind as well, and the old leader itself.
func TestPromotion(t *testing.T) {
	l, f, g := cluster(t)
	old := l.log.Position()
	g.unfollow() // it misses what comes now
	l.fill("fleet", 1000, 1100)
	f.converge(l)
	l.unserve()
	f.promote()
	if pos := f.log.Position(); pos.Epoch == old.Epoch || pos.Offset <= old.Offset {
		t.Errorf("promoted at %v, the old leader was at %v", pos, old)
	}
	g.follow(f)
	g.converge(f)
	g.resyncs(1, 0, 0)
	f.write("SET fleet new POINT 1 1")
	g.converge(f)
	l.follow(f)
	l.converge(f)
	l.resyncs(1, 0, 0)
	for _, p := range []*pod{l, g} {
		if n, _ := lost(t, p); n != 0 {
			t.Errorf("%d files of lost commands, nothing was lost", n)
		}
	}
	// Once more: the chain of epochs is known everywhere, and survives restarts.
	f.unserve()
	g.unfollow()
	l.unfollow()
	g, l = g.reopened(), l.reopened()
	g.promote()
	g.write("SET fleet newer POINT 1 1")
	for _, p := range []*pod{f, l} {
		p.follow(g)
		p.converge(g)
		p.resyncs(1, 0, 0)
	}
}

// TestRollbackOfNothing: an old leader that deleted all alone has no objects, and
// yet something to put aside.
func TestRollbackOfNothing(t *testing.T) {
	l, f, _ := cluster(t)
	f.unfollow()
	l.write("FLUSHDB")
	l.unserve()
	f.promote()
	f.write("SET fleet new POINT 1 1")
	l.follow(f)
	l.converge(f)
	l.resyncs(0, 0, 1)
	if files, commands := lost(t, l); files != 1 || commands != 1 {
		t.Errorf("%d files of lost commands with %d commands, want 1 and 1", files, commands)
	}
}

// TestRollback: an old leader that went on alone gives up what it wrote, keeps
// it in a file, and becomes what the new leader is by taking the difference.
func TestRollback(t *testing.T) {
	l, f, g := cluster(t)
	f.unfollow()
	l.fill("alone", 0, 25)
	g.converge(l) // it has followed the old one for longer
	g.unfollow()
	l.unserve()
	f.promote()
	f.write("SET fleet new POINT 1 1")
	for _, p := range []*pod{l, g} {
		p.net.Inject(reptest.Fault{CutAfter: 300}, reptest.Fault{CutAfter: 1000})
		p.follow(f)
		p.converge(f)
		if st := p.fol.Status(); st.FullResyncs != 0 || st.RangeResyncs == 0 {
			t.Errorf("%d full resyncs, %d by ranges", st.FullResyncs, st.RangeResyncs)
		}
		if files, commands := lost(t, p); files != 1 || commands != 25 {
			t.Errorf("%d files of lost commands with %d commands, want 1 and 25", files, commands)
		}
		p.unfollow()
		p = p.reopened()
		p.same(f)
		p.follow(f)
		p.converge(f)
		p.resyncs(1, 0, 0)
	}
}

// TestPromotedHalfway: who is promoted in the middle of a resync goes on with
// what it has, and its log says the same.
func TestPromotedHalfway(t *testing.T) {
	l, f := apart(t, func(l *pod) { l.fill("fleet", 0, 5000) }, func(l *pod) { l.write("PDEL fleet *1"); l.fill("boats", 0, 5000) })
	before := f.Objects()
	f.net.Inject(reptest.Fault{CutAfter: 200_000})
	for range 1000 { // and it never comes back
		f.net.Inject(reptest.Fault{CutAfter: 1})
	}
	f.follow(l)
	f.until("cut", func() bool { return f.net.Dialed.Load() > 2 })
	if now := f.Objects(); now == before || now == l.Objects() {
		t.Fatalf("%d objects, is not halfway between %d and %d", now, before, l.Objects())
	}
	f.promote()
	f.write("SET own a POINT 1 1")
	want, _ := f.Digest()
	g := open(t, t.TempDir())
	g.follow(f)
	g.converge(f)
	g.close()
	f = f.reopened()
	if got, _ := f.Digest(); got != want {
		t.Errorf("after a restart the digest is %s, was %s", got, want)
	}
}

// TestHalfwayToAnother: who is in the middle of a resync, when its leader goes and another
// one comes that has less of their common history, keeps what that one does not have,
// whatever is left of its own objects.
func TestHalfwayToAnother(t *testing.T) {
	for name, own := range map[string][]string{
		"most objects are left": {"SET fleet new POINT 1 1"}, "no object is left": {"FLUSHDB", "SET zoo new POINT 1 1"},
	} {
		t.Run(name, func(t *testing.T) {
			l, f, g := cluster(t)
			g.unfollow() // it misses what comes now
			l.fill("more", 0, 30)
			f.converge(l)
			f.unfollow()
			l.fill("alone", 0, 25)
			l.unserve()
			f.promote()
			f.write(own...)

			begun, gone := make(chan struct{}), make(chan struct{})
			l.replacing = func() error {
				close(begun)
				<-gone
				return errors.New("the leader is gone")
			}
			l.follow(f)
			<-begun
			f.unserve()
			close(gone)
			l.unfollow()
			if pos, _ := l.Position(); pos.Epoch != "" {
				t.Fatalf("at %v, is not halfway", pos)
			}
			g.promote()
			l.replacing = nil
			l.follow(g)
			l.converge(g)
			if st := l.fol.Status(); st.RangeResyncs+st.FullResyncs != 1 {
				t.Errorf("%d resyncs by ranges, %d full", st.RangeResyncs, st.FullResyncs)
			}
			if files, commands := lost(t, l); files != 2 || commands != 25+55 {
				t.Errorf("%d files of lost commands with %d commands, want 2: 25, and 55 with these among them", files, commands)
			}
		})
	}
}

// TestLeaderFollows: a leader that follows another one without a restart does not
// give its followers the new history as if it were the old one.
func TestLeaderFollows(t *testing.T) {
	l, f, g := cluster(t)
	f.unfollow()
	f.promote()
	f.write("SET fleet new POINT 1 1")
	l.follow(f)
	l.converge(f)
	g.until("in the new epoch", func() bool { return g.log.Position() == f.log.Position() })
	g.unfollow()
	g.follow(f)
	g.converge(f)
	g.resyncs(1, 0, 0)
}

// TestPromotedBehind: who has joined an epoch, and is promoted before it got to
// where that began, becomes a leader; others that were further give that up.
func TestPromotedBehind(t *testing.T) {
	l, f, g := cluster(t)
	g.unfollow() // it misses what comes now
	l.fill("fleet", 1000, 1100)
	f.converge(l)
	l.unserve()
	f.promote()
	for range 1000 {
		g.net.Inject(reptest.Fault{CutAfter: 400}) // the answer, and no more
	}
	g.follow(f)
	g.until("in the new epoch", func() bool { return g.log.Position().Epoch == f.log.Position().Epoch })
	f.unserve()
	g.promote()
	g.write("SET fleet new POINT 1 1")
	for _, p := range []*pod{f, l} {
		p.follow(g)
		p.converge(g)
		p.resyncs(0, 1, 0)
		if files, commands := lost(t, p); files != 1 || commands != 100 {
			t.Errorf("%d files of lost commands with %d commands, want 1 and 100", files, commands)
		}
	}
}

// TestTwoLeaders: of two that were promoted, or a leader that began an epoch after
// a crash, one has to follow the other: it keeps what it gives up, though the other one does
// not know its epoch.
func TestTwoLeaders(t *testing.T) {
	for name, objects := range map[string]int64{"as many objects": 0, "few objects": 20000} {
		t.Run(name, func(t *testing.T) {
			l, f, g := cluster(t)
			f.unfollow()
			l.fill("more", 0, 5)
			g.converge(l)
			l.unserve()
			f.promote()
			g.promote()
			for i := range 30 {
				g.write(fmt.Sprintf("SET fleet own%d POINT 1 1", i))
			}
			f.fill("other", 0, int(objects))
			g.unserve()
			g.follow(f)
			g.converge(f)
			full := min(objects, 1)
			g.resyncs(0, 1-full, full)
			if files, commands := lost(t, g); files != 1 || commands != 35 {
				t.Errorf("%d files of lost commands with %d commands, want 1 and 35", files, commands)
			}
		})
	}
}

// TestLostEnd: a leader that lost the end of its log in a crash gets its
// followers, who have it, back to what it has.
func TestLostEnd(t *testing.T) {
	l, f, _ := cluster(t)
	dir := copyOf(t, l.reopened())
	l = open(t, l.dir)
	l.serve()
	f.unfollow()
	f.follow(l)
	l.fill("lost", 0, 30)
	f.converge(l)
	f.unfollow()
	l.close()
	l = open(t, dir)
	l.serve()
	f.follow(l)
	f.until("level", func() bool { return f.Objects() == l.Objects() })
	f.converge(l)
	f.resyncs(0, 1, 0)
	if files, commands := lost(t, f); files != 1 || commands != 30 {
		t.Errorf("%d files with %d commands, want 1 and 30", files, commands)
	}
	l.write(fmt.Sprintf("SET fleet x POINT %d 1", 1))
	f.converge(l)
}

// TestResyncedPromoted: who was resynced knows the older histories of its leader,
// too. So when it is promoted, one of them who comes back is told where it left,
// and keeps what it gives up.
func TestResyncedPromoted(t *testing.T) {
	l, f, g := cluster(t)
	f.unfollow()
	l.fill("alone", 0, 25) // what l will have to give up
	g.unfollow()
	l.unserve()
	f.promote() // a history that begins where l went on alone
	f.fill("fleet", 500, 1500)
	f.compact() // the log does not reach back to where g is
	g.follow(f)
	g.converge(f)
	g.resyncs(0, 1, 0)
	f.unserve()
	g.promote()
	l.follow(g)
	l.converge(g)
	l.resyncs(0, 1, 0)
	if files, commands := lost(t, l); files != 1 || commands != 25 {
		t.Errorf("%d files with %d commands, want 1 and 25", files, commands)
	}
}
