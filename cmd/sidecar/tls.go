package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/pflag"

	"evenkeel/pkg/metrics"
	"evenkeel/pkg/tlsfile"
)

// tlsConfig is what the flags say about TLS: towards clients, and towards the
// leader, whose client port is what a follower connects to.
type tlsConfig struct {
	own        tlsfile.Files // certificate and key; CA is that of clients
	leader     bool
	leaderCA   string
	leaderName string
}

func (t *tlsConfig) flags(f *pflag.FlagSet) {
	f.StringVar(&t.own.Cert, "tls-cert", "", "file with the certificate for clients, and its chain: --listen speaks TLS then; it is read again when it changes")
	f.StringVar(&t.own.Key, "tls-key", "", "file with its key")
	f.StringVar(&t.own.CA, "tls-client-ca", "", "file with the certificates of those who sign clients': clients without one are turned away")
	f.BoolVar(&t.leader, "leader-tls", false, "the leader speaks TLS; --tls-cert is shown to it if it asks")
	f.StringVar(&t.leaderCA, "leader-tls-ca", "", "file with the certificates of those who sign the leader's; without, those that the system trusts")
	f.StringVar(&t.leaderName, "leader-tls-name", "", "what the leader's certificate must name; without, the host of --follow")
}

// peerTLS is what the flags say about TLS towards a server that is asked; shown is what
// is shown to those that ask.
type peerTLS struct {
	role     string // "leader" or "follower"
	on       bool
	ca, name string
	shown    *tlsfile.Files
}

// peersFlags are the flags for a leader and a follower that are asked.
func peersFlags(f *pflag.FlagSet, shown *tlsfile.Files) (leader, follower *peerTLS) {
	f.StringVar(&shown.Cert, "tls-cert", "", "file with the certificate that is shown to servers which ask for one, and its chain")
	f.StringVar(&shown.Key, "tls-key", "", "file with its key")
	leader, follower = &peerTLS{role: "leader", shown: shown}, &peerTLS{role: "follower", shown: shown}
	for _, p := range []*peerTLS{leader, follower} {
		f.BoolVar(&p.on, p.role+"-tls", false, "the "+p.role+" speaks TLS; --tls-cert is shown to it if it asks")
		f.StringVar(&p.ca, p.role+"-tls-ca", "", "file with the certificates of those who sign the "+p.role+"'s; without, those that the system trusts")
		f.StringVar(&p.name, p.role+"-tls-name", "", "what the "+p.role+"'s certificate must name; without, the host of --"+p.role)
	}
	return leader, follower
}

// dialer returns how the server is connected to; nil: over TCP as it is.
func (p *peerTLS) dialer() (func(ctx context.Context, addr string) (net.Conn, error), error) {
	if err := p.shown.Validate(); err != nil {
		return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	if !p.on {
		if p.ca != "" || p.name != "" {
			return nil, fmt.Errorf("--%s-tls-ca, --%s-tls-name: give --%s-tls as well", p.role, p.role, p.role)
		}
		return nil, nil
	}
	c, err := tlsfile.NewClient(tlsfile.Files{Cert: p.shown.Cert, Key: p.shown.Key, CA: p.ca}, p.name, func(error) {})
	if err != nil {
		return nil, fmt.Errorf("--%s-tls: %w", p.role, err)
	}
	return c.Dial, nil
}

func (t *tlsConfig) check() (faults []error) {
	if err := t.own.Validate(); err != nil {
		faults = append(faults, fmt.Errorf("--tls-cert, --tls-key: %w", err))
	}
	if t.own.CA != "" && t.own.Cert == "" {
		faults = append(faults, errors.New("--tls-client-ca: clients are asked for certificates over TLS only: give --tls-cert and --tls-key"))
	}
	if !t.leader && (t.leaderCA != "" || t.leaderName != "") {
		faults = append(faults, errors.New("--leader-tls-ca, --leader-tls-name: give --leader-tls as well"))
	}
	return faults
}

// secure lets the clients' listener speak TLS, if a certificate is given.
func (s *shell) secure() error {
	t := &s.cfg.tls
	if t.own.Cert == "" {
		return nil
	}
	c, err := tlsfile.Server(t.own, s.badFiles)
	if err != nil {
		return fmt.Errorf("--tls-cert: %w", err)
	}
	s.listeners.client, s.secured = tls.NewListener(s.listeners.client, c), c
	return nil
}

// certificateSource is what the clients' listener shows; nil without TLS.
func (s *shell) certificateSource() func() metrics.Certificate {
	if s.secured == nil {
		return nil
	}
	return func() metrics.Certificate { return shownCertificate(s.secured) }
}

// shownCertificate is how long what a listener shows is valid.
func shownCertificate(c *tls.Config) metrics.Certificate {
	cert, err := tlsfile.Shown(c)
	if err != nil {
		return metrics.Certificate{} // there is none yet
	}
	return metrics.Certificate{NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}
}

// leaderDial returns how leaders are connected to; nil: over TCP as it is.
func (s *shell) leaderDial() (func(ctx context.Context, addr string) (net.Conn, error), error) {
	t := &s.cfg.tls
	if !t.leader {
		return nil, nil
	}
	c, err := tlsfile.NewClient(tlsfile.Files{Cert: t.own.Cert, Key: t.own.Key, CA: t.leaderCA}, t.leaderName, s.badFiles)
	if err != nil {
		return nil, fmt.Errorf("--leader-tls: %w", err)
	}
	return c.Dial, nil
}

func (s *shell) badFiles(err error) {
	s.logger.Error("certificates could not be renewed; those before stay in force", "err", err)
}
