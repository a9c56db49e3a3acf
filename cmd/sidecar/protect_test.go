package main

import (
	"net"
	"testing"
)

// TestProtection: who is not served, and what lifts it.
func TestProtection(t *testing.T) {
	t.Setenv("EVENKEEL_PASSWORD", "")
	far, near := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv6loopback}
	for _, tt := range []struct {
		args []string
		on   bool
	}{
		{nil, false},
		{[]string{"--protected-mode=no"}, false},
		{[]string{"--protected-mode=yes"}, true},
		{[]string{"--protected-mode=yes", "--listen=:7"}, true},
		{[]string{"--protected-mode=yes", "--listen=0.0.0.0:7"}, false}, // named, as in Tile38
	} {
		c, err := parse(t, append(tt.args, "--engine=tile38")...)
		if err != nil {
			t.Fatal(err)
		}
		refuse := c.protection()
		if (refuse != nil) != tt.on {
			t.Errorf("%v: %v", tt.args, refuse != nil)
		}
		if tt.on && (refuse(far) != denial || refuse(near) != "" || refuse(&net.UnixAddr{}) != "") {
			t.Errorf("%v: %q %q", tt.args, refuse(far), refuse(near))
		}
	}
	c, err := parse(t, "--engine=tile38", "--protected-mode=yes")
	if err != nil {
		t.Fatal(err)
	}
	c.tile38.password = "x"
	if c.protection() != nil {
		t.Error("a password is not enough")
	}
	c.tile38.password, c.tls.own.CA = "", "ca"
	if c.protection() != nil {
		t.Error("certificates are not enough")
	}
}
