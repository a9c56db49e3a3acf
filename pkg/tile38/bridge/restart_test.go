package bridge_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"evenkeel/pkg/tile38/bridge"
)

// TestFollowerRestart: the follower goes on where its file ends; what was written
// meanwhile is all that it is sent.
func TestFollowerRestart(t *testing.T) { each(t, testFollowerRestart) }

func testFollowerRestart(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 20000)
	p.heartbeat()
	p.start()
	p.follow()
	p.equal()
	for range 2 {
		p.Follower.Term()
		p.Leader.Fill("k", 19000, 500)
		p.Leader.Do("DEL k o3")
		p.heartbeat()
		sent := p.Bridge.Status().BytesSent
		p.Follower.Start()
		p.equal()
		if n := p.Bridge.Status().BytesSent - sent; n > 100<<10 {
			t.Errorf("%d bytes sent after a restart", n)
		}
	}
	if n := p.count(bridge.EventFollowerUnknown); n != 1 {
		t.Errorf("the follower was not found %d times, want the first time alone", n)
	}
}

// TestFollowerKilled: a follower that lost the end of its file, cut anywhere, is
// sent what it lost, and no more.
func TestFollowerKilled(t *testing.T) { each(t, testFollowerKilled) }

func testFollowerKilled(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 20000)
	p.start()
	p.follow()
	p.equal()
	for _, lose := range []int64{0, 1, 37, 1000, 50_001} {
		p.heartbeat()
		p.Leader.Fill("k", 15000, 1500)
		p.equal()
		path := filepath.Join(p.Follower.Dir, "appendonly.aof")
		p.until("the follower's file", func() bool {
			info, err := os.Stat(path)
			return err == nil && info.Size() >= p.Follower.Server().AOFSize
		})
		p.Follower.Kill()
		info, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, info.Size()-lose)
		}
		if err != nil {
			t.Fatal(err)
		}
		p.Leader.Do("DEL k o15", "SET k new POINT 1 1")
		sent := p.Bridge.Status().BytesSent
		p.Follower.Start()
		p.equal()
		if n := p.Bridge.Status().BytesSent - sent; n > lose+2000 {
			t.Errorf("%d bytes sent after %d were lost", n, lose)
		}
	}
	if st := p.Bridge.Status(); st.Resumes.Difference+st.Resumes.Full+st.Resumes.FoundByLog > 0 {
		t.Errorf("%+v", st.Resumes)
	}
}

// TestLeaderRestart: the follower keeps its connection.
func TestLeaderRestart(t *testing.T) { each(t, testLeaderRestart) }

func testLeaderRestart(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 5000)
	p.heartbeat()
	p.start()
	p.follow()
	p.equal()
	p.Leader.Term()
	p.Leader.Start()
	p.Leader.Fill("k", 4000, 2000)
	p.equal()
	if st := p.Bridge.Status(); st.Resumes != (bridge.Resumes{Fresh: 1, Continued: st.Resumes.Continued}) ||
		st.Resumes.Continued == 0 || st.FollowerConnects != 1 {
		t.Errorf("%+v, %d connections of the follower", st.Resumes, st.FollowerConnects)
	}
}

// TestBridgeRestart: where the follower stands says its file, whatever happened to
// the rest meanwhile.
// setWhole changes what the state file says of the follower's data.
func (p *pair) setWhole(whole bool) {
	p.t.Helper()
	text := fmt.Sprintf(`{"leader_id":%q,"whole":%v}`, p.Leader.Server().ID, whole)
	if err := os.WriteFile(filepath.Join(p.Follower.Dir, "evenkeel-bridge.json"), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func TestBridgeRestart(t *testing.T) { each(t, testBridgeRestart) }

func testBridgeRestart(t *testing.T, p *pair) {
	for _, tt := range []struct {
		name     string
		meantime func(p *pair)
		want     bridge.Resumes
	}{
		{"nothing", func(*pair) {}, bridge.Resumes{FoundByLog: 1}},
		{"writes", func(p *pair) { p.Leader.Fill("k", 4500, 3000); p.Leader.Do("PUBLISH c m", "DEL k o1") }, bridge.Resumes{FoundByLog: 1}},
		{"the follower restarts", func(p *pair) { p.Follower.Kill(); p.Leader.Fill("k", 4500, 3000); p.Follower.Start() }, bridge.Resumes{FoundByLog: 1}},
		{"the leader restarts", func(p *pair) { p.Leader.Term(); p.Leader.Start(); p.Leader.Fill("k", 4500, 3000) }, bridge.Resumes{FoundByLog: 1}},
		{"a shrink that began before", nil, bridge.Resumes{FoundByLog: 1}},
		{"a shrink", func(p *pair) { p.Leader.Fill("k", 4500, 3000); p.shrink(); p.Leader.Fill("k", 4600, 3000) }, bridge.Resumes{Difference: 1}},
		{"the state file is lost", func(p *pair) { _ = os.Remove(filepath.Join(p.Follower.Dir, "evenkeel-bridge.json")) }, bridge.Resumes{Difference: 1}},
		{"a difference had begun", func(p *pair) { p.setWhole(false) }, bridge.Resumes{Difference: 1}},
		{"the follower is shrunk", func(p *pair) {
			p.Follower.Do("AOFSHRINK")
			time.Sleep(300 * time.Millisecond)
			p.Leader.Fill("k", 1, 300)
		}, bridge.Resumes{Difference: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t, p.real)
			p.Leader.Fill("k", 0, 5000)
			p.start()
			p.follow()
			p.equal()
			p.heartbeat()
			p.Leader.Fill("k", 2000, 100)
			p.Leader.Do("SET ttl a EX 1000 POINT 1 1", "PUBLISH c m", "SET k last STRING x")
			p.equal()
			if tt.meantime == nil {
				tt.meantime = func(*pair) { p.shrinkWith(func() { p.heartbeat() }, p.stopBridge) }
			}
			if tt.name != "a shrink that began before" {
				p.stopBridge()
			}
			tt.meantime(p)
			p.start()
			p.equal()
			if st := p.Bridge.Status(); st.Resumes != tt.want {
				t.Errorf("%+v, want %+v", st.Resumes, tt.want)
			}
			p.Leader.Fill("k", 100, 100)
			p.Leader.Do("DEL k o4999")
			p.equal()
		})
	}
}
