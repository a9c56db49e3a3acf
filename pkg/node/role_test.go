package node

import (
	"encoding/json"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"

	"evenkeel/pkg/replication"
	"evenkeel/pkg/settings"
)

func (s *server) port() string {
	_, port, _ := net.SplitHostPort(s.addr)
	return port
}

// deadPort is one that nobody listens on.
func deadPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// level waits until the follower holds what its leader does.
func level(t testing.TB, lead, fol *server) {
	t.Helper()
	until(t, "the follower to be level", func() bool {
		ld, lm := lead.store.Digest()
		fd, fm := fol.store.Digest()
		return ld == fd && lm.Offset == fm.Offset && fol.node.CaughtUpOnce()
	})
}

// TestFollow: who can be followed, who cannot, and why; a refused FOLLOW
// changes nothing.
func TestFollow(t *testing.T) {
	lead, dir := serve(t, t.TempDir(), config{}), t.TempDir()
	s := serve(t, dir, config{})
	third := serve(t, t.TempDir(), config{})
	l, c, x := lead.dial(), s.dial(), third.dial()
	l.talk([][2]string{{"SET k a POINT 1 1", "+OK"}})
	c.talk([][2]string{
		{"FOLLOW", "-ERR wrong number of arguments for 'follow' command"},
		{"FOLLOW a", "-ERR wrong number of arguments for 'follow' command"},
		{`FOLLOW "" 1`, "-ERR wrong number of arguments for 'follow' command"},
		{"FOLLOW a b c", "-ERR wrong number of arguments for 'follow' command"},
		{"FOLLOW 127.0.0.1 port", "-ERR invalid argument 'port'"},
		{"FOLLOW 127.0.0.1 65536", "-ERR invalid argument '65536'"},
		{"FOLLOW 127.0.0.1 -1", "-ERR invalid argument '-1'"},
		{"FOLLOW 127.0.0.1 " + s.port(), "-ERR cannot follow self"},
		{"FOLLOW no one", "+OK"},
		{"SET own o POINT 1 1", "+OK"},
	})
	if got := c.do("FOLLOW 127.0.0.1 " + deadPort(t)); !strings.HasPrefix(got, "-ERR cannot follow: ") || !strings.Contains(got, "connection refused") {
		t.Errorf("a leader that is not there: %s", got)
	}
	c.talk([][2]string{
		{"SET own p POINT 1 1", "+OK"}, {"DROP own", ":1"},
		{"follow 127.0.0.1 " + lead.port(), "+OK"},
	})
	level(t, lead, s)
	c.talk([][2]string{
		{"GET k a POINT", "[1 1]"},
		{"SET k b POINT 1 1", "-ERR not the leader"},
		{"SETHOOK h x", "-ERR not the leader"},
		{"READONLY yes", "+OK"}, {"SET k b POINT 1 1", "-ERR not the leader"}, {"READONLY no", "+OK"},
		{"FOLLOW 127.0.0.1 " + lead.port(), "+OK"}, // again: nothing changes
		{"REPLICATE 1 " + strings.Repeat("ab", 20) + " 0 " + strings.Repeat("0", 32), "-ERR cannot follow a follower"},
	})
	x.talk([][2]string{
		{"FOLLOW 127.0.0.1 " + s.port(), "-ERR cannot follow a follower"}, {"SET k mine POINT 1 1", "+OK"},
	})
	if got, want := c.do("ROLE"), fmt.Sprintf("[slave 127.0.0.1 :%s connected :%d]", lead.port(), lead.log.Position().Offset); got != want {
		t.Errorf("ROLE of the follower: %s, want %s", got, want)
	}
	until(t, "the acknowledgement", func() bool {
		return l.do("ROLE") == fmt.Sprintf("[master :%d [[127.0.0.1 %s %d]]]", lead.log.Position().Offset, s.port(), lead.log.Position().Offset)
	})
	if got := c.do("INFO replication"); !strings.Contains(got, "role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:"+lead.port()+"\r\n") {
		t.Errorf("INFO: %s", got)
	}
	c.do("OUTPUT json")
	var st struct{ Stats map[string]any }
	if err := json.Unmarshal([]byte(c.do("SERVER")), &st); err != nil {
		t.Fatal(err)
	}
	if st.Stats["following"] != lead.addr || st.Stats["caught_up"] != true || st.Stats["caught_up_once"] != true {
		t.Errorf("SERVER: %v", st.Stats)
	}
	c.do("OUTPUT resp")
	// It is remembered.
	s.stop()
	s = serve(t, dir, config{})
	level(t, lead, s)
	c = s.dial()
	c.talk([][2]string{
		{"SET k b POINT 1 1", "-ERR not the leader"},
		{"SLAVEOF No One", "+OK"},
		{"SET k b POINT 1 1", "+OK"}, {"SCAN k IDS", "[:0 [a b]]"}, {"ROLE", "[master :104 []]"},
	})
	s.stop()
	s = serve(t, dir, config{})
	s.dial().talk([][2]string{{"SET k c POINT 1 1", "+OK"}})
}

// TestFollowWithPassword: with the wrong one, or none, FOLLOW says so and
// changes nothing.
func TestFollowWithPassword(t *testing.T) {
	lead, s := serve(t, t.TempDir(), config{}), serve(t, t.TempDir(), config{})
	l, c := lead.dial(), s.dial()
	l.talk([][2]string{{"SET k a POINT 1 1", "+OK"}, {"CONFIG SET requirepass pw", "+OK"}})
	follow := "FOLLOW 127.0.0.1 " + lead.port()
	c.talk([][2]string{
		{follow, "-ERR cannot follow: ERR authentication required"},
		{"CONFIG SET leaderauth wrong", "+OK"},
		{follow, "-ERR cannot follow: ERR invalid password"},
		{"SET own o POINT 1 1", "+OK"},
		{"ROLE", "[master :54 []]"},
		{"DROP own", ":1"},
		{"CONFIG SET leaderauth pw", "+OK"},
		{follow, "+OK"},
	})
	level(t, lead, s)
	c.talk([][2]string{{"SCAN k IDS", "[:0 [a]]"}})

	// A password that the leader takes and the follower cannot send in its
	// stream: FOLLOW fails as a whole.
	odd := serve(t, t.TempDir(), config{})
	for _, set := range []struct {
		s    *server
		name string
	}{{lead, settings.RequirePass}, {odd, settings.LeaderAuth}} {
		if err := set.s.settings.Set(set.name, "a\r\nb"); err != nil {
			t.Fatal(err)
		}
	}
	x := odd.dial()
	if got := x.do(follow); !strings.HasPrefix(got, "-ERR") || !strings.Contains(got, "line end") {
		t.Errorf("%s: %s", follow, got)
	}
	x.talk([][2]string{{"SET k b POINT 1 1", "+OK"}, {"ROLE", "[master :52 []]"}})
}

// TestCatchingUp: a follower that has never been level answers no reads, and
// says so to whoever asks for its health.
func TestCatchingUp(t *testing.T) {
	dead := "127.0.0.1:" + deadPort(t)
	s := serve(t, t.TempDir(), config{follow: dead})
	c := s.dial()
	const refused = "-ERR catching up to leader"
	c.talk([][2]string{
		{"GET k a", refused}, {"SCAN k", refused}, {"HEALTHZ", refused}, {"SERVER", refused}, {"INFO", refused}, {"TIMEOUT 1 SCAN k", refused},
		{"SET k a POINT 1 1", "-ERR not the leader"}, {"PING", "+PONG"}, {"CONFIG GET keepalive", "[keepalive 300]"},
		{"OUTPUT json", `{"ok":true}`}, {"GET k a", `{"ok":false,"err":"catching up to leader"}`}, {"OUTPUT resp", "+OK"},
	})
	if ok, why := s.node.Ready(); ok || !strings.Contains(strings.Join(why, "; "), "follower: ") {
		t.Errorf("ready: %v %v", ok, why)
	}
	if s.node.Following() != dead || s.node.FollowerStatus() == nil || s.node.CaughtUpOnce() {
		t.Errorf("following %q, %v", s.node.Following(), s.node.FollowerStatus())
	}
	c.talk([][2]string{{"FOLLOW no one", "+OK"}, {"HEALTHZ", "+OK"}, {"SET k a POINT 1 1", "+OK"}})
	if ok, why := s.node.Ready(); !ok {
		t.Errorf("not ready: %v", why)
	}
	s.node.Drain()
	if ok, why := s.node.Ready(); ok || !slices.Equal(why, []string{"shutting down"}) {
		t.Errorf("draining: %v %v", ok, why)
	}
}

// TestLevelOnce: a follower that was level goes on answering when its leader is
// gone.
func TestLevelOnce(t *testing.T) {
	lead := serve(t, t.TempDir(), config{})
	lead.dial().do("SET k a POINT 1 1")
	s := serve(t, t.TempDir(), config{follow: lead.addr})
	level(t, lead, s)
	lead.stop()
	until(t, "the cut to be seen", func() bool { return s.node.FollowerStatus().State != replication.Streaming })
	s.dial().talk([][2]string{{"GET k a POINT", "[1 1]"}, {"SET k b POINT 1 1", "-ERR not the leader"}, {"HEALTHZ", "+OK"}})
}

// TestReplconf: what a Tile38 follower says of itself is shown.
func TestReplconf(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	c := s.dial()
	c.talk([][2]string{
		{"REPLCONF", "-ERR wrong number of arguments for 'replconf' command"},
		{"REPLCONF listening-port", "-ERR wrong number of arguments for 'replconf' command"},
		{"REPLCONF listening-port x", "-ERR invalid argument 'x'"},
		{"REPLCONF ip-address 10.0.0.1", "-ERR cannot find follower"},
		{"REPLCONF nosuch x", "-ERR cannot find follower"},
		{"ROLE", "[master :0 []]"},
		{"REPLCONF listening-port 77", "+OK"},
		{"ROLE", "[master :0 [[127.0.0.1 77 0]]]"},
		{"REPLCONF ip-address 10.0.0.1", "+OK"},
		{"ROLE", "[master :0 [[10.0.0.1 77 0]]]"},
	})
	other := s.dial()
	if got := other.do("INFO replication"); !strings.Contains(got, "slave0:ip=10.0.0.1,port=77,state=online\r\n") {
		t.Errorf("INFO: %s", got)
	}
	_ = c.Close()
	until(t, "the follower to be forgotten", func() bool { return other.do("ROLE") == "[master :0 []]" })
}

// TestServerAndInfo: the members are there and true, in both outputs.
func TestServerAndInfo(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	c := s.dial()
	c.do("SET a 1 POINT 1 1")
	c.do("SET a 2 STRING x")
	c.do(`SET b 1 OBJECT {"type":"LineString","coordinates":[[1,1],[2,2]]}`)
	c.do("CONFIG SET maxmemory 1gb")
	plain := c.do("SERVER")
	for _, want := range []string{
		"num_collections 2", "num_objects 3", "num_points 3", "num_strings 1", "read_only false", "max_heap_size 1073741824",
		"id " + s.settings.ServerID(), "version " + TileVersion, fmt.Sprintf("aof_size %d", s.node.fileSize()), "http_transport true",
	} {
		if !strings.Contains(plain, want) {
			t.Errorf("SERVER has no %q: %s", want, plain)
		}
	}
	s.shrink(c)
	ext := c.do("server EXT")
	for _, want := range []string{"tile38_type leader", "tile38_num_objects 3", "tile38_connected_clients 1", "tile38_aof_rewrite_in_progress false", "go_version go"} {
		if !strings.Contains(ext, want) {
			t.Errorf("SERVER EXT has no %q: %s", want, ext)
		}
	}
	c.talk([][2]string{{"SERVER x", "-ERR invalid argument 'x'"}, {"SERVER EXT x", "-ERR invalid argument 'x'"}, {"INFO nosuch", ""}})
	all := c.do("INFO")
	for _, title := range []string{"Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Cluster"} {
		one := c.do("INFO " + title)
		if !strings.Contains(all, "# "+title+"\r\n") || !strings.HasPrefix(one, "# "+title+"\r\n") || strings.Count(one, "# ") != 1 {
			t.Errorf("INFO %s: %q", title, one)
		}
	}
	c.do("OUTPUT json")
	for _, line := range []string{"SERVER", "SERVER EXT", "INFO", "INFO cpu MEMORY"} {
		var m struct {
			OK          bool
			Stats, Info map[string]any
		}
		if err := json.Unmarshal([]byte(c.do(line)), &m); err != nil || !m.OK || len(m.Stats)+len(m.Info) < 3 {
			t.Errorf("%s: %v %v", line, err, m)
		}
	}
}

// What a follower announces is what its leader shows.
func TestAnnounce(t *testing.T) {
	lead, s := serve(t, t.TempDir(), config{}), serve(t, t.TempDir(), config{})
	c := s.dial()
	c.talk([][2]string{
		{"CONFIG SET replica_announce_ip 10.0.0.9", "+OK"}, {"CONFIG SET replica_announce_port 9999", "+OK"},
		{"FOLLOW 127.0.0.1 " + lead.port(), "+OK"},
	})
	l := lead.dial()
	until(t, "the leader to show it", func() bool { return strings.Contains(l.do("ROLE"), "[10.0.0.9 9999 ") })
	c.talk([][2]string{
		{"FOLLOW no one", "+OK"},
		{"CONFIG SET replica_announce_ip n\u00f6", "+OK"}, {"CONFIG SET replica_announce_port 0", "+OK"},
		{"FOLLOW 127.0.0.1 " + lead.port(), "+OK"},
	})
	until(t, "the leader to show the real address", func() bool {
		return strings.Contains(l.do("ROLE"), "[127.0.0.1 "+s.port()+" ")
	})
	if log := s.logged.String(); !strings.Contains(log, "replica_announce_ip is not told") {
		t.Errorf("nothing logged about the address: %s", log)
	}
}

// autogc collects garbage every so many seconds.
func TestAutoGC(t *testing.T) {
	c := serve(t, t.TempDir(), config{}).dial()
	forced := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumForcedGC
	}
	before := forced()
	c.talk([][2]string{{"CONFIG SET autogc 1", "+OK"}})
	until(t, "two collections", func() bool { return forced() >= before+2 })
	c.talk([][2]string{{"CONFIG SET autogc 0", "+OK"}})
}
