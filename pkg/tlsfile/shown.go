package tlsfile

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// Shown returns the certificate that a listener's configuration shows now, to a client
// that asks for nothing in particular.
func Shown(c *tls.Config) (*x509.Certificate, error) {
	hello := &tls.ClientHelloInfo{}
	if c.GetConfigForClient != nil {
		now, err := c.GetConfigForClient(hello)
		if err != nil {
			return nil, err
		}
		if now != nil {
			c = now
		}
	}
	var pair *tls.Certificate
	switch {
	case c.GetCertificate != nil:
		var err error
		if pair, err = c.GetCertificate(hello); err != nil {
			return nil, err
		}
	case len(c.Certificates) > 0:
		pair = &c.Certificates[0]
	}
	switch {
	case pair == nil || len(pair.Certificate) == 0:
		return nil, errors.New("no certificate")
	case pair.Leaf != nil:
		return pair.Leaf, nil
	}
	return x509.ParseCertificate(pair.Certificate[0])
}
