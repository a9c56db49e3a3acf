package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// posted is one message of a webhook.
type posted struct {
	Command, Detect, Hook, Key, ID string
	Meta                           map[string]string
}

// endpoint is a receiver of webhooks. It keeps what it has taken.
type endpoint struct {
	*httptest.Server
	// refuse says whether the next request is refused; nil: none is.
	refuse  atomic.Pointer[func() bool]
	refused atomic.Int64
	mu      sync.Mutex
	taken   []posted
}

func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

// ServeHTTP takes a message, or breaks the connection, or answers an error.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if f := e.refuse.Load(); f != nil && (*f)() {
		if e.refused.Add(1)%2 == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var m posted
	if err := json.Unmarshal(body, &m); err != nil {
		m.Hook = fmt.Sprintf("%v: %q", err, body)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.taken = append(e.taken, m)
}

// down refuses all requests, or none.
func (e *endpoint) down(yes bool) {
	f := func() bool { return yes }
	e.refuse.Store(&f)
}

// messages returns what has been taken so far.
func (e *endpoint) messages() []posted {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]posted(nil), e.taken...)
}

// ids returns "detect id" of what has been taken so far.
func (e *endpoint) ids() string {
	var out []string
	for _, m := range e.messages() {
		out = append(out, strings.TrimSpace(m.Detect+" "+m.ID))
	}
	return strings.Join(out, ", ")
}
