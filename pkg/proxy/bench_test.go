package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/resp"
)

// echo answers every command with its last argument.
type echo struct{}

func (echo) Open(*Conn) Session { return echo{} }
func (echo) Close()             {}
func (echo) Do(_ context.Context, cmds []resp.Command, out []byte) ([]byte, Verdict) {
	for i := range cmds {
		out = redcon.AppendBulkString(out, cmds[i].Args[len(cmds[i].Args)-1])
	}
	return out, Verdict{}
}
func (echo) AppendError(out []byte, text string) []byte { return redcon.AppendError(out, text) }

// BenchmarkLoopback compares this package with redcon's server: the same
// commands, answered by echo, from 1 and 50 connections, one at a time and 16 in
// a pipeline. "x-redcon" is how many times as many commands a second.
func BenchmarkLoopback(b *testing.B) {
	for _, conns := range []int{1, 50} {
		for _, pipeline := range []int{1, 16} {
			b.Run(fmt.Sprintf("conns=%d/pipeline=%d", conns, pipeline), func(b *testing.B) {
				ours, ourStop := serveEcho(b)
				defer ourStop()
				theirs, theirStop := serveRedcon(b)
				defer theirStop()
				// In turns, so that what else the machine does hits both.
				const turns = 4
				n := max(b.N/turns, 1)
				b.ResetTimer()
				b.StopTimer()
				var ourTime, theirTime float64
				for range turns {
					b.StartTimer()
					before := b.Elapsed()
					drive(b, ours, conns, pipeline, n)
					ourTime += (b.Elapsed() - before).Seconds()
					b.StopTimer()
					began := time.Now()
					drive(b, theirs, conns, pipeline, n)
					theirTime += time.Since(began).Seconds()
				}
				b.ReportMetric(float64(turns*n)/ourTime, "cmd/s")
				b.ReportMetric(theirTime/ourTime, "x-redcon")
			})
		}
	}
}

func serveEcho(b *testing.B) (addr string, stop func()) {
	s, err := New(Options{Logger: slog.New(slog.DiscardHandler)}, echo{})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), ln) }()
	return ln.Addr().String(), func() {
		if err := s.Shutdown(context.Background()); err != nil {
			b.Error(err)
		}
		<-served
	}
}

func serveRedcon(b *testing.B) (addr string, stop func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := redcon.NewServer("", func(c redcon.Conn, cmd redcon.Command) {
		c.WriteBulkString(string(cmd.Args[len(cmd.Args)-1]))
	}, nil, nil)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	return ln.Addr().String(), func() {
		_ = ln.Close()
		<-served
	}
}

// drive sends n commands in all and reads their replies.
func drive(b *testing.B, addr string, conns, pipeline, n int) {
	var request, reply []byte
	for range pipeline {
		request = append(request, "*6\r\n$3\r\nSET\r\n$5\r\nfleet\r\n$6\r\ntruck1\r\n$5\r\nPOINT\r\n$2\r\n33\r\n$4\r\n-115\r\n"...)
		reply = append(reply, "$4\r\n-115\r\n"...)
	}
	var wg sync.WaitGroup
	for i := range conns {
		rounds := n / conns / pipeline
		if i == 0 {
			rounds = max(rounds, 1)
		}
		wg.Go(func() {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer nc.Close()
			in, got := bufio.NewReader(nc), make([]byte, len(reply))
			for range rounds {
				if _, err := nc.Write(request); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(in, got); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
