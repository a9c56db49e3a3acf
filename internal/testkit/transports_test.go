package testkit

import (
	"io"
	"net"
	"regexp"
	"testing"
	"time"
)

// TestTransports: the played server answers in the envelopes of the real one.
func TestTransports(t *testing.T) {
	elapsed := regexp.MustCompile(`"elapsed":"[^"]*"`)
	length := regexp.MustCompile(`(Content-Length: |\$)\d+`)
	each(t, func(t *testing.T, start func() Machine) {
		m := start()
		for _, c := range [][2]string{
			{"GET /set+k+a+point+1+2 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: N\r\n" +
				"Access-Control-Allow-Origin: *\r\n\r\n{\"ok\":true,T}\r\n"},
			{"$7 get k a\r\n$11 output json\r\nGET k a\r\n$11 output resp\r\n$4 PING\r\nQUIT\r\n",
				"$N {\"ok\":true,\"object\":{\"type\":\"Point\",\"coordinates\":[2,1]},T}\r\n$N {\"ok\":true,T}\r\n" +
					"$N\r\n{\"ok\":true,\"object\":{\"type\":\"Point\",\"coordinates\":[2,1]},T}\r\n$N +OK\r\n\r\n$N +PONG\r\n\r\n+OK\r\n"},
			{"PING\r\nGET /PING HTTP/1.1\r\n\r\n", "+PONG\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: N\r\n" +
				"Access-Control-Allow-Origin: *\r\n\r\n+PONG\r\n\r\n"},
		} {
			nc, err := net.Dial("tcp", m.Address())
			if err != nil {
				t.Fatal(err)
			}
			_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.WriteString(nc, c[0]); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(nc)
			_ = nc.Close()
			text := length.ReplaceAllString(elapsed.ReplaceAllString(string(got), "T"), "${1}N")
			if err != nil || text != c[1] {
				t.Errorf("%q: %v\ngot  %q\nwant %q", c[0], err, text, c[1])
			}
		}
	})
}
