package shrink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"evenkeel/internal/testkit"
)

// quick lets comparisons of objects be repeated at once.
func quick(o *Options) {
	o.Objects = ObjectOptions{Retry: time.Millisecond, Pauses: []time.Duration{20 * time.Millisecond, 100 * time.Millisecond}}
}

// spoil makes a follower another than its leader, of whom it has as many objects: the
// played one lacks an object and has another one instead, the real one has an older
// value, as JDEL is in no log. It returns how many objects differ.
func (w *world) spoil(lead, fol user) int64 {
	w.Helper()
	if s, ok := fol.m.(*testkit.Server); ok {
		s.Bend("DEL fleet truck000005", "SET fleet truck000005x POINT 5 5")
		return 2
	}
	lead.do("SET", "docs", "d", "STRING", `{"a":1,"b":2}`)
	lead.do("JDEL", "docs", "d", "a")
	fol.level(lead)
	return 1
}

// TestProved: as many objects as the leader, and not the same: what counts cannot see
// is seen, healed, and proved to be.
func TestProved(t *testing.T) {
	each(t, func(w *world) {
		lead, fol := w.pair()
		told := make(chan Comparison, 100)
		c := w.coordinator(w.target(lead.m, nil), func(o *Options) {
			quick(o)
			o.Objects.OnCompared = func(_ string, c Comparison) { told <- c }
		})
		n := w.spoil(lead, fol)
		if j := w.condition(c, fol); j.Condition != Fine {
			w.Fatalf("by its counts: %+v", j)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		proving := make(chan error, 1)
		go func() { proving <- c.Prove(ctx, 10*time.Millisecond) }()
		if first := <-told; first.Differences != n || first.Error != "" || first.Objects < int64(w.n) || len(first.Examples) != int(n) {
			w.Fatalf("compared: %+v", first)
		}
		p := c.Look(ctx, fol.m.Address())
		if p.Judgement.Condition != Diverged || !strings.Contains(p.Judgement.Reasons[0], "are not the leader's, such as ") || p.Compared == nil {
			w.Fatalf("after the comparison: %+v", p)
		}
		if ok, _ := Ready(p.Judgement); ok {
			w.Error("it is ready")
		}
		if st := c.Proofs(); st.Differing != 1 || st.Objects != n {
			w.Errorf("%+v", st)
		}
		r, err := c.Heal(ctx)
		if err != nil {
			w.Fatal(err)
		}
		f := r.Followers[0]
		if r.Shrinks == 0 || !f.Fine || f.Compared == nil || f.Compared.Differences != 0 || f.Compared.Error != "" || f.Compared.At.Before(r.Start) {
			w.Errorf("report: %+v %+v", r, f.Compared)
		}
		w.same(lead, fol)
		if st := c.Proofs(); st.Differing != 0 || st.Compared < 2 {
			w.Errorf("%+v", st)
		}
		if p := c.Look(ctx, fol.m.Address()); p.Judgement.Condition != Fine || p.Compared.Differences != 0 {
			w.Errorf("at last: %+v", p)
		}
		cancel()
		if err := <-proving; !errors.Is(err, context.Canceled) {
			w.Error(err)
		}
	})
}

// TestProvedBounded: what stays is healed as often as is allowed, and said.
func TestProvedBounded(t *testing.T) {
	w := &world{T: t, n: 400, block: testBlock, start: func() testkit.Machine { return testkit.NewServer(t, testkit.ServerOptions{Block: testBlock}) }}
	lead, fol := w.pair()
	n := 0
	c := w.coordinator(w.target(lead.m, nil), func(o *Options) {
		quick(o)
		o.OnStep = func(s Step) {
			t.Log(s)
			if s.Kind == Shrink {
				n++ // and the first block is another: no rewrite makes memory anew
				lead.do("SET", "a", "first", "STRING", fmt.Sprint(n))
			}
		}
		o.Objects.OnCompared = func(_ string, c Comparison) { t.Logf("%+v", c) }
	})
	w.spoil(lead, fol)
	c.proofs.dropped(fol.m.Address())
	if j := w.condition(c, fol); j.Condition != Comparing {
		t.Fatalf("a follower that was healed, before it is compared: %+v", j)
	} else if ok, why := Ready(j); ok || !strings.Contains(why[0], "yet to be compared") {
		t.Errorf("it is ready: %q", why)
	}
	r, err := c.Heal(context.Background())
	if !errors.Is(err, ErrSick) || r.Shrinks != 2 || r.Followers[0].Fine {
		t.Errorf("%v: %+v", err, r)
	}
	// Somebody mends it: the next Heal finds nothing to do.
	played, ok := fol.m.(*testkit.Server)
	if !ok {
		t.Fatalf("%T", fol.m)
	}
	played.Bend("DEL fleet truck000005x")
	fol.m.Restart()
	fol.level(lead)
	w.until("fine by its counts", func() bool { j := w.condition(c, fol); return j.Condition == Comparing })
	if r, err := c.Heal(context.Background()); err != nil || r.Shrinks != 0 || r.Followers[0].Compared == nil || r.Followers[0].Compared.Differences != 0 {
		t.Errorf("%v: %+v", err, r)
	}
}

// TestProofs: what makes a comparison due, and what makes one void.
func TestProofs(t *testing.T) {
	var o ObjectOptions
	o.EnsureDefaults()
	ps := newProofs(o)
	look := func(c Condition, healing bool) Patient {
		p := Patient{Addr: "a:1", Judgement: Judgement{Condition: c}}
		ps.saw(&p, healing)
		return p
	}
	compare := func(c Comparison) bool {
		_, end, gen := ps.begin(context.Background(), "a:1")
		defer end()
		return ps.made("a:1", gen, c)
	}
	due := func(what string, want bool) {
		t.Helper()
		if got := len(ps.due(needSoon)) == 1; got != want {
			t.Errorf("%s: due %v", what, got)
		}
	}
	if p := look(Fine, false); p.Judgement.Condition != Fine {
		t.Errorf("new: %+v", p)
	}
	due("new", true)
	if !compare(Comparison{Objects: 5}) {
		t.Error("not noted")
	}
	due("compared", false)
	look(CatchingUp, false)
	look(Fine, false)
	due("was behind", false)
	look(Unreachable, false)
	due("away", false)
	if p := look(Fine, false); p.Judgement.Condition != Fine || p.Compared == nil || p.Compared.Objects != 5 {
		t.Errorf("back: %+v", p)
	}
	due("back", true)
	compare(Comparison{})

	look(Doubled, false)
	if p := look(Fine, true); p.Judgement.Condition != Fine || !ps.needs("a:1") {
		t.Errorf("while it is healed: %+v", p)
	}
	if p := look(Fine, false); p.Judgement.Condition != Comparing {
		t.Errorf("was doubled: %+v", p)
	}
	compare(Comparison{Error: "away"})
	due("failed just now", false)
	if p := look(Fine, false); p.Judgement.Condition != Comparing || !strings.Contains(p.Judgement.Reasons[0], "away") {
		t.Errorf("the comparison failed: %+v", p)
	}
	compare(Comparison{Differences: 3})
	if p := look(Fine, false); p.Judgement.Condition != Diverged || ps.needs("a:1") {
		t.Errorf("differs: %+v", p)
	}
	ps.again()
	if !ps.needs("a:1") {
		t.Error("not compared again before it is healed")
	}

	ctx, end, gen := ps.begin(context.Background(), "a:1")
	defer end()
	ps.dropped("a:1")
	if ctx.Err() == nil || ps.made("a:1", gen, Comparison{}) {
		t.Error("a comparison outlives what happens meanwhile")
	}
	ps.absent([]string{"b:1"})
	if !ps.needs("a:1") {
		t.Error("absence proves it")
	}
	p := Patient{Addr: "c:1", Bridged: true, Judgement: Judgement{Condition: Fine}}
	if ps.saw(&p, false); ps.of["c:1"] != nil {
		t.Error("the sidecar of a bridge does that itself")
	}
}
