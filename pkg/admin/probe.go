package admin

import (
	"encoding/json"
	"mime"
	"net/http"
	"strings"
)

// Default addresses of the two listeners.
const (
	DefaultProbeAddr = ":9850"
	DefaultAdminAddr = "127.0.0.1:9849"
)

// Readiness tells whether this server should be asked for data.
type Readiness interface {
	// Ready reports so, and otherwise every reason against it, each a short
	// phrase such as "follower: 3.2 s behind (max 1 s)". It returns fast.
	Ready() (bool, []string)
}

// Probe serves the probe listener. metrics may be nil: then there is no
// /metrics.
func Probe(r Readiness, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	// That this answers at all is the point: a process that hangs does not.
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, req *http.Request) {
		answer(w, req, http.StatusOK, "ok", map[string]any{"live": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) {
		ready, reasons := r.Ready()
		if ready {
			answer(w, req, http.StatusOK, "ok", readyz{Ready: true, Reasons: []string{}})
			return
		}
		if len(reasons) == 0 {
			reasons = []string{"no reason was given"}
		}
		answer(w, req, http.StatusServiceUnavailable, "not ready: "+strings.Join(reasons, "; "), readyz{Reasons: reasons})
	})
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	return mux
}

// readyz is the JSON body of /readyz.
type readyz struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // empty when ready
}

// answer writes text, or value as JSON when the client asks for that.
func answer(w http.ResponseWriter, req *http.Request, status int, text string, value any) {
	body, kind := []byte(text+"\n"), "text/plain; charset=utf-8"
	if wantsJSON(req) {
		b, err := json.Marshal(value)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		b = append(b, '\n')
		body, kind = b, "application/json"
	}
	write(w, status, kind, body)
}

// write sends one whole answer. A client that is gone needs no error.
func write(w http.ResponseWriter, status int, kind string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// wantsJSON reads the format parameter or, without one, the Accept header.
func wantsJSON(req *http.Request) bool {
	if f := req.URL.Query().Get("format"); f != "" {
		return f == "json"
	}
	for _, accept := range req.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			if kind, params, err := mime.ParseMediaType(part); err == nil && kind == "application/json" && params["q"] != "0" {
				return true
			}
		}
	}
	return false
}
