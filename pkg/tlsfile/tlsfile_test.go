package tlsfile

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"evenkeel/internal/testkit/certs"
)

// issue writes the files of a certificate into a folder.
func issue(a *certs.Authority, dir, name string) Files { return Files(a.Issue(dir, name)) }

// serve echoes a byte over TLS until the test ends.
func serve(t *testing.T, config *tls.Config) string {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _, _ = io.CopyN(nc, nc, 1); _ = nc.Close() })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// try exchanges a byte and returns the name in the server's certificate.
func try(c *Client, addr string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	nc, err := c.Dial(ctx, addr)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	if _, err := nc.Write([]byte("x")); err != nil {
		return "", err
	}
	if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
		return "", err // a server tells only now that it does not like a client
	}
	secure, ok := nc.(*tls.Conn)
	if !ok {
		return "", errors.New("no TLS")
	}
	return secure.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// age makes the files be looked at again.
func age(w *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked = time.Time{}
}

// A secret that Kubernetes mounts is a link "..data" to a folder, and is changed
// by exchanging the link.
func TestRotation(t *testing.T) {
	ca := certs.New(t, "ca")
	dir := t.TempDir()
	swap := func(folder, name string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		issue(ca, filepath.Join(dir, folder), name)
		if err := os.Symlink(folder, filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..1", "first")
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	files := Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt")}
	var faults []string
	config, err := Server(files, func(err error) { faults = append(faults, err.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, config)
	client, err := NewClient(files, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := func(name string) {
		t.Helper()
		if got, err := try(client, addr); got != name || err != nil {
			t.Fatalf("connected to %q, %v; want %q", got, err, name)
		}
	}
	want("first")
	swap("..2", "second")
	time.Sleep(Every + 10*time.Millisecond) // as it is in life
	want("second")
	if len(faults) > 0 {
		t.Errorf("faults: %q", faults)
	}

	// The authority is exchanged too.
	old := ca
	ca = certs.New(t, "new ca")
	swap("..3", "third")
	age(client.w)
	time.Sleep(Every + 10*time.Millisecond)
	want("third")
	stranger, err := NewClient(issue(old, t.TempDir(), "stranger"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if name, err := try(stranger, addr); err == nil {
		t.Errorf("a client of the old authority was served by %q", name)
	}
}

func TestHalfRenewal(t *testing.T) {
	ca := certs.New(t, "ca")
	dir := t.TempDir()
	files := issue(ca, dir, "first")
	files.CA = ""
	var faults []string
	w, err := newWatcher(files, func(c []tls.Certificate, _ *x509.CertPool) *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: c}
	}, func(err error) { faults = append(faults, err.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	first := w.current()
	key, err := os.ReadFile(files.Key)
	if err != nil {
		t.Fatal(err)
	}
	issue(ca, dir, "second")
	second, err := os.ReadFile(files.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files.Key, key, 0o600); err != nil { // the new key is still to come
		t.Fatal(err)
	}
	for range 3 {
		age(w)
		if w.current() != first {
			t.Error("a certificate without its key is in force")
		}
	}
	if len(faults) != 1 || !strings.Contains(faults[0], files.Cert) {
		t.Errorf("faults: %q", faults)
	}
	if err := os.WriteFile(files.Key, second, 0o600); err != nil {
		t.Fatal(err)
	}
	age(w)
	if w.current() == first {
		t.Error("the renewal is whole and not in force")
	}
}

func TestClientChecks(t *testing.T) {
	ca, other := certs.New(t, "ca"), certs.New(t, "other")
	files := issue(ca, t.TempDir(), "server.test")
	files.CA = ""
	config, err := Server(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, config)
	caFile := Files{CA: filepath.Join(filepath.Dir(files.Cert), "ca.crt")}
	for _, c := range []struct {
		name, server string
		files        Files
		ok           bool
	}{
		{"by address", "", caFile, true},
		{"by name", "server.test", caFile, true},
		{"wrong name", "else.test", caFile, false},
		{"wrong authority", "", Files{CA: issue(other, t.TempDir(), "x").CA}, false},
		{"no authority", "", Files{}, false},
	} {
		client, err := NewClient(c.files, c.server, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := try(client, addr); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestFaults(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []Files{{}, {Cert: "a"}, {Key: "a"}, {Cert: empty, Key: empty}, {Cert: "missing", Key: "missing"}} {
		if _, err := Server(f, nil); err == nil {
			t.Errorf("%+v makes a listener", f)
		}
	}
	for _, f := range []Files{{Key: "a"}, {CA: empty}, {CA: "missing"}} {
		if _, err := NewClient(f, "", nil); err == nil {
			t.Errorf("%+v makes a client", f)
		}
	}
}
