package tlsfile

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// Server returns the configuration of a listener: f.Cert and f.Key are its own,
// and with f.CA clients must have a certificate that it has signed. onError, which
// may be nil, is told when changed files cannot be used.
func Server(f Files, onError func(error)) (*tls.Config, error) {
	if f.Cert == "" {
		return nil, errors.New("TLS for a listener: no certificate")
	}
	w, err := newWatcher(f, listening, onError)
	if err != nil {
		return nil, fmt.Errorf("TLS for a listener: %w", err)
	}
	return serving(w), nil
}

// listening is a listener's configuration of the moment.
func listening(certs []tls.Certificate, ca *x509.CertPool) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: certs}
	if ca != nil {
		c.ClientCAs, c.ClientAuth = ca, tls.RequireAndVerifyClientCert
	}
	return c
}

// serving is one for all time.
func serving(w *watcher) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return w.current(), nil },
	}
}

// Client dials servers over TLS.
type Client struct {
	w    *watcher
	name string
}

// NewClient makes a Client: f.CA signs servers (none: those that the system
// trusts), f.Cert and f.Key are shown to a server that asks. serverName is what
// certificates are to name; "" is the host that is dialled.
func NewClient(f Files, serverName string, onError func(error)) (*Client, error) {
	w, err := newWatcher(f, func(certs []tls.Certificate, ca *x509.CertPool) *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: certs, RootCAs: ca}
	}, onError)
	if err != nil {
		return nil, fmt.Errorf("TLS for a client: %w", err)
	}
	return &Client{w: w, name: serverName}, nil
}

// Dial connects to addr, host:port over TCP, and does the handshake.
func (c *Client) Dial(ctx context.Context, addr string) (net.Conn, error) {
	config := c.w.current().Clone()
	config.ServerName = c.name
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		config.ServerName = host
	}
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
}
