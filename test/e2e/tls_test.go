package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"evenkeel/internal/testkit"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	dir  string
	file string // its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.file, _ = a.sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign makes a certificate and its key, as files.
func (a *authority) sign(name string, c *x509.Certificate) (cert, key string) {
	a.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if a.key == nil {
		a.cert, a.key = c, k
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &k.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key
}

// flags makes a certificate for 127.0.0.1 and returns the flags of a pod that shows
// it to clients, and to its leader, and wants one from both.
func (a *authority) flags(name string) []string {
	cert, key := a.sign(name, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return []string{"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", a.file}
}

// client is one with a certificate; without name it has none.
func (a *authority) client(addr, name string) *redis.Client {
	a.t.Helper()
	pool := x509.NewCertPool()
	raw, err := os.ReadFile(a.file)
	if err != nil || !pool.AppendCertsFromPEM(raw) {
		a.t.Fatal(err)
	}
	c := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if name != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key"))
		if err != nil {
			a.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	rdb := redis.NewClient(&redis.Options{Addr: addr, TLSConfig: c, Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	a.t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// TestTLS: clients and followers of both engines speak TLS with certificates on both
// sides; whoever has none is turned away.
func TestTLS(t *testing.T) {
	for _, engine := range []string{"embedded", "tile38"} {
		t.Run(engine, func(t *testing.T) {
			a := newAuthority(t)
			args := func(name string, more ...string) []string {
				all := append(a.flags(name), more...)
				if engine == "tile38" {
					m := testkit.NewServer(t, testkit.ServerOptions{})
					all = append(all, "--engine", "tile38", "--engine-addr", m.Address(), "--engine-dir", filepath.Dir(m.File()))
				}
				return all
			}
			l := start(t, t.TempDir(), args("leader")...)
			l.waitFor("readiness", l.ready)
			rdb := a.client(l.addr, "leader")
			if err := rdb.Do(t.Context(), "SET", "fleet", "a", "POINT", 1, 2).Err(); err != nil {
				t.Fatal(err)
			}
			f := start(t, t.TempDir(), args("follower", "--follow", l.addr, "--leader-tls", "--leader-tls-ca", a.file)...)
			f.waitFor("readiness", f.ready)
			own := a.client(f.addr, "follower")
			f.waitFor("the object", func() bool { return own.Do(context.Background(), "GET", "fleet", "a").Err() == nil })
			if err := a.client(l.addr, "").Do(t.Context(), "PING").Err(); err == nil || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("a client without certificate: %v", err)
			}
			if err := l.rdb.Do(t.Context(), "PING").Err(); err == nil {
				t.Error("a client without TLS was served")
			}
			g := launch(t, t.TempDir(), args("stranger", "--follow", l.addr)...)
			g.waitFor("a banner", func() bool { return g.addr != "" })
			g.waitFor("an attempt to follow that failed", func() bool {
				return strings.Contains(g.log.String(), ": lost") || strings.Contains(g.log.String(), "the leader's connection has ended")
			})
			if g.ready() {
				t.Error("a follower without TLS is ready")
			}
		})
	}
}
