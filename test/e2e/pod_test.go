package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"evenkeel/internal/testkit"
)

// onTile38 runs a test beside a Tile38 that is played, and beside a real one if
// TILE38_SERVER names it.
func onTile38(t *testing.T, test func(t *testing.T, machine func() testkit.Machine)) {
	t.Run("played", func(t *testing.T) {
		test(t, func() testkit.Machine { return testkit.NewServer(t, testkit.ServerOptions{}) })
	})
	t.Run("real", func(t *testing.T) {
		testkit.Binary(t) // or it is skipped
		test(t, func() testkit.Machine { return testkit.NewProcess(t) })
	})
}

// beside starts a sidecar beside a Tile38.
func beside(t *testing.T, m testkit.Machine, args ...string) *server {
	t.Helper()
	return start(t, t.TempDir(), append([]string{"--engine", "tile38", "--engine-addr", m.Address()}, args...)...)
}

func (s *server) ready() bool {
	s.t.Helper()
	code, _ := get(s.t, "http://"+s.probe+"/readyz")
	return code == 200
}

// settled waits until no connection of the client's pool is one that was ended: an
// engine that is back at once seems to have closed its connections on purpose.
func (s *server) settled() {
	s.t.Helper()
	for range 20 { // the size of the pool
		s.waitFor("an answer", func() bool { return s.said("PING") == "OK" })
	}
}

// TestBesideTile38: a sidecar that starts before its Tile38 serves its clients as
// soon as that is there, says what it is, and outlives its restart.
func TestBesideTile38(t *testing.T) {
	onTile38(t, func(t *testing.T, machine func() testkit.Machine) {
		m := machine()
		m.Stop()
		s := beside(t, m, "--engine-wait", "300ms")
		if code, why := get(t, "http://"+s.probe+"/readyz"); code != 503 || !strings.Contains(why, m.Address()) {
			t.Errorf("without an engine: %d %s", code, why)
		}
		if code, _ := get(t, "http://"+s.probe+"/livez"); code != 200 {
			t.Errorf("not alive: %d", code)
		}
		if got := s.said("SET fleet a POINT 1 2"); !strings.Contains(got, m.Address()) {
			t.Errorf("without an engine: %q", got)
		}
		m.Start()
		s.waitFor("readiness", s.ready)
		s.words("SET fleet a POINT 1 2")
		if got := s.words("GET fleet a"); !strings.Contains(fmt.Sprint(got), "[2,1]") {
			t.Errorf("GET: %v", got)
		}
		if got := s.said("NOSUCH"); !strings.Contains(got, "unknown command") {
			t.Errorf("an unknown command: %q", got)
		}
		if n := s.metric(`evenkeel_command_duration_seconds_count{command="get"}`); n != 1 {
			t.Errorf("%v GETs were measured", n)
		}
		if n := s.metric("evenkeel_engine_up"); n != 1 {
			t.Errorf("up: %v", n)
		}
		if code, text := get(t, "http://"+s.admin+"/status"); code != 200 || !strings.Contains(text, `"engine_address": "`+m.Address()+`"`) {
			t.Errorf("status %d: %s", code, text)
		}
		m.Restart()
		s.waitFor("readiness after a restart", s.ready)
		s.settled()
		if got := s.words("GET fleet a"); !strings.Contains(fmt.Sprint(got), "[2,1]") {
			t.Errorf("GET after a restart: %v", got)
		}
		s.stop()
	})
}

// podStatus is /status of a sidecar beside a Tile38, as far as it is looked at here.
type podStatus struct {
	Ready    bool
	NotReady []string `json:"not_ready"`
	Engine   struct {
		Server struct {
			AOFSize int64 `json:"aof_size"`
			Counts  struct{ Objects int64 }
		}
	}
	Bridge *struct {
		Verified bool
		Resumes  struct{ Continued, Found, Fresh, Difference, Full int64 }
	}
	Followers []podFollower
	Compared  *comparison
	Healing   *struct {
		Shrinks int
		Error   string
	}
	Compactor struct{ OK, Failed int }
}

// podFollower is one as its leader's sidecar shows it.
type podFollower struct {
	Addr      string
	Bridged   bool
	Condition string
	Compared  *comparison
}

// comparison is one of all objects of a follower.
type comparison struct {
	Objects, Differences int64
	Error                string
}

func (c *comparison) equal(objects int64) bool {
	return c != nil && c.Error == "" && c.Differences == 0 && c.Objects >= objects
}

func (s *server) pod() (st podStatus) {
	s.t.Helper()
	code, body := get(s.t, "http://"+s.admin+"/status")
	if err := json.Unmarshal([]byte(body), &st); code != 200 || err != nil {
		s.t.Fatalf("status %d, %v: %s", code, err, body)
	}
	return st
}

// equal compares two servers object by object.
func equal(t *testing.T, leader, follower *server) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary, "verify", "--leader", leader.addr, "--follower", follower.addr).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// eager are flags of a sidecar that compacts as soon as it can.
func eager(minSize string) []string {
	return []string{"--aofshrink-min-size", minSize, "--aofshrink-check-interval", "100ms", "--aofshrink-cooldown", "100ms"}
}

// pair starts two pods, a leader and a follower of it.
func pair(t *testing.T, machine func() testkit.Machine, leads, follows []string) (l, f *server, lm, fm testkit.Machine) {
	t.Helper()
	lm, fm = machine(), machine()
	l = beside(t, lm, append([]string{"--engine-dir", filepath.Dir(lm.File())}, leads...)...)
	l.waitFor("readiness", l.ready)
	f = beside(t, fm, append([]string{"--follow", l.addr, "--verify-interval", "200ms"}, follows...)...)
	f.waitFor("readiness", f.ready)
	return l, f, lm, fm
}

// TestPods: a leader's log is compacted by size; its follower is carried through it
// by its sidecar, stays ready, and is the leader's equal. Writes to the follower go
// to the leader, and are read again at once.
func TestPods(t *testing.T) {
	onTile38(t, func(t *testing.T, machine func() testkit.Machine) {
		lm, fm := machine(), machine()
		l := beside(t, lm, append(eager("200kb"), "--engine-dir", filepath.Dir(lm.File()))...)
		l.waitFor("readiness", l.ready)
		f := beside(t, fm, append(eager("200kb"), "--follow", l.addr, "--engine-dir", filepath.Dir(fm.File()))...)
		f.waitFor("readiness", f.ready)
		for i := range 20 {
			f.words(fmt.Sprintf("SET fleet own%d POINT 1 %d", i, i))
			if got := f.words(fmt.Sprintf("GET fleet own%d", i)); !strings.Contains(fmt.Sprint(got), fmt.Sprintf("[%d,1]", i)) {
				t.Errorf("own write %d: %v", i, got)
			}
		}
		if _, answer := get(t, "http://"+f.addr+"/set+fleet+web+point+1+2"); !strings.HasPrefix(answer, `{"ok":true`) {
			t.Errorf("a write over HTTP: %s", answer)
		}
		for range 3 {
			l.fill("fleet", 1500)
		}
		l.waitFor("a compaction of the leader", func() bool { return l.pod().Compactor.OK >= 1 })
		f.waitFor("a compaction of the follower", func() bool { return f.pod().Compactor.OK >= 1 })
		f.waitFor("readiness", f.ready)
		st := f.pod()
		if r := st.Bridge.Resumes; r.Full != 0 || r.Difference != 0 || r.Fresh != 1 || r.Found+r.Continued < 1 || !st.Bridge.Verified {
			t.Errorf("the bridge: %+v", *st.Bridge)
		}
		l.waitFor("a fine follower", func() bool {
			fs := l.pod().Followers
			return len(fs) == 1 && fs[0].Bridged && fs[0].Condition == "fine"
		})
		if h := l.pod().Healing; h == nil || h.Shrinks != 0 || h.Error != "" {
			t.Errorf("healing: %+v", h)
		}
		equal(t, l, f)
		if n := f.metric("evenkeel_upstream_forwarded_writes_total"); n != 21 {
			t.Errorf("%v writes were forwarded", n)
		}
		f.stop()
		l.stop()
	})
}

// TestPodRestarts: whoever of a follower's pod is started again, its sidecar or its
// Tile38, it ends as its leader's equal, without a resync from zero.
func TestPodRestarts(t *testing.T) {
	onTile38(t, func(t *testing.T, machine func() testkit.Machine) {
		lm, fm := machine(), machine()
		l := beside(t, lm, "--engine-dir", filepath.Dir(lm.File()))
		l.waitFor("readiness", l.ready)
		args := []string{"--follow", l.addr, "--engine-dir", filepath.Dir(fm.File())}
		f := beside(t, fm, args...)
		f.waitFor("readiness", f.ready)
		l.fill("fleet", 800)
		for round := range 3 {
			switch round {
			case 0:
				fm.Restart()
			case 1:
				f.kill()
			case 2:
				lm.Restart()
			}
			l.waitFor("the leader", l.ready)
			l.settled()
			l.fill("fleet", 300+round)
			if round == 1 {
				f = start(t, f.dir, append([]string{"--engine", "tile38", "--engine-addr", fm.Address()}, args...)...)
			}
			f.waitFor("readiness", func() bool {
				return f.ready() && f.pod().Engine.Server.Counts.Objects == l.pod().Engine.Server.Counts.Objects
			})
			if r := f.pod().Bridge.Resumes; r.Full != 0 {
				t.Errorf("round %d: %+v", round, r)
			}
			equal(t, l, f)
		}
	})
}

// TestPodWithoutBridge: a follower that no bridge carries is doubled by its leader's
// compaction, is not ready then, and is healed by the leader's sidecar.
func TestPodWithoutBridge(t *testing.T) {
	onTile38(t, func(t *testing.T, machine func() testkit.Machine) {
		l, f, lm, fm := pair(t, machine, []string{"--verify-interval", "200ms", "--reset-followers"}, []string{"--bridge=false"})
		l.fill("fleet", 3000)
		l.words("SET ghosts a POINT 1 1")
		f.waitFor("all objects", func() bool { return f.pod().Engine.Server.Counts.Objects >= 3001 })
		fm.Stop()
		l.words("DROP ghosts")
		lm.Restart() // the leader's file has nothing to tell of it after a rewrite
		l.waitFor("the leader", l.ready)
		l.settled()
		l.words("AOFSHRINK")
		fm.Start()
		l.waitFor("a healed follower", func() bool { return strings.Contains(l.log.String(), "followers are healed") })
		f.waitFor("readiness", f.ready)
		equal(t, l, f)
		if h := l.pod().Healing; h == nil || h.Error != "" {
			t.Errorf("healing: %+v", h)
		}
		// Neither counts it as healed before its objects are compared.
		if c := f.pod().Compared; !c.equal(3000) {
			t.Errorf("the follower's sidecar has compared %+v", c)
		}
		l.waitFor("a proved follower", func() bool { fs := l.pod().Followers; return len(fs) == 1 && fs[0].Compared.equal(3000) })
		if n := l.metric(`evenkeel_follower_comparisons_total{result="ok"}`); n == 0 || l.metric("evenkeel_followers_differing") != 0 {
			t.Errorf("%v comparisons", n)
		}
	})
}
