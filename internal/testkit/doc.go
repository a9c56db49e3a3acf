// Package testkit plays Tile38 1.37 where a test has no real one: a Leader and a
// Follower with what is documented of its replication, faults included.
//
// The Leader
//
//   - drops its followers when AOFSHRINK swaps the file;
//   - writes a dump in lower case, with BOUNDS as polygons, Circle features as
//     strings and the rest of a time to live in tenths of a second, and behind it,
//     byte for byte, what was written meanwhile;
//   - does not log JDEL;
//   - logs times to live as they were sent, so that a restart begins them anew.
//
// The Follower
//
//   - keeps its memory when it begins at 0, and its file as well when it is short;
//   - starts again from its file only where it finds the leader's in it.
//
// It is imported by tests only.
package testkit
