// Package load makes requests of a Tile38-compatible server and measures the
// answers: closed loop, for throughput, and open loop at a fixed rate, for
// latency. The benchmark and `sidecar spike` stand on it.
//
//	conn.go    one connection: requests out, replies in
//	ops.go     what is asked
//	closed.go  a request when the one before is answered
//	open.go    requests at their times, whoever answers late
//	host.go    when the machine was not ours
//
// The package touches the network, as a client, and reads /proc/stat.
package load
