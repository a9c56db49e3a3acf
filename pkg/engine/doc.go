// Package engine is the embedded geospatial engine: a table of commands over a
// collection.State.
//
//	field       values and sets of fields
//	collection  items, indexes, snapshots, the digest
//	reply       answers in RESP and JSON, errors
//	command     what a command is
//	area        areas of a search: circles, bounds, tiles, sectors …
//	filter      WHERE, WHEREIN, MATCH
//	glob        patterns of names
//	keys        SET, GET, DEL … (one collection or item)
//	search      SCAN, SEARCH, NEARBY, WITHIN, INTERSECTS
//	dump        a state as the commands that make it again
//
// A write takes two steps, so that the log can be written between them: Prepare
// finds out everything that can go wrong and records a Change; Apply carries it
// out and cannot fail.
//
// The engine touches memory only: no clock, no file, no socket, no goroutine.
// One goroutine at a time may write; reads may run beside each other.
package engine
