// Package aoftool works on the directory of a log that no process serves:
// Inspect, Verify, Repair, Export, Import and Compact.
//
// It puts together what others know: pkg/aof how files lie on the disk and what a
// repair does to them, pkg/store which state the commands lead to.
//
//	Inspect   reads and checks every file by itself               changes nothing
//	Verify    and replays them, and compares every digest         changes nothing
//	Repair    plans, asks, carries out, verifies                  under the lock
//	Export    writes a plain Tile38 append-only file              changes nothing
//	Import    makes a directory from one
//	Compact   replays, writes a new base, drops the old files     under the lock
//
// Invariants:
//
//   - What changes nothing takes the directory's lock for reading only, which
//     works on a read-only disk. What changes something takes it for itself. Both
//     fail with a *fsx.LockedError beside a live process.
//   - Damage is an answer, not an error: errors are about what could not be done.
//   - Repair does nothing that the plan it has shown does not say.
//
// The disk is reached through internal/fsx.
package aoftool
