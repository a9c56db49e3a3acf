package main

import "net"

// denial is what a client of another machine is told in protected mode. It begins as
// Tile38's own does.
const denial = "-DENIED Tile38 is running in protected mode: its sidecar serves clients of its own machine alone, because --protected-mode is yes, " +
	"--listen names no host, and neither --engine-password-file nor --tls-client-ca is given. Do one of these things to be served: set a password and give it to " +
	"the sidecar, ask for certificates, name the host to listen on, or, where nobody reaches this port who may not, take --protected-mode no\r\n"

// protection says whom a sidecar beside a Tile38 does not serve; nil: nobody. It is the
// rule of the Tile38 itself, which only ever sees this sidecar.
func (c *config) protection() func(remote net.Addr) string {
	t := &c.tile38
	host, _, err := net.SplitHostPort(c.listen)
	if t.protectedMode != "yes" || t.password != "" || c.tls.own.CA != "" || err != nil || host != "" {
		return nil
	}
	return func(remote net.Addr) string {
		if tcp, ok := remote.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
			return denial
		}
		return ""
	}
}
