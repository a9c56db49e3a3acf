package admin

import (
	"fmt"
	"io"
	"net"
	"net/http"
)

// enginePaths are what /enginez asks a Tile38: questions, and nothing that one could
// do harm with.
var enginePaths = [...]string{"/ping", "/server", "/healthz"}

// ProbeEngine adds to the probe listener's handler what a kubelet cannot look at by
// itself, since the Tile38 at addr listens on the pod's loopback address alone:
//
//	/enginez            can it be connected to? what a tcpSocket probe asks
//	/enginez/ping       the status of its own answer to GET /ping, over HTTP;
//	                    /server and /healthz likewise
//
// Each asks anew and ends with the request: the prober's time limit is the limit.
func ProbeEngine(next http.Handler, addr string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", next)
	mux.HandleFunc("GET /enginez", func(w http.ResponseWriter, req *http.Request) {
		nc, err := new(net.Dialer).DialContext(req.Context(), "tcp", addr)
		if err == nil {
			err = nc.Close()
		}
		engineAnswer(w, req, http.StatusOK, err)
	})
	for _, path := range enginePaths {
		mux.HandleFunc("GET /enginez"+path, func(w http.ResponseWriter, req *http.Request) {
			status, err := engineStatus(req, "http://"+addr+path)
			engineAnswer(w, req, status, err)
		})
	}
	return mux
}

// engineStatus is the status of an answer, over a connection of its own.
func engineStatus(req *http.Request, url string) (int, error) {
	ask, err := http.NewRequestWithContext(req.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(ask)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, err
}

func engineAnswer(w http.ResponseWriter, req *http.Request, status int, err error) {
	text := "ok"
	switch {
	case err != nil:
		status, text = http.StatusServiceUnavailable, fmt.Sprintf("the Tile38 does not answer: %v", err)
	case status >= http.StatusBadRequest:
		text = fmt.Sprintf("the Tile38 answers with status %d", status)
	}
	answer(w, req, status, text, map[string]any{"engine": text})
}
