// Package reptest is what the tests of replication share: a Node with a real log
// and a state that is a map, a Server that takes connections for a leader, and a
// Wire that damages and counts what passes through a connection.
//
// It is imported by tests only.
package reptest
