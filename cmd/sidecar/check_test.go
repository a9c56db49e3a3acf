package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// checks runs `sidecar check`.
func checks(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append([]string{"check"}, args...))
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// passwordFile has the password in a file.
func passwordFile(t *testing.T, password string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestCheck: a leader and its follower that have the password from a file, and no
// trace of what was written.
func TestCheck(t *testing.T) {
	file := passwordFile(t, "hush")
	leader := start(t, "--requirepass-file", file)
	follower := start(t, "--requirepass-file", file, "--leaderauth-file", file, "--follow", leader.client)
	out, err := checks(t, "--leader", leader.client, "--read", follower.client, "--read", leader.client, "--password-file", file)
	if err != nil || strings.Count(out, ": ok, ") != 3 || !strings.Contains(out, "SET, GET, NEARBY: ok") {
		t.Errorf("%v\n%s", err, out)
	}
	if lines, _ := leader.talk("AUTH hush\r\nKEYS *\r\n", 2); lines[1] != "*0" {
		t.Errorf("what was left behind: %q", lines)
	}
	t.Setenv("EVENKEEL_PASSWORD", "hush")
	out, err = checks(t, "--leader", leader.client, "--json")
	var answer struct {
		OK      bool
		Servers []checked
	}
	if jerr := json.Unmarshal([]byte(out), &answer); err != nil || jerr != nil || !answer.OK || len(answer.Servers) != 1 || answer.Servers[0].Role != "leader" {
		t.Errorf("%v, %v\n%s", err, jerr, out)
	}
	t.Setenv("EVENKEEL_PASSWORD", "")
	if _, err := checks(t, "--leader", leader.client, "--timeout", "100ms"); err == nil || !strings.Contains(err.Error(), leader.client) || !strings.Contains(err.Error(), "authentication required") {
		t.Errorf("without a password: %v", err)
	}
}

// TestCheckFails: an address that takes no writes, one that has other data, one
// that does not answer.
func TestCheckFails(t *testing.T) {
	leader, other := start(t), start(t)
	follower := start(t, "--follow", leader.client, "--write-forwarding=false")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := ln.Addr().String()
	_ = ln.Close()
	for _, tt := range []struct {
		want string
		args []string
	}{
		{follower.client + ": SET: ", []string{"--leader", follower.client}},
		{other.client + ": GET: ", []string{"--leader", leader.client, "--read", other.client}},
		{gone, []string{"--leader", gone}},
	} {
		if out, err := checks(t, append(tt.args, "--timeout", "300ms")...); err == nil || !strings.Contains(err.Error(), tt.want) || out != "" {
			t.Errorf("%v: %v, want %q in it\n%s", tt.args, err, tt.want, out)
		}
	}
	for want, args := range map[string][]string{
		"--leader is missing":                  {},
		`--leader "host": want HOST:PORT`:      {"--leader", "host"},
		`--read ":1": want HOST:PORT`:          {"--leader", "a:1", "--read", ":1"},
		`--key "": want a name`:                {"--leader", "a:1", "--key", ""},
		"--timeout 0s: want more than 0":       {"--leader", "a:1", "--timeout", "0s"},
		"--password-file: open /nothing/there": {"--leader", "a:1", "--password-file", "/nothing/there"},
		"give --tls as well":                   {"--leader", "a:1", "--tls-name", "x"},
		"--tls-cert, --tls-key: ":              {"--leader", "a:1", "--tls", "--tls-cert", "x"},
		"--tls: ":                              {"--leader", "a:1", "--tls", "--tls-ca", "/nothing/there"},
	} {
		if _, err := checks(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", args, err, want)
		}
	}
}

// TestCheckOverTLS: with the certificate's authority and name it works, without it
// does not.
func TestCheckOverTLS(t *testing.T) {
	cert, key := selfSigned(t, "evenkeel-leader")
	leader := start(t, "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", cert)
	args := []string{"--leader", leader.client, "--tls", "--tls-ca", cert, "--timeout", "500ms"}
	own := []string{"--tls-cert", cert, "--tls-key", key}
	if out, err := checks(t, append(append(args, own...), "--tls-name", "evenkeel-leader")...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := checks(t, append(append(args, own...), "--tls-name", "other")...); err == nil || !strings.Contains(err.Error(), "other") {
		t.Errorf("another name: %v", err)
	}
	if _, err := checks(t, append(args, "--tls-name", "evenkeel-leader")...); err == nil {
		t.Error("no certificate is shown, and it works")
	}
}

// selfSigned makes a certificate that signs itself.
func selfSigned(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
}
