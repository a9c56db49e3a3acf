package admin

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
)

// Status tells about the server.
type Status interface {
	// Status is a value that encoding/json can write. It is called once a
	// request and is not changed afterwards.
	Status() any
}

// index is what / says.
const index = `Evenkeel admin

/status         what this server is and does (JSON)
/debug/pprof/   profiles: heap, goroutine, profile?seconds=10, trace?seconds=5 …
`

// Admin serves the admin listener.
func Admin(s Status) http.Handler {
	mux := http.NewServeMux()
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
