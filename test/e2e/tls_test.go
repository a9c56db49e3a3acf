package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"evenkeel/internal/testkit"
	"evenkeel/internal/testkit/certs"
)

// authority issues certificates by name.
type authority struct {
	*certs.Authority
	t      *testing.T
	file   string // its own certificate
	issued map[string]certs.Files
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{Authority: certs.New(t, "ca"), t: t, issued: map[string]certs.Files{}}
	a.file = a.files("ca user").CA
	return a
}

// files are those of a certificate for 127.0.0.1.
func (a *authority) files(name string) certs.Files {
	if _, ok := a.issued[name]; !ok {
		a.issued[name] = a.Issue(a.t.TempDir(), name)
	}
	return a.issued[name]
}

// flags returns those of a pod that shows a certificate to clients, and to its
// leader, and wants one from both.
func (a *authority) flags(name string) []string {
	f := a.files(name)
	return []string{"--tls-cert", f.Cert, "--tls-key", f.Key, "--tls-client-ca", f.CA}
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
		pair, err := tls.LoadX509KeyPair(a.files(name).Cert, a.files(name).Key)
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
			for range 3 {
				if err := own.Do(t.Context(), "SET", "fleet", "b", "POINT", 1, 2).Err(); err != nil {
					t.Errorf("a write through the follower: %v", err)
				}
			}
			if n := f.metric(`evenkeel_upstream_dials_total{result="ok"}`); n < 1 || n > 5 || engine == "embedded" && n != 1 {
				t.Errorf("%v connections to the leader for one client", n)
			}
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
