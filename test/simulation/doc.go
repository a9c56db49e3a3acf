// Package simulation runs a leader and three followers in one process, in
// virtual time, over a network that delays, falls silent, refuses, cuts and
// repeats old connections, on disks in memory, while random commands are
// written, every pod compacts, and pods end, die and lose power. When all is
// quiet they must be equal, and no full resync may have been because of a
// compaction.
//
// In other seeds followers are promoted, while the old leader is dead, cut off, or
// goes on, and all others follow later. Whoever agrees with the new leader is not
// resynced for it; what others had acknowledged is in their files of what they gave up; what
// was said to be on the disks of followers is there.
//
//	go test ./test/simulation                             as many seeds as fit
//	go test ./test/simulation -simulation.seeds 10000     so many
//	go test ./test/simulation -simulation.first 77 -simulation.seeds 1
package simulation
