// Package resync tests how a follower comes back to its leader: both are real
// stores on real files, with a network that can be cut between them.
package resync
