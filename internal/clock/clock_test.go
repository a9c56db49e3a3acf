package clock

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func rung(t Timer) bool {
	select {
	case <-t.C():
		return true
	default:
		return false
	}
}

func TestFakeRingsWhenDue(t *testing.T) {
	f := NewFake(start)
	short, long := f.NewTimer(time.Second), f.NewTimer(time.Minute)
	f.Advance(time.Second - 1)
	if rung(short) || rung(long) {
		t.Fatal("a timer rang before its time")
	}
	f.Advance(1)
	if !rung(short) || rung(long) {
		t.Fatal("want only the short timer to ring")
	}
	if got, want := f.Now(), start.Add(time.Second); !got.Equal(want) {
		t.Fatalf("Now = %v, want %v", got, want)
	}
	if short.Stop() {
		t.Error("Stop of a timer that rang reported true")
	}
	if !long.Stop() {
		t.Error("Stop of a waiting timer reported false")
	}
	f.Advance(time.Hour)
	if rung(long) {
		t.Error("a stopped timer rang")
	}
}

func TestFakeRingsAtOnce(t *testing.T) {
	f := NewFake(start)
	for _, d := range []time.Duration{0, -time.Second} {
		if !rung(f.NewTimer(d)) {
			t.Errorf("NewTimer(%v) did not ring at once", d)
		}
	}
}

func TestFakeBlockUntil(t *testing.T) {
	f := NewFake(start)
	done := make(chan time.Time)
	go func() { done <- <-f.NewTimer(time.Second).C() }()
	f.BlockUntil(1)
	f.Advance(2 * time.Second)
	if got := <-done; !got.Equal(start.Add(2 * time.Second)) {
		t.Fatalf("rang at %v", got)
	}
}

func TestReal(t *testing.T) {
	var c Clock = Real{}
	before := time.Now()
	tm := c.NewTimer(time.Millisecond)
	if at := <-tm.C(); at.Before(before) || c.Now().Before(at) {
		t.Fatalf("rang at %v, made after %v", at, before)
	}
	if !c.NewTimer(time.Hour).Stop() {
		t.Error("Stop of a waiting timer reported false")
	}
}
