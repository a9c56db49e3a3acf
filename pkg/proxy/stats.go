package proxy

import (
	"sync/atomic"

	"evenkeel/pkg/resp"
)

// CloseReason says why a connection ended.
type CloseReason uint8

// Reasons for which connections end.
const (
	ClosedByClient   CloseReason = iota // the client ended it, between commands
	ClosedMidCommand                    // the client ended it within a command
	ClosedByReset                       // the network or the client broke it off
	ClosedByCommand                     // Verdict.Close: QUIT
	ClosedByHijack                      // the function of Verdict.Hijack returned
	ClosedProtocol                      // a protocol error, or a limit on what a client sends
	ClosedOutput                        // replies over MaxOutput
	ClosedIdle                          // IdleTimeout
	ClosedStalled                       // WriteTimeout
	ClosedKilled                        // Conn.Kill
	ClosedHeader                        // HeaderTimeout
	ClosedPanic                         // the session panicked
	ClosedDrain                         // shutdown: all that had been received was answered
	ClosedCut                           // shutdown: the time was up
	ClosedByEngine                      // RawSession: the server behind it ended the connection
	ClosedEngineLost                    // RawSession: the server behind it was lost with commands under way
	ClosedHandshake                     // TLS: no handshake, or none in time
	numReasons
)

var reasonNames = [numReasons]string{
	"client", "mid_command", "reset", "command", "hijack", "protocol", "output", "idle", "stalled", "killed", "header",
	"panic", "drain", "cut", "engine", "engine_lost", "handshake",
}

// String returns a short name, fit for a metric label.
func (r CloseReason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return "unknown"
}

// Stats are counters since the server was made, except Current.
type Stats struct {
	Current        int   // connections served now
	Total          int64 // connections accepted and served
	Rejected       int64 // connections refused because of MaxConns
	Refused        int64 // connections refused because of Options.Refuse
	Commands       int64 // commands received; raw backends: as far as they tell them apart
	ProtocolErrors int64
	Panics         int64
	BytesIn        int64 // of commands; hijacked connections: through Hijacked.Reader
	BytesOut       int64 // of replies; not of what hijackers write
	Closed         map[CloseReason]int64
	// Transports counts connections by the form of their first command.
	Transports map[resp.Kind]int64
}

type counters struct {
	total, rejected, refused, commands, protocol, panics, in, out atomic.Int64
	closed                                                        [numReasons]atomic.Int64
	kinds                                                         [resp.NumKinds]atomic.Int64
}

// Stats returns the counters now.
func (s *Server) Stats() Stats {
	n := &s.count
	st := Stats{
		Current: s.current(), Total: n.total.Load(), Rejected: n.rejected.Load(), Refused: n.refused.Load(), Commands: n.commands.Load(),
		ProtocolErrors: n.protocol.Load(), Panics: n.panics.Load(), BytesIn: n.in.Load(), BytesOut: n.out.Load(),
		Closed: make(map[CloseReason]int64, numReasons), Transports: make(map[resp.Kind]int64, resp.NumKinds),
	}
	for k := range n.kinds {
		st.Transports[resp.Kind(k)] = n.kinds[k].Load() //nolint:gosec // k is below NumKinds
	}
	for r := range n.closed {
		st.Closed[CloseReason(r)] = n.closed[r].Load()
	}
	return st
}
