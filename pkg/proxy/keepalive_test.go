package proxy

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// keepAliveOf returns after how many idle seconds nc is probed, 0: never.
func keepAliveOf(t *testing.T, nc net.Conn) (seconds int) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		t.Fatalf("a %T", nc)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var on int
	var onErr, idleErr error
	if err := raw.Control(func(fd uintptr) {
		on, onErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		seconds, idleErr = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
	}); err != nil || onErr != nil || idleErr != nil {
		t.Fatal(err, onErr, idleErr)
	}
	if on == 0 {
		return 0
	}
	return seconds
}
