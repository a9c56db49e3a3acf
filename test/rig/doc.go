// Package rig puts the parts of pods together in one process, for tests: the
// real log, store, leader and follower over a disk in memory (or real files) and
// a network in memory, with random commands to carry out.
//
// Everything runs in the virtual time of a testing/synctest bubble: the network
// waits on channels, the disk never waits. Nothing here may sleep while a lock
// of the product could be held, since time stands still for a goroutine that
// waits for a mutex.
//
//	pod.go       one pod: start, end, death, loss of power
//	role.go      it leads, follows, is promoted
//	compact.go   its compactions, and their turns
//	disk.go      what is on its disk
//	replica.go   its store as a follower writes to it
//	do.go        what a session does with commands
//	dump.go      everything that a client can see
//	network.go   connections with delays, silence, cuts and late repeats
//	eager.go     connections that take at once what is written
//	words.go     random commands
//	workload.go  a sequence of them, and the shrinking of one that fails
package rig
