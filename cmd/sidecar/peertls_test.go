package main

import (
	"bytes"
	"strings"
	"testing"

	"evenkeel/internal/testkit/certs"
)

// secured starts a server that speaks TLS with certificates on both sides.
func secured(t *testing.T, a *certs.Authority, name string) (*process, certs.Files) {
	t.Helper()
	f := a.Issue(t.TempDir(), name)
	return start(t, "--tls-cert", f.Cert, "--tls-key", f.Key, "--tls-client-ca", f.CA), f
}

// TestVerifyTLS: `sidecar verify` reaches servers that speak TLS, each signed by
// somebody else, and says what is wrong with certificates.
func TestVerifyTLS(t *testing.T) {
	one, two := certs.New(t, "one"), certs.New(t, "two")
	a, filesA := secured(t, one, "leader.test")
	plain := start(t)
	fill(t, plain.client, "SET fleet truck1 POINT 33 -115")

	args := []string{"--leader", plain.client, "--follower", a.client, "--follower-tls", "--follower-tls-ca", filesA.CA, "--tls-cert", filesA.Cert, "--tls-key", filesA.Key}
	code, out := verifyServers(t, append(args, "--repair", "--follower-tls-name", "leader.test")...)
	if code != 0 || !strings.Contains(out, "EQUAL") {
		t.Fatalf("status %d:\n%s", code, out)
	}
	if code, out := verifyServers(t, args...); code != 0 || !strings.Contains(out, "compared 1 objects") {
		t.Errorf("status %d:\n%s", code, out)
	}
	b, filesB := secured(t, one, "second.test")
	both := []string{"--leader", a.client, "--leader-tls", "--leader-tls-ca", filesA.CA, "--follower", b.client, "--follower-tls", "--follower-tls-ca", filesB.CA}
	shown := []string{"--tls-cert", filesB.Cert, "--tls-key", filesB.Key}
	if code, out := verifyServers(t, append(both, shown...)...); code != exitDiffers || !strings.Contains(out, "1 DIFFER") {
		t.Errorf("status %d:\n%s", code, out)
	}
	stranger := two.Issue(t.TempDir(), "stranger")
	for want, args := range map[string][]string{
		"certificate":       both, // none is shown
		"unknown authority": append(append(both, shown...), "--leader-tls-ca", stranger.CA),
		"other.test":        append(append(both, shown...), "--leader-tls-name", "other.test"),
		"--follower-tls-ca, --follower-tls-name: give --follower-tls as well": {"--leader", a.client, "--follower", b.client, "--follower-tls-ca", filesB.CA},
		"--tls-cert, --tls-key: ": append(both, "--tls-cert", filesB.Cert),
		"--leader-tls: ":          append(append(both, shown...), "--leader-tls-ca", "/nothing/there"),
	} {
		if code, out := verifyServers(t, args...); code != exitNotCompared || !strings.Contains(out, want) {
			t.Errorf("want %q; status %d:\n%s", want, code, out)
		}
	}
}

// TestSpikeTLS: `sidecar spike` measures servers that speak TLS.
func TestSpikeTLS(t *testing.T) {
	ca := certs.New(t, "ca")
	a, f := secured(t, ca, "leader.test")
	spike := func(args ...string) (string, error) {
		var out bytes.Buffer
		cmd := root()
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(append([]string{"spike", "--leader", a.client, "--points", "200", "--rounds", "2", "--rate", "100", "--phase", "1s"}, args...))
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	out, err := spike("--leader-tls", "--leader-tls-ca", f.CA, "--leader-tls-name", "leader.test", "--tls-cert", f.Cert, "--tls-key", f.Key)
	if err != nil || !strings.Contains(out, "leader") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := spike("--leader-tls", "--leader-tls-ca", f.CA); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without a certificate: %v\n%s", err, out)
	}
	if _, err := spike("--leader-tls-name", "x"); err == nil || !strings.Contains(err.Error(), "give --leader-tls as well") {
		t.Errorf("%v", err)
	}
}
