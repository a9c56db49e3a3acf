package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"evenkeel/internal/testkit"
)

// Environment variables of the parts of a test that run in processes of their own.
const (
	binaryVar  = "EVENKEEL_E2E_BINARY"
	networkVar = "EVENKEEL_E2E_NETWORK" // in the network that joins all machines
	playedVar  = "EVENKEEL_E2E_PLAYED"  // directory of a played Tile38
)

// machine is a network namespace with an address of its own: other machines reach
// what listens there only through it, and its loopback is its own.
type machine struct {
	t       *testing.T
	name    string
	address string
	second  string // another address
}

// ip runs the program of this name.
func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// newMachine makes one, which this process, and others through it, can reach.
func newMachine(t *testing.T, n int) *machine {
	t.Helper()
	net := fmt.Sprintf("10.99.%d.", n)
	m := &machine{t: t, name: fmt.Sprintf("evenkeel-%d-%d", os.Getpid(), n), address: net + "2", second: net + "3"}
	hosts := m.etc()
	if err := os.MkdirAll(hosts, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(hosts) })
	m.hosts("127.0.0.1 localhost\n")
	ip(t, "netns", "add", m.name)
	t.Cleanup(func() { ip(t, "netns", "del", m.name) })
	link := fmt.Sprintf("ek%d", n)
	ip(t, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", m.name)
	ip(t, "addr", "add", net+"1/24", "dev", link)
	ip(t, "link", "set", link, "up")
	for _, addr := range []string{m.address, m.second} {
		ip(t, "-n", m.name, "addr", "add", addr+"/24", "dev", "eth0")
	}
	ip(t, "-n", m.name, "link", "set", "lo", "up")
	ip(t, "-n", m.name, "link", "set", "eth0", "up")
	ip(t, "-n", m.name, "route", "add", "default", "via", net+"1")
	return m
}

// etc is what is mounted over the machine's /etc.
func (m *machine) etc() string { return "/etc/netns/" + m.name }

// hosts sets the machine's /etc/hosts, which processes see that are started later,
// and when they run already.
func (m *machine) hosts(text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.etc(), "hosts"), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// command is one that runs there.
func (m *machine) command(args ...string) *exec.Cmd {
	cmd := exec.Command("ip", append([]string{"netns", "exec", m.name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// engine starts a Tile38 on the machine's loopback and returns its address and
// directory.
func (m *machine) engine(stock bool) (addr, dir string) {
	m.t.Helper()
	dir = m.t.TempDir()
	var cmd *exec.Cmd
	if stock {
		addr = "127.0.0.1:9851"
		cmd = m.command(testkit.Binary(m.t), "-h", "127.0.0.1", "-p", "9851", "-d", dir)
	} else {
		self, err := os.Executable()
		if err != nil {
			m.t.Fatal(err)
		}
		cmd = m.command(self, "-test.run", "^TestPlayedTile38$", "-test.v")
		cmd.Env = append(os.Environ(), playedVar+"="+dir)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if stock {
		return addr, dir
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if a, ok := strings.CutPrefix(lines.Text(), "played Tile38 on "); ok {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return a, dir
		}
	}
	m.t.Fatal("the played Tile38 does not start")
	return "", ""
}

// TestPlayedTile38 is no test but the process of a played Tile38.
func TestPlayedTile38(t *testing.T) {
	dir := os.Getenv(playedVar)
	if dir == "" {
		t.Skip("this is a part of TestNetwork")
	}
	s := testkit.NewServer(t, testkit.ServerOptions{Dir: dir, Block: 4 << 10})
	fmt.Printf("played Tile38 on %s\n", s.Address())
	time.Sleep(time.Hour) // it is killed
}

// beside starts a sidecar beside a Tile38 on the machine.
func (m *machine) beside(stock bool, args ...string) *server {
	m.t.Helper()
	addr, dir := m.engine(stock)
	data := m.t.TempDir()
	s := launched(m.t, data, m.command(append([]string{
		binary, "run", "--data-dir", data, "--listen", ":9861", "--probe-listen", ":9850", "--admin-listen", m.address + ":9870",
		"--engine", "tile38", "--engine-addr", addr, "--engine-dir", dir, "--verify-interval", "200ms",
	}, args...)...))
	s.addr, s.probe, s.admin = m.address+":9861", m.address+":9850", m.address+":9870"
	s.connect()
	s.waitFor("a banner", func() bool { return bannerLines.MatchString(s.log.String()) })
	return s
}

// TestNetwork: leader and followers on machines of their own, with other addresses
// and other loopbacks. The leader's sidecar reaches a follower where it announces
// itself, for its counts, its objects and to heal it; followers take their turns from
// the leader; a leader's name need not be known when they start.
func TestNetwork(t *testing.T) {
	if os.Getenv(networkVar) == "" {
		inNetwork(t)
		return
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	for i, stock := range []bool{false, true} {
		t.Run([]string{"played", "real"}[i], func(t *testing.T) {
			if stock {
				testkit.Binary(t)
			}
			network(t, 10*i, stock)
		})
	}
}

// inNetwork runs the test in a network of its own.
func inNetwork(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		t.Skip("SKIPPED, LOUDLY: machines of their own need root and iproute2; announced addresses are tested on one machine only")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run", "^TestNetwork$", "-test.v", "-test.timeout", "5m")
	cmd.Env = append(os.Environ(), networkVar+"=1", binaryVar+"="+binary)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "operation not permitted") && !strings.Contains(string(out), "--- FAIL") {
		t.Skipf("SKIPPED, LOUDLY: no network namespaces here: %v", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: TestNetwork/played") {
		t.Errorf("%v\n%s", err, out)
	}
	if os.Getenv("TILE38_SERVER") != "" && !strings.Contains(string(out), "--- PASS: TestNetwork/real") {
		t.Errorf("the real one did not run\n%s", out)
	}
}

func network(t *testing.T, first int, stock bool) {
	lead, carried, plain := newMachine(t, first+1), newMachine(t, first+2), newMachine(t, first+3)
	l := lead.beside(stock, eager("100mb")...)
	l.waitFor("readiness", l.ready)

	// One that is carried, to a name that nobody knows yet.
	f := carried.beside(stock, append(eager("200kb"), "--follow", "leader.test:9861")...)
	f.waitFor("an attempt to reach the leader", func() bool { return strings.Contains(f.log.String(), "leader.test") && !f.ready() })
	carried.hosts("127.0.0.1 localhost\n" + lead.address + " leader.test\n")
	f.waitFor("readiness", f.ready)
	for range 3 {
		l.fill("fleet", 9000) // a real follower recognizes a log from 512 KiB on
	}
	shown := func(addr string) (seen bool) {
		for _, fs := range l.pod().Followers {
			seen = seen || fs.Addr == addr && fs.Condition == "fine"
		}
		return seen
	}
	l.waitFor("the follower where the way to the leader begins", func() bool { return shown(carried.address + ":9861") })
	f.waitFor("a compaction in its turn", func() bool { return f.pod().Compactor.OK >= 1 })

	// One that is not carried, and announces another address than the one it has.
	p := plain.beside(stock, "--follow", lead.address+":9861", "--bridge=false", "--announce", plain.second+":9861")
	p.waitFor("readiness", p.ready)
	l.waitFor("the follower where it announces itself", func() bool { return shown(plain.second + ":9861") })
	l.words("AOFSHRINK") // which doubles it
	l.waitFor("a healed follower", func() bool { return strings.Contains(l.log.String(), "followers are healed") })
	p.waitFor("readiness", p.ready)
	l.waitFor("a proved follower", func() bool {
		fs := l.pod().Followers
		i := slices.IndexFunc(fs, func(f podFollower) bool { return f.Addr == plain.second+":9861" })
		return i >= 0 && fs[i].Condition == "fine" && fs[i].Compared.equal(9000)
	})
	f.waitFor("readiness", f.ready)
	equal(t, l, f)
	equal(t, l, p)
	for _, fs := range l.pod().Followers {
		if fs.Addr != carried.address+":9861" && fs.Addr != plain.second+":9861" {
			t.Errorf("the leader knows %+v", fs)
		}
	}
}
