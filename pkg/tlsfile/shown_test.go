package tlsfile

import (
	"crypto/tls"
	"errors"
	"testing"

	"evenkeel/internal/testkit/certs"
)

// TestShown: what a listener shows is told, also after a renewal, whichever way its
// configuration has it.
func TestShown(t *testing.T) {
	ca, dir := certs.New(t, "ca"), t.TempDir()
	f := issue(ca, dir, "first")
	w, err := newWatcher(f, listening, nil)
	if err != nil {
		t.Fatal(err)
	}
	config := serving(w)
	named := func(want string) {
		t.Helper()
		if cert, err := Shown(config); err != nil || cert.Subject.CommonName != want {
			t.Errorf("%+v, %v, want %s", cert, err, want)
		}
	}
	named("first")
	issue(ca, dir, "second")
	age(w)
	named("second")

	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	pair.Leaf = nil
	config = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	named("second")
	none := errors.New("none yet")
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, none }
	if _, err := Shown(config); !errors.Is(err, none) {
		t.Errorf("error %v", err)
	}
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return &tls.Config{MinVersion: tls.VersionTLS12}, nil }
	if cert, err := Shown(config); err == nil {
		t.Errorf("%v of a configuration without", cert.Subject)
	}
}
