package testkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/tile38"
)

// each runs a test on the played server, and on the real one when there is one.
func each(t *testing.T, test func(t *testing.T, start func() Machine)) {
	t.Helper()
	t.Run("played", func(t *testing.T) {
		test(t, func() Machine { return NewServer(t, ServerOptions{Retry: 100 * time.Millisecond}) })
	})
	t.Run("real", func(t *testing.T) {
		Binary(t)
		test(t, func() Machine { return NewProcess(t) })
	})
}

// user is a client of a machine.
type user struct {
	t *testing.T
	*tile38.Conn
}

func dial(t *testing.T, m Machine) user {
	t.Helper()
	c, err := tile38.Dial(context.Background(), tile38.Options{Addr: m.Address(), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return user{t, c}
}

// do returns the answer as text, an error as it is.
func (u user) do(line string) string {
	u.t.Helper()
	v, err := u.Do(strings.Fields(line)...)
	var answer tile38.AnswerError
	if errors.As(err, &answer) {
		return string(answer)
	}
	if err != nil {
		u.t.Fatalf("%s: %v", line, err)
	}
	return v.String()
}

func (u user) set(from, to int) {
	u.t.Helper()
	for i := from; i < to; i++ {
		u.do(fmt.Sprintf("SET fleet truck%05d FIELD speed %d POINT %d %d", i, i%90, i%80, i%170))
	}
}

// until asks SERVER until it is as ok wants it.
func (u user) until(what string, ok func(tile38.Server, map[string]string) bool) tile38.Server {
	u.t.Helper()
	var s tile38.Server
	var m map[string]string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		v, err := u.Do("SERVER")
		if err != nil {
			continue
		}
		m = map[string]string{}
		for k, v := range v.Map() {
			m[k] = v.String()
		}
		if s, err = u.Server(); err == nil && ok(s, m) {
			return s
		}
	}
	u.t.Fatalf("not %s: %+v %v", what, s, m)
	return s
}

func size(t *testing.T, m Machine) int64 {
	t.Helper()
	info, err := os.Stat(m.File())
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func (u user) follow(m Machine) {
	u.t.Helper()
	host, port, _ := net.SplitHostPort(m.Address())
	if got := u.do("FOLLOW " + host + " " + port); got != "OK" {
		u.t.Fatalf("FOLLOW: %s", got)
	}
}

func (u user) shrink(m Machine) {
	u.t.Helper()
	before, err := os.Stat(m.File())
	if err != nil {
		u.t.Fatal(err)
	}
	u.do("AOFSHRINK")
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if now, err := os.Stat(m.File()); err == nil && !os.SameFile(before, now) {
			return
		}
		if time.Now().After(deadline) {
			u.t.Fatal("AOFSHRINK swaps no file")
		}
	}
}

func level(_ tile38.Server, m map[string]string) bool { return m["caught_up"] == "true" }

// TestGhostsAndTheSecondShrink is the story of a follower that was away when
// objects were deleted and the leader's file was rewritten.
func TestGhostsAndTheSecondShrink(t *testing.T) {
	const n = 12_000
	each(t, func(t *testing.T, start func() Machine) {
		lead, fol := start(), start()
		l := dial(t, lead)
		l.set(0, n)
		l.do("SETCHAN near NEARBY fleet FENCE POINT 1 1 100")
		f := dial(t, fol)
		f.follow(lead)
		first := f.until("level", level)
		want := l.until("here", func(tile38.Server, map[string]string) bool { return true })
		if first.AOFSize != want.AOFSize || first.Counts != want.Counts || first.AOFSize != size(t, fol) || first.ID == want.ID {
			t.Fatalf("level: %+v, leader %+v, file %d", first, want, size(t, fol))
		}
		fol.Stop()
		for i := 9000; i < n; i++ {
			l.do(fmt.Sprintf("DEL fleet truck%05d", i))
		}
		l.shrink(lead)
		fol.Start()
		f = dial(t, fol)
		lead1 := l.until("here", func(tile38.Server, map[string]string) bool { return true })
		ghosts := f.until("level with ghosts", func(s tile38.Server, m map[string]string) bool {
			return level(s, m) && s.AOFSize == first.AOFSize+lead1.AOFSize
		})
		if ghosts.Counts.Objects != n || size(t, fol) != lead1.AOFSize || f.do("HEALTHZ") != "OK" {
			t.Fatalf("after the shrink: %+v, file %d of %d", ghosts, size(t, fol), lead1.AOFSize)
		}
		// The rewritten file begins as the last one did: the follower finds a cut in
		// its own and loads it again.
		l.do("SET fleet zebra POINT 1 1")
		l.do("DEL fleet truck08999")
		l.shrink(lead)
		lead2 := l.until("here", func(tile38.Server, map[string]string) bool { return true })
		healed := f.until("healed", func(s tile38.Server, m map[string]string) bool {
			return level(s, m) && s.AOFSize == lead2.AOFSize
		})
		if healed.Counts != lead2.Counts || healed.Counts.Objects != 9000 || size(t, fol) != lead2.AOFSize {
			t.Fatalf("after the second: %+v, leader %+v", healed, lead2)
		}
		a, _ := os.ReadFile(lead.File())
		b, _ := os.ReadFile(fol.File())
		if !bytes.Equal(a, b) {
			t.Fatal("the files differ")
		}
	})
}

// TestTheSameFile is a second shrink that writes the same file once more, and one
// whose file begins otherwise, which doubles again.
func TestTheSameFile(t *testing.T) {
	const n = 12_000
	each(t, func(t *testing.T, start func() Machine) {
		lead, fol := start(), start()
		l, f := dial(t, lead), dial(t, fol)
		l.set(0, n)
		f.follow(lead)
		f.until("level", level)
		f.do("FOLLOW no one")
		l.do("DEL fleet truck11999")
		l.shrink(lead)
		f.follow(lead)
		doubled := func(s tile38.Server, m map[string]string) bool {
			return level(s, m) && s.AOFSize > size(t, lead) && size(t, fol) == size(t, lead)
		}
		f.until("doubled", doubled)
		l.shrink(lead)
		f.until("healed", func(s tile38.Server, m map[string]string) bool {
			return level(s, m) && s.AOFSize == size(t, lead) && s.Counts.Objects == n-1
		})
		l.do("SET fleet truck00000 POINT 5 5")
		l.shrink(lead)
		f.until("doubled again", doubled)
		l.do("DEL fleet truck11998")
		f.until("level", func(s tile38.Server, _ map[string]string) bool { return s.Counts.Objects == n-2 })
		// What nobody knows of lets it begin anew: no objects, no file.
		for _, line := range []string{"FOLLOW no one", "FLUSHDB", "AOFSHRINK"} {
			f.do(line)
		}
		f.until("empty", func(s tile38.Server, _ map[string]string) bool { return s.AOFSize == 0 && size(t, fol) == 0 })
		f.follow(lead)
		if got := f.do("HEALTHZ"); got != "OK" && got != "ERR not caught up" {
			t.Errorf("HEALTHZ: %q", got)
		}
		f.until("whole", func(s tile38.Server, m map[string]string) bool {
			return level(s, m) && s.AOFSize == size(t, lead) && s.Counts.Objects == n-2
		})
	})
}

// TestShortLog is a log under a block: it is appended to itself, and nothing but
// aof_size tells.
func TestShortLog(t *testing.T) {
	each(t, func(t *testing.T, start func() Machine) {
		lead, fol := start(), start()
		l, f := dial(t, lead), dial(t, fol)
		l.set(0, 100)
		f.follow(lead)
		f.until("level", func(s tile38.Server, m map[string]string) bool { return level(s, m) && s.AOFSize == size(t, lead) })
		f.do("FOLLOW no one")
		f.follow(lead)
		s := f.until("doubled", func(s tile38.Server, m map[string]string) bool { return level(s, m) && s.AOFSize == 2*size(t, lead) })
		if s.Counts.Objects != 100 || size(t, fol) != s.AOFSize {
			t.Fatalf("%+v, file %d", s, size(t, fol))
		}
	})
}

// TestReplaced is a leader that is another one, without data: the follower keeps
// what it has and says that all is well.
func TestReplaced(t *testing.T) {
	each(t, func(t *testing.T, start func() Machine) {
		lead, other, fol := start(), start(), start()
		l, f := dial(t, lead), dial(t, fol)
		l.set(0, 10_000)
		f.follow(lead)
		old := f.until("level", level)
		f.follow(other)
		s := f.until("level with nothing", func(s tile38.Server, m map[string]string) bool {
			return level(s, m) && size(t, fol) == 0
		})
		if s.AOFSize != old.AOFSize || s.Counts != old.Counts || s.Following != other.Address() {
			t.Fatalf("%+v, before %+v", s, old)
		}
	})
}

// TestOwnDeletions is what is over on a follower: it deletes and logs that itself.
func TestOwnDeletions(t *testing.T) {
	each(t, func(t *testing.T, start func() Machine) {
		lead, fol := start(), start()
		l, f := dial(t, lead), dial(t, fol)
		l.set(0, 10)
		f.follow(lead)
		f.until("level", level)
		l.do("SET fleet brief EX 1 POINT 1 1")
		f.until("there", func(s tile38.Server, _ map[string]string) bool { return s.Counts.Objects == 11 })
		lead.Stop()
		f.until("gone", func(s tile38.Server, _ map[string]string) bool { return s.Counts.Objects == 10 })
		b, err := os.ReadFile(fol.File())
		if err != nil || !bytes.HasSuffix(b, Command("del", "fleet", "brief")) {
			t.Fatalf("the file ends in %.80q (%v)", b[max(0, len(b)-80):], err)
		}
	})
}

// TestAnswers are answers word for word.
func TestAnswers(t *testing.T) {
	each(t, func(t *testing.T, start func() Machine) {
		lead, fol := start(), start()
		l, f := dial(t, lead), dial(t, fol)
		l.set(0, 3)
		f.do("CONFIG SET replica_announce_ip 10.1.2.3")
		f.do("CONFIG SET replica_announce_port 7777")
		f.follow(lead)
		f.until("level", level)
		if s := f.do("SET a b POINT 1 1"); s != "ERR not the leader" {
			t.Errorf("a write on a follower: %q", s)
		}
		deadline := time.Now().Add(5 * time.Second)
		for !strings.Contains(l.do("INFO replication"), "slave0:ip=10.1.2.3,port=7777,state=online") && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
		want := "# Replication\r\nrole:master\r\nslave0:ip=10.1.2.3,port=7777,state=online\r\nconnected_slaves:1\r\n\r\n"
		if got := l.do("INFO replication"); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("INFO: %q", got)
		}
		if got := f.do("HEALTHZ"); got != "OK" {
			t.Errorf("HEALTHZ: %q", got)
		}
		v, err := f.Do("ROLE")
		var role []string
		v.ForEach(func(w redcon.RESP) bool { role = append(role, w.String()); return true })
		if err != nil || len(role) != 5 || role[4] != strconv.FormatInt(size(t, fol), 10) {
			t.Errorf("ROLE: %q %v", role, err)
		}
		if got := l.do("CONFIG GET requirepass"); got == "" {
			t.Errorf("CONFIG: %q", got)
		}
		if got := l.do("AOFMD5 0 1000000"); got != "EOF" && got != "ERR EOF" {
			t.Errorf("AOFMD5: %q", got)
		}
		if got := l.do("AOF 1000000"); got != "ERR pos is too big, must be less that the aof_size of leader" {
			t.Errorf("AOF: %q", got)
		}
		l.do("SET doc d STRING x")
		l.do("JSET doc j a 1")
		before := size(t, lead)
		l.do("JDEL doc j a")
		if size(t, lead) != before {
			t.Error("JDEL is logged")
		}
		// A follower that does not reach its leader answers reads; one that has been
		// started again does not.
		lead.Stop()
		for deadline := time.Now().Add(5 * time.Second); f.do("HEALTHZ") != "ERR not caught up"; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("HEALTHZ without the leader: %q", f.do("HEALTHZ"))
			}
		}
		if got := f.do("GET fleet truck00001 POINT"); strings.HasPrefix(got, "ERR") {
			t.Errorf("GET without the leader: %q", got)
		}
		fol.Restart()
		f = dial(t, fol)
		for _, line := range []string{"SERVER", "HEALTHZ", "ROLE", "GET fleet truck00001"} {
			if got := f.do(line); got != "ERR catching up to leader" {
				t.Errorf("%s after a restart: %q", line, got)
			}
		}
	})
}
