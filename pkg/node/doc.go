// Package node is the embedded engine as a server: what stands behind the
// connections that pkg/proxy accepts. It holds the state of each connection
// (output, authentication, name), the commands that concern the server and not
// the data (CONFIG, SERVER, INFO, FOLLOW, AOFSHRINK …), and the role: leader or
// follower.
//
//	node.go      the parts, the command table
//	session.go   one connection: a pipeline of commands in, answers out
//	conn.go      PING, ECHO, OUTPUT, AUTH, CLIENT, TIMEOUT, QUIT
//	web.go       commands over HTTP, WebSocket and the native protocol
//	hello.go     HELLO
//	script.go    EVAL and its kin, SCRIPT
//	live.go      a connection that is told of things as they happen:
//	fences.go    … live fences, and where the messages of all fences go
//	pubsub.go    … PUBLISH, SUBSCRIBE
//	monitor.go   … MONITOR
//	config.go    CONFIG, READONLY
//	info.go      SERVER, INFO, ROLE, HEALTHZ, GC
//	log.go       AOFSHRINK, AOFMD5, AOF, REPLICATE
//	role.go      FOLLOW: leader or follower
//	either.go    … of an Evenkeel or of a Tile38
//	peers.go     REPLCONF, ROLE, INFO replication: who follows whom
//	memory.go    maxmemory
//	ready.go     whether the node is fit to serve, and why not
//
// Data commands go to pkg/store; the node owns no data of its own.
package node
