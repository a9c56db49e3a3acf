package shrink

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// lead and fol make what a server says, with so many objects in the collection c.
func seenLead(size, objects int64) Seen {
	return Seen{ID: "L", AOFSize: size, Collections: map[string]Count{"c": {Objects: objects, Points: objects}}}
}

func seenFol(size, objects int64) Seen {
	s := seenLead(size, objects)
	s.ID, s.Following, s.CaughtUp = "F", "lead:1", true
	return s
}

func TestJudge(t *testing.T) {
	steady := func(f Seen) Look { return Look{seenLead(1000, 10), f, seenLead(1000, 10), -1} }
	with := func(f Seen, change func(*Seen)) Seen {
		change(&f)
		return f
	}
	good := seenFol(1000, 10)
	beat := func(l Look, lead, fol string) Look {
		l.Before.Beat, l.After.Beat, l.Follower.Beat = lead, lead, fol
		return l
	}
	cases := []struct {
		name   string
		looks  []Look
		rules  Rules
		want   Condition
		reason string
	}{
		{"equal", []Look{steady(good)}, Rules{}, Fine, ""},
		{"silent", []Look{steady(Seen{Err: "refused"})}, Rules{}, Unreachable, "refused"},
		{"never level", []Look{steady(Seen{Refused: true})}, Rules{}, CatchingUp, "not caught up"},
		{"no leader", []Look{steady(with(good, func(s *Seen) { s.Following = "" }))}, Rules{}, Detached, "follows nobody"},
		{"the leader", []Look{steady(with(good, func(s *Seen) { s.ID = "L" }))}, Rules{}, Detached, "leader itself"},
		{"leader silent", []Look{{Seen{Err: "gone"}, good, Seen{Err: "gone"}, -1}}, Rules{}, Unknown, "gone"},
		{"says so", []Look{steady(with(good, func(s *Seen) { s.CaughtUp = false }))}, Rules{}, CatchingUp, "caught_up"},
		{"behind", []Look{steady(seenFol(900, 10))}, Rules{Slack: 50}, CatchingUp, "100 bytes behind"},
		{"behind within slack", []Look{steady(seenFol(960, 10))}, Rules{Slack: 50}, Fine, ""},
		{"doubled", []Look{steady(seenFol(2000, 10)), steady(seenFol(2000, 10))}, Rules{}, Doubled, "2000, the leader's 1000"},
		{"doubled once", []Look{steady(seenFol(1010, 10)), steady(good)}, Rules{}, Fine, ""},
		{"doubled for the leader, not the file", []Look{{seenLead(1000, 10), seenFol(2000, 10), seenLead(1000, 10), 2000}}, Rules{}, Doubled, "leader's 1000"},
		{"counts two files", []Look{{seenLead(2000, 10), seenFol(2000, 10), seenLead(2000, 10), 1500}}, Rules{Slack: 600}, Fine, ""},
		{"counts two files, by much", []Look{{seenLead(2000, 10), seenFol(2200, 10), seenLead(2000, 10), 1500}}, Rules{Slack: 600}, Doubled, "its file has 1500"},
		{"file short", []Look{{seenLead(1000, 10), seenFol(2000, 10), seenLead(1000, 10), 300}}, Rules{}, CatchingUp, "300 of 1000"},
		{"reads anew", []Look{steady(seenFol(2000, 10)), steady(seenFol(2500, 10))}, Rules{}, CatchingUp, "reads the log anew: 500"},
		{"bridged and doubled", []Look{steady(seenFol(2000, 10))}, Rules{Bridged: true}, Fine, ""},
		{"bridged and diverged", []Look{steady(seenFol(2000, 11))}, Rules{Bridged: true}, Diverged, `"c", objects: 11, the leader has 10`},
		{"ghosts", []Look{steady(seenFol(1000, 12)), steady(seenFol(1000, 12))}, Rules{}, Diverged, `"c", objects: 12`},
		{"ghosts once", []Look{steady(seenFol(1000, 12)), steady(good)}, Rules{}, Fine, ""},
		{"what the leader had", []Look{
			{seenLead(1000, 10), seenFol(1000, 10), seenLead(1000, 14), -1}, {seenLead(1000, 14), seenFol(1000, 12), seenLead(1000, 14), -1}}, Rules{}, Fine, ""},
		{"a collection more", []Look{steady(with(good, func(s *Seen) {
			s.Collections = map[string]Count{"c": {Objects: 10, Points: 10}, "d": {Objects: 1, Strings: 1}}
		}))}, Rules{}, Diverged, `"d", objects: 1, the leader has 0`},
		{"short, and level by the heartbeat", []Look{beat(steady(seenFol(500, 10)), "1", "1"), beat(steady(seenFol(500, 10)), "2", "1")}, Rules{}, Fine, ""},
		{"level, without the last heartbeat", []Look{beat(steady(good), "1", "0"), beat(steady(good), "2", "")}, Rules{}, CatchingUp, "last heartbeat"},
		{"not caught up, and level by the heartbeat", []Look{beat(steady(with(good, func(s *Seen) { s.CaughtUp = false })), "1", "1")}, Rules{}, Fine, ""},
		{"doubled, with the heartbeat", []Look{beat(steady(seenFol(2000, 10)), "1", "1")}, Rules{}, Doubled, "2000, the leader's"},
		{"bridged, without the heartbeat", []Look{beat(steady(good), "1", "0")}, Rules{Bridged: true}, CatchingUp, "last heartbeat"},
		{"hooks", []Look{steady(with(good, func(s *Seen) { s.Hooks = 1 }))}, Rules{}, Diverged, "hooks and channels: 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			j := Judge(c.looks, c.rules)
			if j.Condition != c.want || !strings.Contains(strings.Join(j.Reasons, "; "), c.reason) || (c.want == Fine) != (len(j.Reasons) == 0) {
				t.Errorf("%+v, want %s for %q", j, c.want, c.reason)
			}
			if ok, why := Ready(j); ok != (c.want == Fine || c.want == Unknown) || ok == (len(why) > 0) {
				t.Errorf("ready: %v %q", ok, why)
			}
		})
	}
}

// TestManyDifferences are named up to a number.
func TestManyDifferences(t *testing.T) {
	f := seenFol(1000, 10)
	for i := range 20 {
		f.Collections[string(rune('d'+i))] = Count{Objects: 1}
	}
	j := Judge([]Look{{seenLead(1000, 10), f, seenLead(1000, 10), -1}}, Rules{})
	if len(j.Reasons) != maxReasons+1 || j.Reasons[maxReasons] != "and 12 more" {
		t.Errorf("%q", j.Reasons)
	}
}

func TestPlan(t *testing.T) {
	now := time.Now()
	recent, long := now.Add(-time.Second), now.Add(-time.Hour)
	p := func(addr string, c Condition, since time.Time) Patient {
		return Patient{Addr: addr, Judgement: Judgement{Condition: c}, Since: since}
	}
	bridged := func(p Patient) Patient {
		p.Bridged = true
		return p
	}
	was := func(p Patient) Patient {
		p.Resets = 1
		return p
	}
	base := View{Now: now, Stall: time.Minute, MaxShrinks: 2, MaxUnavailable: 1, LogBytes: 1 << 20, Block: 512 << 10}
	view := func(change func(*View), ps ...Patient) View {
		v := base
		v.Followers = ps
		if change != nil {
			change(&v)
		}
		return v
	}
	reset := func(v *View) { v.Reset = true }
	cases := []struct {
		name string
		view View
		kind Kind
		whom []string
	}{
		{"nobody", view(nil), Done, nil},
		{"fine", view(nil, p("a", Fine, long)), Done, nil},
		{"catching up", view(nil, p("a", CatchingUp, recent), p("b", Doubled, long)), Wait, []string{"a"}},
		{"stuck", view(nil, p("a", CatchingUp, long)), GiveUp, []string{"a"}},
		{"not there", view(nil, p("a", Unreachable, recent)), Wait, []string{"a"}},
		{"leader silent", view(nil, p("a", Unknown, recent)), Wait, []string{"a"}},
		{"one stuck, one sick", view(nil, p("a", Unreachable, long), p("b", Doubled, long)), Shrink, []string{"b"}},
		{"doubled", view(nil, p("a", Doubled, recent)), Shrink, []string{"a"}},
		{"diverged", view(nil, p("a", Diverged, recent), p("b", Fine, recent)), Shrink, []string{"a"}},
		{"bridged", view(nil, bridged(p("a", Diverged, recent))), Wait, []string{"a"}},
		{"bridged, for long", view(nil, bridged(p("a", Diverged, long))), GiveUp, []string{"a"}},
		{"tried", view(func(v *View) { v.Shrinks = 2 }, p("a", Doubled, long)), GiveUp, []string{"a"}},
		{"tried once", view(func(v *View) { v.Shrinks = 1 }, p("a", Doubled, long)), Shrink, []string{"a"}},
		{"never", view(func(v *View) { v.MaxShrinks = 0 }, p("a", Doubled, long)), GiveUp, []string{"a"}},
		{"short log", view(func(v *View) { v.LogBytes = 1000 }, p("a", Doubled, long)), GiveUp, []string{"a"}},
		{"short log, reset", view(func(v *View) { v.LogBytes, v.Reset = 1000, true }, p("a", Doubled, long), p("b", Doubled, long)), Reset, []string{"a"}},
		{"one of one", view(reset, p("a", Doubled, long)), Shrink, []string{"a"}},
		{"one of two", view(reset, p("a", Doubled, long), p("b", Fine, long)), Reset, []string{"a"}},
		{"bridged do not count", view(reset, p("a", Doubled, long), bridged(p("b", Fine, long))), Shrink, []string{"a"}},
		{"two of three", view(func(v *View) { v.Reset, v.MaxUnavailable = true, 2 }, p("a", Doubled, long), p("b", Diverged, long), p("c", Doubled, long)), Reset, []string{"a", "b"}},
		{"one is unfit already", view(func(v *View) { v.Reset, v.MaxUnavailable = true, 2 }, p("a", Doubled, long), p("b", Diverged, long), p("c", Unreachable, long)), Reset, []string{"a"}},
		{"reset has not helped", view(reset, was(p("a", Doubled, long)), p("b", Fine, long)), Shrink, []string{"a"}},
		{"another leader", view(func(v *View) { v.Reset, v.Stranger = true, "empty" }, p("a", Diverged, long)), GiveUp, []string{"a"}},
		{"nothing has helped", view(func(v *View) { v.Reset, v.Shrinks = true, 2 }, was(p("a", Doubled, long))), GiveUp, []string{"a"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := Plan(c.view)
			if s.Kind != c.kind || !slices.Equal(s.Followers, c.whom) || s.Why == "" {
				t.Errorf("%v, want %s %q", s, c.kind, c.whom)
			}
		})
	}
}

func TestReplicas(t *testing.T) {
	info := "# Replication\r\nrole:master\r\nslave0:ip=10.9.8.7,port=4444,state=online\r\nslave1:ip=127.0.0.1,port=59355,state=online\r\n" +
		"slave2:ip=10.9.8.7,port=4444,state=online\r\nslave_priority:5\r\nslave3:ip=::1,port=9,state=online\r\nconnected_slaves:4\r\n\r\n"
	if got, want := parseReplicas(info), []string{"10.9.8.7:4444", "127.0.0.1:59355", "[::1]:9"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := parseReplicas("slave0:\r\nslave1:ip=,port=\r\nrubbish"); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestLoopbackBridge(t *testing.T) {
	for _, c := range []struct {
		addr, following string
		want            bool
	}{
		{"10.0.0.7:9851", "127.0.0.1:9863", true}, {"10.0.0.7:9851", "localhost:9863", true}, {"10.0.0.7:9851", "[::1]:9863", true},
		{"10.0.0.7:9851", "leader:9851", false}, {"127.0.0.1:9851", "127.0.0.1:9852", false}, {"10.0.0.7:9851", "", false},
	} {
		if got := LoopbackBridge(c.addr, c.following); got != c.want {
			t.Errorf("%s following %s: %v", c.addr, c.following, got)
		}
	}
}

func TestOptions(t *testing.T) {
	o := Options{MaxShrinks: -2, MaxUnavailable: -1, Followers: []string{"nowhere"}}
	o.EnsureDefaults()
	o.Look.Times = -1
	err := o.Validate()
	for _, part := range []string{"no target", "max shrinks", "max unavailable", "nowhere", "looks"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	_, err = NewTarget(TargetOptions{Poll: -1})
	if err == nil || !strings.Contains(err.Error(), "engine") || !strings.Contains(err.Error(), "poll") {
		t.Errorf("target: %v", err)
	}
	_, err = NewTurns(TurnOptions{TTL: 1, Slots: -1})
	if err == nil || !strings.Contains(err.Error(), "pod") || !strings.Contains(err.Error(), "slots") || !strings.Contains(err.Error(), "ttl") {
		t.Errorf("turns: %v", err)
	}
}
