// Package node is the embedded engine as a server: what stands behind the
// connections that pkg/proxy accepts. It holds the state of each connection
// (output, authentication, name), the commands that concern the server and not
// the data (CONFIG, SERVER, INFO, FOLLOW, AOFSHRINK …), and the role: leader or
// follower.
//
//	node.go      the parts, the command table
//	session.go   one connection: a pipeline of commands in, answers out
//	conn.go      PING, ECHO, OUTPUT, AUTH, CLIENT, TIMEOUT, QUIT
//	config.go    CONFIG, READONLY
//	info.go      SERVER, INFO, ROLE, HEALTHZ, GC
//	log.go       AOFSHRINK, AOFMD5, AOF, REPLICATE
//	role.go      FOLLOW: leader or follower
//	peers.go     REPLCONF, ROLE, INFO replication: who follows whom
//	memory.go    maxmemory
//	ready.go     whether the node is fit to serve, and why not
//
// Data commands go to pkg/store; the node owns no data of its own.
package node
