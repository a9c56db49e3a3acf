package e2e

import (
	"bufio"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func mustSend(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// startFails runs a sidecar that must refuse to start, and returns what it says.
func startFails(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := command(dir, args...)
	out := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err == nil {
		t.Errorf("started, and ended with 0:\n%s", out)
	}
	return out.String()
}

// TestTwoProcessesOneDirectory: the second says who holds the directory.
func TestTwoProcessesOneDirectory(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	s.words("SET k a POINT 1 1")
	said := startFails(t, dir)
	if !strings.Contains(said, dir) || !strings.Contains(said, "process") {
		t.Errorf("the second process said: %s", said)
	}
	if n := s.words("EXISTS k a"); n != int64(1) {
		t.Error("the first process has lost its data")
	}
}

// TestRefusesToStart: a wrong start says what to do, and changes nothing.
func TestRefusesToStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	file := filepath.Join(t.TempDir(), "file")
	mustWrite(t, file, []byte("not a directory"))
	garbage := t.TempDir()
	mustWrite(t, filepath.Join(garbage, "appendonly.aof"), []byte("this is no log\nat all\n"))
	for _, c := range []struct {
		name, dir string
		args      []string
		want      []string
	}{
		{"taken port", t.TempDir(), []string{"--listen", taken.Addr().String()}, []string{"--listen", "in use"}},
		{"port too large", t.TempDir(), []string{"--listen", "127.0.0.1:99999"}, []string{"--listen"}},
		{"no port", t.TempDir(), []string{"--probe-listen", "localhost"}, []string{"--probe-listen", "HOST:PORT"}},
		{"leader without port", t.TempDir(), []string{"--follow", "leader"}, []string{"--follow", "HOST:PORT"}},
		{"fsync", t.TempDir(), []string{"--appendfsync", "sometimes"}, []string{"appendfsync", "sometimes"}},
		{"size", t.TempDir(), []string{"--aofshrink-min-size", "64xb"}, []string{"aofshrink-min-size", "64xb"}},
		{"limits", t.TempDir(), []string{"--max-args", "-1"}, []string{"--max-args"}},
		{"a file as directory", file, nil, []string{file}},
		{"garbage", garbage, nil, []string{filepath.Join(garbage, "appendonly.aof")}},
		{"unknown flag", t.TempDir(), []string{"--no-such"}, []string{"--no-such"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := startFails(t, c.dir, c.args...)
			for _, w := range c.want {
				if !strings.Contains(said, w) {
					t.Errorf("said %q, want it to name %q", said, w)
				}
			}
		})
	}
	if b, _ := os.ReadFile(filepath.Join(garbage, "appendonly.aof")); string(b) != "this is no log\nat all\n" {
		t.Errorf("the garbage was changed to %q", b)
	}
}

// TestUnreadableDirectory needs a user that permissions bind.
func TestUnreadableDirectory(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	s.words("SET k a POINT 1 1")
	s.stop()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for p := filepath.Dir(dir); p != "/" && p != os.TempDir(); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() != 0 {
		if err := os.Chmod(dir, 0); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Chmod(dir, 0o755) }()
	}
	cmd := command(dir)
	if os.Getuid() == 0 {
		// Root may read everything, so somebody else tries.
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
		cmd.Path = copyBinary(t)
	}
	out := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err == nil {
		t.Errorf("started on a directory that it may not write")
	}
	if !strings.Contains(out.String(), dir) || !strings.Contains(out.String(), "permission denied") {
		t.Errorf("said %q", out)
	}
}

// copyBinary puts the program where anybody may run it.
func copyBinary(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "evenkeel-bin-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	name := filepath.Join(dir, "sidecar")
	if err := os.WriteFile(name, b, 0o755); err != nil { //nolint:gosec // it is to be run by another user
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // likewise
		t.Fatal(err)
	}
	return name
}

// TestHostileClients: what a client sends costs others nothing.
func TestHostileClients(t *testing.T) {
	s := start(t, t.TempDir(), "--max-bulk", "1048576", "--max-args", "1000", "--max-connections", "50")
	s.words("SET k a POINT 1 1")
	for _, c := range []struct{ name, send, want string }{
		{"huge array", "*1000000000\r\n$3\r\nGET\r\n", "-Protocol error: invalid multibulk length"},
		{"huge bulk", "*2\r\n$3\r\nGET\r\n$536870912\r\n", "-Protocol error: invalid bulk length"},
		{"too many arguments", "*1001\r\n", "-Protocol error: invalid multibulk length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := s.dial()
			mustSend(t, conn, c.send)
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, c.want) {
				t.Errorf("got %q (%v), want %s…", line, err, c.want)
			}
		})
	}
	// Half a command, left standing, and a reset in the middle of one.
	half := s.dial()
	mustSend(t, half, "*3\r\n$3\r\nSET\r\n$1\r\nk")
	reset := s.dial()
	mustSend(t, reset, "*6\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nz\r\n$5\r\nPOINT\r\n$1\r\n1")
	if tcp, ok := reset.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = reset.Close()
	if n := s.words("EXISTS k a"); n != int64(1) {
		t.Errorf("EXISTS k a = %v", n)
	}
	if n := s.words("EXISTS k z"); n != int64(0) {
		t.Errorf("half a command was carried out: EXISTS k z = %v", n)
	}
}

// TestBadValues: every value that makes no sense gets an error, and the server
// goes on.
func TestBadValues(t *testing.T) {
	s := start(t, t.TempDir(), "--max-json-depth", "64", "--max-points", "1000")
	for _, c := range []struct{ name, line string }{
		{"deep JSON", `SET k a OBJECT ` + strings.Repeat("[", 100000)},
		{"deep geometry", `SET k a OBJECT ` + strings.Repeat(`{"type":"GeometryCollection","geometries":[`, 5000)},
		{"many points", `SET k a OBJECT {"type":"MultiPoint","coordinates":[` + strings.Repeat("[1,1],", 1000) + `[1,1]]}`},
		{"huge WHEREIN", "SCAN k WHEREIN n 1000000000 1"},
		{"half a WHERE", "SCAN k WHERE n 1"},
		{"WITHIN GEO", "WITHIN k GEO"},
		{"number of arguments", "SET k"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var args []any
			for _, w := range strings.Fields(c.line) {
				args = append(args, w)
			}
			if err := s.rdb.Do(context.Background(), args...).Err(); err == nil {
				t.Errorf("no error")
			}
		})
	}
	s.words("SET k fine POINT 1 1")
}
