package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"net/url"
)

// Status tells about the server.
type Status interface {
	// Status is a value that encoding/json can write. It is called once a
	// request and is not changed afterwards.
	Status() any
}

// Action is something that POST /Name does. Its result is a value that encoding/json
// can write.
type Action struct {
	Name string
	Help string // one line
	Do   func(ctx context.Context, parameters url.Values) (any, error)
}

// index is what / says, before the actions.
const index = `Evenkeel admin

/status         what this server is and does (JSON)
/debug/pprof/   profiles: heap, goroutine, profile?seconds=10, trace?seconds=5 …
`

// Admin serves the admin listener.
func Admin(s Status, actions ...Action) http.Handler {
	mux := http.NewServeMux()
	index := index
	for _, a := range actions {
		index += fmt.Sprintf("%-15s %s (POST)\n", "/"+a.Name, a.Help)
		mux.Handle("POST /"+a.Name, guardOrigin(a.serve))
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, "text/plain; charset=utf-8", []byte(index))
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		body, err := json.MarshalIndent(s.Status(), "", "  ")
		if err != nil {
			http.Error(w, fmt.Sprintf("status: %v", err), http.StatusInternalServerError)
			return
		}
		write(w, http.StatusOK, "application/json", append(body, '\n'))
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // also heap, goroutine and the like
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return guardLoopback(mux)
}

// serve does the action. What it cannot do is 409, with the reason in "error".
func (a *Action) serve(w http.ResponseWriter, req *http.Request) {
	if err := req.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	code := http.StatusOK
	result, err := a.Do(req.Context(), req.Form)
	if err != nil {
		code, result = http.StatusConflict, map[string]string{"error": err.Error()}
	}
	body, err := json.Marshal(result)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, code, "application/json", append(body, '\n'))
}

// guardOrigin turns away what a web page of another origin has a browser send.
func guardOrigin(next http.HandlerFunc) http.Handler {
	return http.NewCrossOriginProtection().Handler(next)
}

// guardLoopback turns away requests that reached a loopback address by another
// name than a loopback one.
func guardLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		local, _ := req.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if local != nil && isLoopback(local.String()) && !isLoopback(req.Host) {
			http.Error(w, "this address answers only as localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// isLoopback tells whether host, with or without a port, is localhost or an
// address of the loopback network.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
