package tlsfile

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// Every is how often files are looked at, at most.
const Every = time.Second

// Files are names of PEM files; "" means none.
type Files struct {
	Cert, Key string // a certificate with its chain, and its key: both or none
	CA        string // certificates of those who sign the other side's
}

// Validate reports every fault that shows without reading the files.
func (f Files) Validate() error {
	if (f.Cert == "") != (f.Key == "") {
		return errors.New("a certificate and a key belong together: give both or none")
	}
	return nil
}

// load reads all files.
func (f Files) load() (certs []tls.Certificate, ca *x509.CertPool, err error) {
	if f.Cert != "" {
		cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, nil, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
		}
		certs = []tls.Certificate{cert}
	}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, nil, err // names the file
		}
		ca = x509.NewCertPool()
		if !ca.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("%s holds no certificate", f.CA)
		}
	}
	return certs, ca, nil
}

// look describes the files as they are now. Two that are alike were not changed
// between.
func (f Files) look() []os.FileInfo {
	var infos []os.FileInfo
	for _, name := range []string{f.Cert, f.Key, f.CA} {
		var info os.FileInfo
		if name != "" {
			info, _ = os.Stat(name) // what is wrong shows when it is read
		}
		infos = append(infos, info)
	}
	return infos
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// watcher keeps the configuration of some files.
type watcher struct {
	files   Files
	make    func(certs []tls.Certificate, ca *x509.CertPool) *tls.Config
	onError func(error)
	now     func() time.Time

	mu     sync.Mutex
	config *tls.Config
	seen   []os.FileInfo
	looked time.Time
}

func newWatcher(f Files, build func([]tls.Certificate, *x509.CertPool) *tls.Config, onError func(error)) (*watcher, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	if onError == nil {
		onError = func(error) {}
	}
	w := &watcher{files: f, make: build, onError: onError, now: time.Now}
	w.seen, w.looked = f.look(), w.now()
	certs, ca, err := f.load()
	if err != nil {
		return nil, err
	}
	w.config = build(certs, ca)
	return w, nil
}

// current returns the configuration, from files that have changed if they have.
func (w *watcher) current() *tls.Config {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if now.Sub(w.looked) < Every {
		return w.config
	}
	w.looked = now
	// What changes while it is read is looked at again the next time.
	seen := w.files.look()
	if slices.EqualFunc(seen, w.seen, same) {
		return w.config
	}
	w.seen = seen
	certs, ca, err := w.files.load()
	if err != nil {
		w.onError(fmt.Errorf("TLS files have changed and cannot be used; the old ones stay in force: %w", err))
		return w.config
	}
	w.config = w.make(certs, ca)
	return w.config
}
