package verify

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/tile38"
)

// eventually waits for something that a server does by itself.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come about", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// follow lets one server follow another, and waits until it has what it logged.
func follow(t testing.TB, follower *tile38.Conn, leader *tile38.Conn, addr string) {
	t.Helper()
	host, port, _ := strings.Cut(addr, ":")
	do(t, follower, []string{"FOLLOW", host, port})
	mark := fmt.Sprintf("mark%d", time.Now().UnixNano())
	do(t, leader, []string{"SET", "marks", mark, "STRING", "x"})
	eventually(t, "the follower", func() bool {
		v, err := follower.Do("GET", "marks", mark)
		return err == nil && v.String() == "x"
	})
}

// TestRepairFollower mends a Tile38 that follows, through its leader, while the
// leader is written to.
func TestRepairFollower(t *testing.T) {
	leaderAddr, followerAddr := realServer(t), realServer(t)
	leader, follower := dial(t, leaderAddr), dial(t, followerAddr)
	// With less than 512 KiB of its own log, a follower keeps what it has.
	do(t, leader, commonData()...)
	do(t, follower,
		words("SET a ghost POINT 1 2"), words("SET ghosts g STRING x"), []string{"SET", "a", "\xff\xfe", "STRING", "x"},
		words("SET a p FIELD odd 1 FIELD s other POINT 5 5"), words("SET a z EX 5000 POINT 5 5"),
		words("SETCHAN gc NEARBY a FENCE POINT 1 2 3"), words("SETHOOK gh http://127.0.0.1:1/ NEARBY a FENCE POINT 1 2 3"))
	do(t, leader, words("SET a stuck FIELD v nan FIELD w abc POINT 1 2"), words("SET a gone FIELD v 1 POINT 1 2"))
	follow(t, follower, leader, leaderAddr)
	do(t, follower, words("FOLLOW no one"))
	do(t, follower, words("FSET a stuck v true w true"), words("FSET a stuck v 7 w ABC"), words("DEL a gone"), words("DELHOOK h"),
		words("FSET a p more 1"), []string{"SET", "b c", "circle", "STRING", "x"})
	follow(t, follower, leader, leaderAddr)
	want, have := live(t, leaderAddr), live(t, followerAddr)
	o := Options{Pauses: []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond}}
	before, _ := differences(t, want, have, o)
	if len(before) < 5 {
		t.Fatalf("the follower is nearly right:\n%s", describe(before))
	}
	before, _ = differences(t, want, have, o)
	ctx := context.Background()
	r, err := NewRepairer(ctx, want, have)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Through() {
		t.Fatal("a follower would be written to")
	}
	for _, d := range before {
		if err := r.Add(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	// What changes before it is mended is left alone.
	do(t, leader, words("SET a ghost POINT 7 7"))
	if err := r.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	mended, passed := r.Mended()
	if passed != 1 || mended < int64(len(before))-1 {
		t.Errorf("%d mended, %d passed over of %d", mended, passed, len(before))
	}
	eventually(t, "a mended follower", func() bool {
		all, _ := differences(t, want, have, o)
		return len(all) == 0
	})
	if v, err := leader.Do("GET", "a", "ghost"); err != nil || v.String() != `{"type":"Point","coordinates":[7,7]}` {
		t.Errorf("what was set meanwhile is %s, %v", v.String(), err)
	}
	if srv, err := have.Server(ctx); err != nil || srv.Following != leaderAddr {
		t.Errorf("%+v, %v", srv, err)
	}
}

// TestRepairItself mends a server that follows nobody.
func TestRepairItself(t *testing.T) {
	servers(t, func(t *testing.T, a, b server) {
		a.do(commonData()...)
		b.do(words("SET a ghost POINT 1 2"), words("SET a p STRING x"), words("SETCHAN gc NEARBY a FENCE POINT 1 2 3"))
		ctx := context.Background()
		r, err := NewRepairer(ctx, a.LiveSource, b.LiveSource)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Compare(ctx, a, b, quick(), func(d Difference) error { return r.Add(ctx, d) }); err != nil {
			t.Fatal(err)
		}
		if err := r.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if all, _ := differences(t, a, b, quick()); len(all) != 0 || r.Through() {
			t.Fatalf("left:\n%s", describe(all))
		}
	})
}

// TestRepairBetweenFollowers is refused.
func TestRepairBetweenFollowers(t *testing.T) {
	a, b := newFake(t), newFake(t)
	a.following, b.following = "x:1", "x:1"
	_, err := NewRepairer(context.Background(), live(t, a.addr), live(t, b.addr))
	if err == nil || !strings.Contains(err.Error(), "neither takes writes") {
		t.Fatal(err)
	}
}
