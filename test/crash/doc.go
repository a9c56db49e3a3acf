// Package crash lets the power fail, or the process die, at every single
// operation on the disk in the life of a whole pod: start, adoption of a plain
// file, writes, rotation, compaction, restart, receipt of a leader's base, and
// again in the middle of the recovery. What is left is opened and compared with
// a model: the state after each command of a life in which nothing failed.
//
//   - The state is one that a beginning of the commands leads to.
//   - With fsync policy always nothing is lost that was acknowledged; with
//     everysec nothing that was acknowledged more than a second before; when
//     only the process dies, nothing with any policy.
//   - Each write that is in the log has its message in the queue of webhooks
//     (after a loss of power: with always).
//
// Other lives are those of a pod that is promoted, joins epochs, and takes a
// leader's state by ranges. What is found is one of the histories whole, with its
// forks, not older than the one that was begun last; it goes on from the
// positions that lead to the same state, and from no others; and when the history
// was replaced, a file has what was given up.
package crash
