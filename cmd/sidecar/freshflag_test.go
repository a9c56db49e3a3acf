package main

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestFreshFlag: it is asked for once in a while, however often it is read.
func TestFreshFlag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f freshFlag
		asked, on := 0, true
		ask := func() bool { asked++; return on }
		for range 1000 {
			if !f.get(ask) {
				t.Fatal("not set")
			}
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		on = false
		time.Sleep(freshFor)
		if f.get(ask) || asked != 2 {
			t.Errorf("still set, asked %d times", asked)
		}
		// Who asks holds up nobody else.
		time.Sleep(freshFor)
		if f.get(func() bool { return f.get(func() bool { return true }) }) {
			t.Error("asked twice at once")
		}
	})
}
