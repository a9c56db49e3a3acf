// Package fsx is the filesystem as the log sees it: a small interface, the
// operating system's implementation, and the one place where a file is replaced
// atomically. No other package of the project touches the disk.
//
// # Durability contract
//
//   - Data written to a File is durable once File.Sync has returned nil.
//   - A created, renamed or removed name is durable once SyncDir of its folder
//     has returned nil.
//   - Rename replaces the target atomically.
//   - A File stays readable after its name has been removed or replaced.
//
// Nothing else is promised, and callers rely on nothing else: that is what makes
// room for an implementation that loses everything unsynced in a crash.
//
// Package fsxtest holds a wrapper that injects faults.
package fsx
