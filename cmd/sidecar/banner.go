package main

import (
	"fmt"
	"io"
	"net"
	"strings"
)

func (s *embedded) banner(w io.Writer) {
	var b strings.Builder
	role := "leader"
	if s.election != nil {
		role = "elects by the Lease " + s.cfg.elect.Namespace + "/" + s.cfg.elect.Lease
	} else if s.cfg.follow != "" {
		role = "follower of " + s.cfg.follow
	} else if st := s.node.Following(); st != "" {
		role = "follower of " + st
	}
	st := s.store.Stats()
	fmt.Fprintf(&b, "evenkeel %s: %s, %d objects in %d collections, data in %s\n",
		version, role, st.Objects, st.Collections, s.cfg.dataDir)
	client := reach(s.listeners.client)
	probe, admin := reach(s.listeners.probe), reach(s.listeners.admin)
	fmt.Fprintf(&b, "  clients  %s\n", client)
	fmt.Fprintf(&b, "  probes   http://%s/readyz  http://%s/livez  http://%s/metrics\n", probe, probe, probe)
	fmt.Fprintf(&b, "  admin    http://%s/status\n", admin)
	if s.listeners.unix != nil {
		fmt.Fprintf(&b, "  socket   %s\n", s.cfg.unixSocket)
	}
	host, port, _ := net.SplitHostPort(client)
	if s.cfg.follow == "" {
		fmt.Fprintf(&b, "try: redis-cli -h %s -p %s SET fleet truck1 POINT 33.5123 -112.2693\n", host, port)
		fmt.Fprintf(&b, "     redis-cli -h %s -p %s NEARBY fleet POINT 33.5 -112.2 6000\n", host, port)
	} else {
		fmt.Fprintf(&b, "try: redis-cli -h %s -p %s ROLE\n", host, port)
	}
	_, _ = io.WriteString(w, b.String())
}

// reach is an address that can be dialled from this machine.
func reach(l net.Listener) string {
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return l.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
