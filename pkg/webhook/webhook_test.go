package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"evenkeel/pkg/inject"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// shared is a Store as a Secret is one.
type shared struct {
	mu      sync.Mutex
	data    map[string][]byte
	version int
	trusted []byte
	saves   int
	before  func()                   // called before each Save
	onTrust func(authorities []byte) // … each Trust
	broken  error
}

func (s *shared) Load(context.Context) (map[string][]byte, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.data), fmt.Sprint(s.version), s.broken
}

func (s *shared) Save(_ context.Context, data map[string][]byte, version string) error {
	if s.before != nil {
		s.before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if version != fmt.Sprint(s.version) {
		return ErrConflict
	}
	s.data, s.version, s.saves = data, s.version+1, s.saves+1
	return nil
}

func (s *shared) Trust(_ context.Context, authorities []byte) error {
	if s.onTrust != nil {
		s.onTrust(authorities)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trusted = authorities
	return nil
}

const host = "injector.shop.svc"

// replica is one process with a clock of its own.
type replica struct {
	*Rotator
	now time.Time
}

func newReplica(t *testing.T, s Store, now time.Time) *replica {
	t.Helper()
	r := &replica{now: now}
	var err error
	r.Rotator, err = NewRotator(RotateOptions{Store: s, Names: []string{host}, Now: func() time.Time { return r.now }, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *replica) step(t *testing.T) {
	t.Helper()
	if err := r.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// trusts says whether a client that trusts authorities takes what r shows.
func (r *replica) trusts(authorities []byte) error {
	shown, err := r.Config().GetCertificate(nil)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authorities)
	_, err = shown.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: host, CurrentTime: r.now})
	return err
}

// TestRotation over twelve years, two replicas, a look a week: what either shows is
// trusted at every moment, and nothing is written but what must be.
func TestRotation(t *testing.T) {
	s := &shared{}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a, b := newReplica(t, s, start), newReplica(t, s, start)
	if ok, why := a.Ready(); ok || len(why) != 1 {
		t.Errorf("ready without a certificate: %q", why)
	}
	if err := a.trusts(nil); err == nil {
		t.Error("it shows a certificate that it does not have")
	}
	shown := map[string]bool{}
	s.onTrust = func(authorities []byte) {
		for _, r := range []*replica{a, b} { // those that show one show it on
			if _, err := r.Config().GetCertificate(nil); err == nil {
				if err := r.trusts(authorities); err != nil {
					t.Errorf("%s: what is shown is not trusted any more: %v", r.now, err)
				}
			}
		}
	}
	for week := range 12 * 52 {
		now := start.Add(time.Duration(week) * 7 * 24 * time.Hour)
		a.now, b.now = now, now
		first, second := a, b
		if week%2 == 1 {
			first, second = b, a
		}
		first.step(t)
		if week > 0 {
			if err := second.trusts(s.trusted); err != nil {
				t.Fatalf("week %d: the replica that has not looked yet: %v", week, err)
			}
		}
		second.step(t)
		for _, r := range []*replica{a, b} {
			if err := r.trusts(s.trusted); err != nil {
				t.Fatalf("week %d: %v", week, err)
			}
			if ok, why := r.Ready(); !ok {
				t.Fatalf("week %d: %q", week, why)
			}
		}
		shown[string(a.shown.Certificate[0])] = true
	}
	// A leaf lives 60 days of its 90: 73 in twelve years, and as many writes, one of
	// them with a new authority, and one to forget the old one.
	if s.saves < 60 || s.saves > 80 || len(shown) < 60 {
		t.Errorf("%d writes, %d certificates", s.saves, len(shown))
	}
	if n := len(certificates(s.trusted)); n != 1 {
		t.Errorf("%d authorities are trusted at the end", n)
	}
}

// TestRace: two replicas that begin at once agree; who loses takes what the winner
// wrote.
func TestRace(t *testing.T) {
	s := &shared{}
	a, b := newReplica(t, s, time.Now()), newReplica(t, s, time.Now())
	s.before = sync.OnceFunc(func() { // a has judged; b is faster
		s.before = nil
		b.step(t)
	})
	a.step(t)
	if s.saves != 1 || !bytes.Equal(a.shown.Certificate[0], b.shown.Certificate[0]) {
		t.Errorf("%d writes, and equal certificates: %v", s.saves, bytes.Equal(a.shown.Certificate[0], b.shown.Certificate[0]))
	}
	s.data = nil
	s.before = func() { s.mu.Lock(); s.version++; s.mu.Unlock() }
	if err := a.Step(t.Context()); !errors.Is(err, ErrConflict) {
		t.Errorf("one that never wins: %v", err)
	}
	s.before, s.broken = nil, errors.New("no API server")
	if err := a.Step(t.Context()); !errors.Is(err, s.broken) {
		t.Errorf("%v", err)
	}
	if ok, why := a.Ready(); !ok {
		t.Errorf("its certificate is good still: %q", why)
	}
	a.now = a.now.Add(91 * 24 * time.Hour)
	if ok, _ := a.Ready(); ok {
		t.Error("its certificate is over")
	}
}

// TestRepair: what somebody has broken in the Secret is made anew, and nothing that
// is whole.
func TestRepair(t *testing.T) {
	for _, tt := range []struct {
		name      string
		spoil     func(map[string][]byte)
		authority bool // is a new one
		leaf      bool
	}{
		{"whole", func(map[string][]byte) {}, false, false},
		{"no leaf", func(d map[string][]byte) { delete(d, keyCert) }, false, true},
		{"another key", func(d map[string][]byte) { d[keyKey] = d[keyCAKey] }, false, true},
		{"no key of the authority", func(d map[string][]byte) { d[keyCAKey] = []byte("x") }, true, true},
		{"no authority", func(d map[string][]byte) { delete(d, keyCA) }, true, true},
		{"nothing", func(d map[string][]byte) { clear(d) }, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &shared{}
			r := newReplica(t, s, time.Now())
			r.step(t)
			was := maps.Clone(s.data)
			tt.spoil(s.data)
			r.step(t)
			if got := !bytes.HasPrefix(s.data[keyCA], was[keyCA]); got != tt.authority {
				t.Errorf("a new authority: %v", got)
			}
			if got := !bytes.Equal(s.data[keyCert], was[keyCert]); got != tt.leaf {
				t.Errorf("a new leaf: %v", got)
			}
			if err := r.trusts(s.trusted); err != nil {
				t.Error(err)
			}
		})
	}
	s := &shared{}
	newReplica(t, s, time.Now()).step(t)
	other := newReplica(t, s, time.Now())
	other.opt.Names = []string{"new." + host}
	other.step(t)
	if got := other.shown.Leaf.DNSNames; len(got) != 1 || got[0] != "new."+host {
		t.Errorf("another name: the certificate is for %v", got)
	}
}

// TestFailing: a store that breaks is told, and the certificate stays.
func TestFailing(t *testing.T) {
	s := &shared{}
	r := newReplica(t, s, time.Now())
	r.step(t)
	s.broken = errors.New("no such Secret")
	if err := r.Step(t.Context()); !errors.Is(err, s.broken) || !r.Failing() {
		t.Errorf("error %v, failing: %v", err, r.Failing())
	}
	if ok, why := r.Ready(); !ok {
		t.Errorf("not ready: %q", why)
	}
	s.broken = nil
	r.step(t)
	if r.Failing() {
		t.Error("still failing")
	}
}

func TestRotateOptions(t *testing.T) {
	for want, o := range map[string]RotateOptions{
		"no store": {Names: []string{host}}, "no names": {Store: &shared{}},
		"four times": {Store: &shared{}, Names: []string{host}, Authority: time.Hour, Leaf: time.Hour},
		"every -1s":  {Store: &shared{}, Names: []string{host}, Every: -time.Second},
	} {
		if _, err := NewRotator(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestServe: an API server's request over TLS, from the very first one on, with a
// client that trusts the authority which the Rotator has published.
func TestServe(t *testing.T) {
	s := &shared{}
	r, err := NewRotator(RotateOptions{Store: s, Names: []string{host}, Every: time.Hour, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	if err := r.Step(ctx); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.trusted)
	go func() { ended <- r.Run(ctx) }()
	o := inject.Options{Settings: inject.Settings{Image: "sidecar:1", Native: true}}
	injector := NewInjector(o, quiet)
	go func() { ended <- Serve(ctx, ln, r.Config(), injector.Handler(), quiet) }()
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS13},
	}}
	post := func(kind, body string) (int, string) {
		t.Helper()
		resp, err := client.Post("https://"+ln.Addr().String()+"/inject", kind, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	ask := func(operation, kind, object string) *response {
		t.Helper()
		body := fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","kind":{"group":"","version":"v1","kind":%q},"operation":%q,"namespace":"shop","object":%s}}`, kind, operation, object)
		code, text := post("application/json; charset=utf-8", body)
		var out review
		if err := json.Unmarshal([]byte(text), &out); err != nil || code != 200 || out.APIVersion != reviewVersion || out.Kind != reviewKind || out.Response == nil {
			t.Fatalf("%d %s, %v", code, text, err)
		}
		if out.Response.UID != "u-1" || !out.Response.Allowed {
			t.Errorf("%s", text)
		}
		return out.Response
	}
	pod := `{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"geo-"},"spec":{"containers":[{"name":"t","image":"tile38/tile38"}]}}`
	got := ask("CREATE", "Pod", pod)
	patch, err := jsonpatch.DecodePatch(got.Patch)
	if err != nil || got.PatchType != "JSONPatch" {
		t.Fatalf("%+v, %v", got, err)
	}
	injected, err := patch.Apply([]byte(pod))
	if err != nil || !bytes.Contains(injected, []byte(`"--engine=tile38"`)) {
		t.Errorf("%s, %v", injected, err)
	}
	for name, r := range map[string]*response{
		"injected already": ask("CREATE", "Pod", string(injected)),
		"no Tile38":        ask("CREATE", "Pod", `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"w","image":"web"}]}}`),
		"an update":        ask("UPDATE", "Pod", pod),
		"a deployment":     ask("CREATE", "Deployment", pod),
	} {
		if r.Patch != nil || r.Warnings != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for name, object := range map[string]string{
		"host network": `{"apiVersion":"v1","kind":"Pod","spec":{"hostNetwork":true,"containers":[{"name":"t","image":"tile38/tile38"}]}}`,
		"nothing":      `null`,
	} {
		if r := ask("CREATE", "Pod", object); r.Patch != nil || len(r.Warnings) != 1 || len(r.Warnings[0]) > maxWarning {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for _, bad := range []struct {
		kind, body string
		want       int
	}{
		{"text/plain", "{}", 415}, {"application/json", "{", 400}, {"application/json", "{}", 400},
		{"application/json", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}`, 400},
		{"application/json", `"` + strings.Repeat("x", maxReview) + `"`, 413},
	} {
		if code, text := post(bad.kind, bad.body); code != bad.want {
			t.Errorf("%.60s: %d %s, want %d", bad.body, code, text, bad.want)
		}
	}
	if got, want := injector.Reviews(), (Reviews{Injected: 1, Skipped: 4, Refused: 2, Malformed: 5}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	client.CloseIdleConnections()
	cancel()
	for range 2 {
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}
