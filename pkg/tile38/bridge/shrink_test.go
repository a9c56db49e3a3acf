package bridge_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"evenkeel/pkg/tile38/bridge"
)

// shrink lets the leader shrink its file and waits until it has.
func (p *pair) shrink() { p.t.Helper(); p.shrinkWith(func() {}, func() {}) }

// shrinkWith does something right after the shrink began, and again when the
// follower had the time to take it.
func (p *pair) shrinkWith(during, then func()) {
	p.t.Helper()
	path := filepath.Join(p.Leader.Dir, "appendonly.aof")
	old, err := os.Stat(path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Leader.Do("AOFSHRINK")
	during()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		now, err := os.Stat(path)
		if err == nil && !os.SameFile(old, now) {
			break
		}
		if time.Now().After(end) {
			p.t.Fatal("the leader does not shrink its file")
		}
	}
	then()
}

// TestShrinkLoad: 50,000 writes while the leader shrinks its file; the follower is
// sent what it has not, and keeps its connection.
func TestShrinkLoad(t *testing.T) { each(t, testShrinkLoad) }

func testShrinkLoad(t *testing.T, p *pair) {
	objects := 15_000
	if p.real {
		objects = 100_000
	}
	p.Leader.Fill("k", 0, objects)
	p.Leader.Fill("k", 0, objects)
	p.heartbeat()
	p.start()
	p.follow()
	p.equal()
	before, read := p.Bridge.Status(), p.up.passed.Load()
	writes := objects / 2
	done := make(chan int)
	go func() {
		for n := 0; n < writes; n += 500 {
			p.Leader.Fill("live", n, 500)
		}
		done <- writes
	}()
	written := p.Leader.Server().AOFSize
	stop, unready := make(chan struct{}), make(chan []string, 1)
	go func() {
		for {
			select {
			case <-stop:
				unready <- nil
				return
			case <-time.After(time.Millisecond):
			}
			if ok, reasons := p.Bridge.Ready(0); !ok {
				unready <- reasons
				return
			}
		}
	}()
	p.shrinkWith(p.heartbeat, func() {})
	n := <-done
	p.until("the new file", func() bool { return p.Bridge.Status().Resumes.Found > 0 })
	p.equal()
	close(stop)
	if reasons := <-unready; reasons != nil {
		t.Errorf("not ready during the shrink: %q", reasons)
	}
	st := p.Bridge.Status()
	size := p.Leader.Server().AOFSize
	t.Logf("file %d before, %d after, %d commands meanwhile; to the follower %d bytes, from the leader %d, searched %d; %+v",
		written, size, n, st.BytesSent-before.BytesSent, p.up.passed.Load()-read, st.BytesSearched, st.Resumes)
	if st.Resumes.Found != 1 || st.Resumes.Difference+st.Resumes.Full > 0 || st.FollowerConnects != 1 {
		t.Errorf("%+v, %d connections of the follower", st.Resumes, st.FollowerConnects)
	}
	if sent := st.BytesSent - before.BytesSent; sent > int64(writes)*100 {
		t.Errorf("%d bytes sent", sent)
	}
	if v, err := p.Follower.Try("HEALTHZ"); v != "OK" {
		t.Errorf("HEALTHZ: %q, %v", v, err)
	}
}

// TestShrinkIdle: with a heartbeat that came after the shrink began there is a place
// to go on; without one the file is read.
func TestShrinkIdle(t *testing.T) { each(t, testShrinkIdle) }

func testShrinkIdle(t *testing.T, p *pair) {
	for _, beats := range []bool{true, false} {
		p := newPair(t, p.real)
		p.Leader.Fill("k", 0, 15_000)
		p.heartbeat()
		p.start()
		p.follow()
		p.equal()
		if beats {
			p.shrinkWith(p.heartbeat, func() {})
		} else {
			p.shrink()
		}
		p.until("the leader's new file to be followed", func() bool {
			r := p.Bridge.Status().Resumes
			return r.Found+r.Difference > 0
		})
		p.equal()
		st := p.Bridge.Status()
		want := bridge.Resumes{Fresh: 1, Found: 1}
		if !beats {
			want = bridge.Resumes{Fresh: 1, Difference: 1}
		}
		if st.Resumes != want || st.FollowerConnects != 1 || st.DifferenceCommands > 2 {
			t.Errorf("heartbeats %v: %+v, %d connections, %d commands", beats, st.Resumes, st.FollowerConnects, st.DifferenceCommands)
		}
		p.Leader.Fill("k", 50, 100)
		p.equal()
	}
}

// TestFollowerShrunk: the follower's file is its own matter, whenever it is shrunk.
func TestFollowerShrunk(t *testing.T) { each(t, testFollowerShrunk) }

func testFollowerShrunk(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 20000)
	p.Leader.Fill("k", 0, 20000)
	p.start()
	p.follow()
	p.equal()
	path := filepath.Join(p.Follower.Dir, "appendonly.aof")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p.Follower.Do("AOFSHRINK")
	p.heartbeat()
	p.Leader.Fill("k", 500, 100)
	p.until("the follower's file to be shrunk", func() bool {
		now, err := os.ReadFile(path)
		return err == nil && len(now) < len(old) && !bytes.HasPrefix(old, now)
	})
	p.heartbeat()
	p.Leader.Fill("k", 700, 100)
	p.equal()
	p.Follower.Kill()
	p.Leader.Fill("k", 600, 50)
	p.Follower.Start()
	p.equal()
	if st := p.Bridge.Status(); st.Resumes != (bridge.Resumes{Fresh: 1}) || st.FollowerConnects != 2 {
		t.Errorf("%+v, %d connections", st.Resumes, st.FollowerConnects)
	}
}
