// Package collection holds the data: collections of items, their indexes, and
// the digest of it all.
//
//	State        all collections by name; the unit of a snapshot
//	└ Collection one key: items by id, by place (R-tree), by value, by deadline
//	  └ Item     id, object, fields, deadline; never changed once made
//
// A State has one writer. Snapshot is O(1): it copies the root of the tree of
// collections and raises the generation; a collection of an older generation
// is copied (its trees' roots, again O(1)) before its first change, and the
// trees copy the nodes on a changed path. So a snapshot costs what is
// overwritten while it is held, and its readers need no lock.
//
// The package touches memory only: no clock, no file, no goroutine.
package collection
