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
// Server is both of them as one process: a whole tile38-server on a real socket,
// with a real file, that leads and, after FOLLOW, follows, with the faults of both:
// aof_size that counts on over a new file, caught_up by that count, objects that
// the leader has no more, a log shorter than a block that is appended to itself,
// and own deletions of what is over. It stops, starts again, and loses the end of
// its file in a crash. Messages, PUBLISH, reach its followers between what the file
// has, and are in no file.
//
// Process is the real tile38-server, when TILE38_SERVER names its binary; both are
// a Machine, so that a test runs on either.
//
// It is imported by tests only.
package testkit
