// Package simulation runs a leader and three followers in one process, in
// virtual time, over a network that delays, falls silent, refuses, cuts and
// repeats old connections, on disks in memory, while random commands are
// written, every pod compacts, and pods end, die and lose power. When all is
// quiet they must be equal, and no full resync may have been because of a
// compaction.
//
//	go test ./test/simulation                             as many seeds as fit
//	go test ./test/simulation -simulation.seeds 10000     so many
//	go test ./test/simulation -simulation.first 77 -simulation.seeds 1
package simulation
