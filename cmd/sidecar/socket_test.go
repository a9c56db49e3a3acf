package main

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnixSocket: clients are served, the mode is as asked for, and the file is
// gone at the end.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	p := start(t, "--unix-socket="+path, "--unix-socket-mode=0660")
	st, err := os.Stat(path)
	if err != nil || st.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, "PING\r\nCLIENT LIST\r\nQUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(nc)
	if err != nil || !strings.HasPrefix(string(got), "+PONG\r\n$") || !strings.Contains(string(got), " addr=@ ") {
		t.Errorf("%q, %v", got, err)
	}
	_ = nc.Close()
	if !strings.Contains(p.out.String(), "socket   "+path) {
		t.Errorf("the banner does not name it:\n%s", p.out)
	}
	if said := refusal(t, "--listen=127.0.0.1:0", "--probe-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--unix-socket="+path); !strings.Contains(said, "--unix-socket: "+path+" is in use") {
		t.Errorf("a socket in use: %q", said)
	}
	p.stop()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
}

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false) // as after a crash
	_ = dead.Close()
	ln, err := listenUnix(path, 0o600)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	_ = ln.Close()
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ln, err = listenUnix(path, 0o600); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file: %v %v", ln, err)
	}
	if b, err := os.ReadFile(path); string(b) != "data" {
		t.Errorf("the file is damaged: %q, %v", b, err)
	}
	if ln, err = listenUnix(filepath.Join(path, "s"), 0o600); err == nil {
		t.Errorf("no folder: %v", ln)
	}
}
