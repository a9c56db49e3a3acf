package webhook

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// Keys of what a Store keeps, PEM each.
const (
	keyCert  = "tls.crt"
	keyKey   = "tls.key"
	keyCA    = "ca.crt" // all authorities that are trusted, the one that signs first
	keyCAKey = "ca.key"
)

// skew is how far a clock may be behind ours.
const skew = time.Hour

// signed is a certificate and its key.
type signed struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// set is all that a Store keeps.
type set struct {
	ca     *signed // nil: none that can be used
	before []*x509.Certificate
	leaf   *signed
}

// parseSet takes what is whole; the rest is made anew.
func parseSet(data map[string][]byte) (s set) {
	cas := certificates(data[keyCA])
	if len(cas) > 0 {
		s.ca, s.before = pair(cas[0], data[keyCAKey]), cas[1:]
		if s.ca == nil {
			s.before = cas // it signs nothing more, but what it has signed is shown
		}
	}
	if leafs := certificates(data[keyCert]); len(leafs) > 0 {
		s.leaf = pair(leafs[0], data[keyKey])
	}
	return s
}

func certificates(text []byte) (all []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
}

// pair is nil unless the key is the certificate's.
func pair(cert *x509.Certificate, key []byte) *signed {
	block, _ := pem.Decode(key)
	if block == nil {
		return nil
	}
	k, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil || !k.PublicKey.Equal(cert.PublicKey) {
		return nil
	}
	return &signed{cert, k}
}

// data is what a Store keeps.
func (s *set) data() (map[string][]byte, error) {
	out := map[string][]byte{keyCA: s.trusted(), keyCert: encode("CERTIFICATE", s.leaf.cert.Raw)}
	for name, key := range map[string]*ecdsa.PrivateKey{keyCAKey: s.ca.key, keyKey: s.leaf.key} {
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return nil, err
		}
		out[name] = encode("EC PRIVATE KEY", der)
	}
	return out, nil
}

// trusted are the authorities, PEM.
func (s *set) trusted() []byte {
	var b bytes.Buffer
	for _, c := range append([]*x509.Certificate{s.ca.cert}, s.before...) {
		b.Write(encode("CERTIFICATE", c.Raw))
	}
	return b.Bytes()
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// certificate is what is shown.
func (s *set) certificate() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{s.leaf.cert.Raw}, PrivateKey: s.leaf.key, Leaf: s.leaf.cert}
}

// renew makes anew what is missing, wrong, or over soon; it says whether there was
// anything.
func (s *set) renew(now time.Time, names []string, caFor, leafFor time.Duration) (changed bool, err error) {
	kept := slices.DeleteFunc(slices.Clone(s.before), func(c *x509.Certificate) bool { return now.After(c.NotAfter) })
	changed = len(kept) != len(s.before)
	s.before = kept
	// What an authority signs must not outlive it.
	if s.ca == nil || now.Add(2*leafFor).After(s.ca.cert.NotAfter) || now.Before(s.ca.cert.NotBefore) {
		if s.ca != nil && now.Before(s.ca.cert.NotAfter) {
			s.before = append([]*x509.Certificate{s.ca.cert}, s.before...)
		}
		s.ca, err = sign(nil, now, caFor, []string{"evenkeel-injector-ca"})
		if err != nil {
			return false, err
		}
		s.leaf, changed = nil, true
	}
	if s.leaf == nil || !s.fits(now, names, leafFor) {
		if s.leaf, err = sign(s.ca, now, leafFor, names); err != nil {
			return false, err
		}
		changed = true
	}
	return changed, nil
}

// fits: the leaf is for these names, by this authority, and a third of its time is
// left.
func (s *set) fits(now time.Time, names []string, leafFor time.Duration) bool {
	c := s.leaf.cert
	return slices.Equal(c.DNSNames, names) && c.CheckSignatureFrom(s.ca.cert) == nil &&
		!now.Before(c.NotBefore) && now.Add(leafFor/3).Before(c.NotAfter)
}

// sign makes a certificate for names; without an authority one that signs itself.
func sign(ca *signed, now time.Time, valid time.Duration, names []string) (*signed, error) {
	if len(names) == 0 {
		return nil, errors.New("a certificate for no name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: commonName(names[0])}, NotBefore: now.Add(-skew), NotAfter: now.Add(valid),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	parent, signer := c, key
	if ca == nil {
		c.IsCA, c.MaxPathLenZero, c.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		c.DNSNames, c.ExtKeyUsage = names, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %s: %w", names[0], err)
	}
	cert, err := x509.ParseCertificate(der)
	return &signed{cert, key}, err
}

// commonName has at most 64 characters.
func commonName(name string) string { return name[:min(len(name), 64)] }
