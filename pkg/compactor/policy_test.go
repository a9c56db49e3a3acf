package compactor

import (
	"strings"
	"testing"
	"time"
)

const mb = 1 << 20

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) {
	grown := Facts{LogBytes: 200 * mb, BaseBytes: 50 * mb, LiveBytes: 50 * mb, FreeBytes: 1 << 40}
	with := func(f Facts, change func(*Facts)) Facts { change(&f); return f }
	ended := func(ago time.Duration, failures int) History {
		return History{Now: noon, LastEnd: noon.Add(-ago), Failures: failures}
	}
	first := History{Now: noon}
	p := DefaultPolicy()
	tests := []struct {
		name      string
		policy    Policy
		facts     Facts
		history   History
		cause     Cause
		notBefore time.Duration // from noon; 0: none
	}{
		{"both crossed", p, grown, first, CauseDue, 0},
		{"off", Policy{Growth: 100}, grown, first, CauseOff, 0},
		{"running", p, grown, History{Now: noon, Running: true}, CauseRunning, 0},
		{"empty log", p, Facts{FreeBytes: 1 << 40}, first, CauseSize, 0},
		{"one byte under the floor", p, Facts{LogBytes: 64*mb - 1}, first, CauseSize, 0},
		{"floor reached, no base", p, Facts{LogBytes: 64 * mb}, first, CauseDue, 0},
		{"size without growth", p, with(grown, func(f *Facts) { f.LogBytes = 100*mb - 1 }), first, CauseGrowth, 0},
		{"growth reached exactly", p, with(grown, func(f *Facts) { f.LogBytes = 100 * mb }), first, CauseDue, 0},
		{"growth without size", p, Facts{LogBytes: 30 * mb, BaseBytes: mb}, first, CauseSize, 0},
		{"growth 0", Policy{MinSize: 1}, Facts{LogBytes: 10, BaseBytes: 10}, first, CauseDue, 0},
		{"cooling down", p, grown, ended(59*time.Second, 0), CauseCooldown, time.Second},
		{"cooled down", p, grown, ended(time.Minute, 0), CauseDue, 0},
		{"one failure", p, grown, ended(30*time.Second, 1), CauseBackoff, 30 * time.Second},
		{"one failure, rested", p, grown, ended(time.Minute, 1), CauseDue, 0},
		{"three failures", p, grown, ended(time.Minute, 3), CauseBackoff, 3 * time.Minute},
		{"many failures", p, grown, ended(59*time.Minute, 1000), CauseBackoff, time.Minute},
		{"many failures, rested", p, grown, ended(time.Hour, 1000), CauseDue, 0},
		{"no room", p, with(grown, func(f *Facts) { f.FreeBytes = f.LiveBytes - 1 }), first, CauseDisk, 0},
		{"just enough room", p, with(grown, func(f *Facts) { f.FreeBytes = f.LiveBytes }), first, CauseDue, 0},
		{"room unknown", p, with(grown, func(f *Facts) { f.FreeBytes = -1 }), first, CauseDue, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.policy.EnsureDefaults()
			d := Decide(tt.policy, tt.facts, tt.history)
			if d.Cause != tt.cause || d.Run != (tt.cause == CauseDue) {
				t.Fatalf("Run %v, cause %q (%s), want %q", d.Run, d.Cause, d.Reason, tt.cause)
			}
			want := time.Time{}
			if tt.notBefore != 0 {
				want = noon.Add(tt.notBefore)
			}
			if !d.NotBefore.Equal(want) {
				t.Errorf("NotBefore %v, want %v", d.NotBefore, want)
			}
			if d.Reason == "" {
				t.Error("no reason is given")
			}
		})
	}
}

// TestThreshold: it is the size from which on Decide agrees.
func TestThreshold(t *testing.T) {
	if got := (Policy{Growth: 100}).Threshold(Facts{BaseBytes: mb}); got != 0 {
		t.Errorf("compaction is off, and its threshold is %d", got)
	}
	for _, base := range []int64{0, 1, mb, 33 * mb, 64*mb + 1, 333 * mb} {
		for _, growth := range []int{0, 1, 33, 100, 250} {
			p := Policy{MinSize: 64 * mb, Growth: growth}
			f := Facts{BaseBytes: base, FreeBytes: -1}
			f.LogBytes = p.Threshold(f)
			if d := Decide(p, f, History{Now: noon}); !d.Run {
				t.Errorf("base %d, growth %d: at its threshold %d: %s", base, growth, f.LogBytes, d.Reason)
			}
			f.LogBytes--
			if d := Decide(p, f, History{Now: noon}); d.Run && f.LogBytes >= base {
				t.Errorf("base %d, growth %d: below its threshold, at %d: %s", base, growth, f.LogBytes, d.Reason)
			}
		}
	}
}

func TestReasonNamesTheNumbers(t *testing.T) {
	p := DefaultPolicy()
	for want, f := range map[string]Facts{
		"the log has 1.5 MiB, under aofshrink-min-size 64mb":                       {LogBytes: 3 * mb / 2},
		"25.0 MiB since the base of 50.0 MiB (50 %), under aofshrink-growth 100 %": {LogBytes: 75 * mb, BaseBytes: 50 * mb},
		"the disk has 10 B free, a new base needs about 1.0 KiB":                   {LogBytes: 64 * mb, FreeBytes: 10, LiveBytes: 1024},
		"the log has 2.0 GiB, 2.0 GiB of it since the base":                        {LogBytes: 2 << 30},
		"the log has 20 B, under aofshrink-min-size 64mb":                          {LogBytes: 20},
		"the disk has 0 B free, a new base needs about 1 B":                        {LogBytes: 64 * mb, LiveBytes: 1},
		"0 B since the base of 64.0 MiB (0 %), under aofshrink-growth 100 %":       {LogBytes: 64 * mb, BaseBytes: 64 * mb},
		"63.0 MiB since the base of 64.0 MiB (98 %), under aofshrink-growth 100 %": {LogBytes: 127 * mb, BaseBytes: 64 * mb},
		"the log has 128.0 MiB, 64.0 MiB of it since the base":                     {LogBytes: 128 * mb, BaseBytes: 64 * mb},
		"the disk has 1.0 MiB free, a new base needs about 2.0 MiB":                {LogBytes: 64 * mb, FreeBytes: mb, LiveBytes: 2 * mb},
		"the log has 64.0 MiB, 64.0 MiB of it since the base":                      {LogBytes: 64 * mb},
		"the log has 1023 B, under aofshrink-min-size 64mb":                        {LogBytes: 1023},
		"1.0 MiB since the base of 1024.0 GiB (0 %), under aofshrink-growth 100 %": {LogBytes: 1<<40 + mb, BaseBytes: 1 << 40},
		"the disk has 1.0 GiB free, a new base needs about 1.5 GiB":                {LogBytes: 64 * mb, FreeBytes: 1 << 30, LiveBytes: 3 << 29},
	} {
		if got := Decide(p, f, History{Now: noon}).Reason; got != want {
			t.Errorf("%+v: reason %q, want %q", f, got, want)
		}
	}
}

func TestValidateListsEveryFault(t *testing.T) {
	err := Policy{MinSize: -1, Growth: -2, CheckEvery: -3, Cooldown: -4, BackoffMin: -5, BackoffMax: -6}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"aofshrink-min-size", "aofshrink-growth", "check interval", "cooldown", "shortest back-off", "longest back-off"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the faults:\n%v", want, err)
		}
	}
	if err := DefaultPolicy().Validate(); err != nil {
		t.Errorf("the default policy: %v", err)
	}
}

func TestBackoff(t *testing.T) {
	p := DefaultPolicy()
	for failures, want := range map[int]int{1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 6: 32, 7: 60, 8: 60, 1 << 30: 60} {
		if got := p.backoff(failures); got != time.Duration(want)*time.Minute {
			t.Errorf("after %d failures: %v, want %d min", failures, got, want)
		}
	}
	p.BackoffMax = 1<<63 - 1
	if got := p.backoff(1000); got != p.BackoffMax {
		t.Errorf("the doubling overflows to %v", got)
	}
}
