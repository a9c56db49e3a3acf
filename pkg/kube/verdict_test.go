package kube

import (
	"strings"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	const patience = 10 * time.Second
	live := func(name string, p *Position) peer { return peer{name: name, live: true, position: p} }
	silent := func(name string, p *Position) peer { return peer{name: name, position: p} }
	long := vacancy{epoch: epochOf("a"), since: time.Hour, started: time.Hour}
	fresh := vacancy{epoch: epochOf("a"), since: time.Second, started: time.Hour}
	first := vacancy{since: time.Second, started: time.Second}
	promised, handed, handedToMe := long, fresh, fresh
	promised.promise, handed.successor, handedToMe.successor = time.Second, "other", "me"
	unfit := at("a", 9)
	unfit.Unfit = "it is being resynced"
	leader := live("p", at("a", 3))
	leader.leads = true
	deleted := silent("p", at("a", 9))
	deleted.ending = true
	firstLate := first
	firstLate.started = 4 * time.Second
	patient := first
	patient.since, patient.started = patience, patience
	for _, c := range []struct {
		name  string
		own   *Position
		peers []peer
		v     vacancy
		want  string // part of the reason; "" takes it
	}{
		{"alone", at("a", 5), nil, fresh, ""},
		{"unfit", unfit, nil, long, "it is being resynced"},
		{"has promised", at("a", 5), nil, promised, "confirmed another leader"},
		{"somebody still leads", at("a", 5), []peer{leader}, long, "still leads"},
		{"level with others", at("a", 5), []peer{live("p", at("a", 5)), live("q", at("a", 4))}, fresh, ""},
		{"behind", at("a", 5), []peer{live("p", at("a", 6))}, fresh, "pod p is further"},
		{"behind, for ever", at("a", 5), []peer{live("p", at("a", 6))}, long, "pod p is further"},
		{"ahead of one that is resynced", at("a", 5), []peer{live("p", unfit)}, fresh, ""},
		{"behind one that does not answer", at("a", 5), []peer{silent("p", at("a", 6))}, fresh, "does not answer"},
		{"… after a while", at("a", 5), []peer{silent("p", at("a", 6))}, long, ""},
		{"… that was deleted", at("a", 5), []peer{deleted}, fresh, ""},
		{"ahead of one that does not answer", at("a", 7), []peer{silent("p", at("a", 6))}, fresh, ""},
		{"a new pod that has said nothing", at("a", 7), []peer{silent("p", nil)}, fresh, ""},
		{"the first election, nobody there yet", at("f", 0), nil, first, "never was a leader"},
		{"… after a while", at("f", 0), nil, firstLate, ""},
		{"… a pod that has said nothing", at("f", 0), []peer{silent("p", nil)}, firstLate, "nothing is known of pod p"},
		{"… for long", at("f", 0), []peer{silent("p", nil)}, patient, ""},
		{"a new volume among pods with data", at("f", 0), []peer{live("p", at("a", 5))}, long, "pod p is further"},
		{"a new volume, alone", at("f", 0), nil, fresh, "nothing of the last leader's history"},
		{"… for long", at("f", 0), nil, long, ""},
		{"handed over to another", at("a", 5), nil, handed, "handed over to pod other"},
		{"handed over to this one", at("a", 5), nil, handedToMe, ""},
	} {
		err := verdict("me", c.own, c.peers, c.v, timing{patience: patience, successor: 5 * time.Second, gather: 3 * time.Second})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: not taken: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestFence(t *testing.T) {
	f := NewFence()
	if f.Check() == nil {
		t.Error("a new fence is open")
	}
	f.extend(time.Now(), time.Hour)
	if f.Check() == nil {
		t.Error("a renewal has opened a fence before the epoch was known")
	}
	f.admit()
	f.extend(time.Now().Add(-time.Second), 900*time.Millisecond)
	if f.Check() == nil {
		t.Error("a renewal whose request began a second ago counts from its answer")
	}
	f.extend(time.Now(), time.Hour)
	f.extend(time.Now(), time.Second)
	if f.Check() != nil || f.Remaining() < time.Minute {
		t.Errorf("a renewal has moved the deadline back to %s", f.Remaining())
	}
	f.close()
	f.extend(time.Now(), time.Hour)
	if f.Check() == nil || f.Remaining() != 0 {
		t.Error("a renewal has opened a fence that was closed")
	}
	f.Always()
	if f.Check() != nil {
		t.Error("closed, with a role that is not elected")
	}
}
