// Package fence tells who is to be told of a change: hooks, channels and live
// connections that watch a collection, and the messages that they get.
//
//	fence.go    a Fence, and the Options
//	set.go      the Set of all fences, which follows hooks and connections
//	watch.go    the fences of one collection, found by place
//	memory.go   what is remembered of an object: visits (groups), neighbours
//	match.go    which fences a change concerns, and in which order they hear of it
//	detect.go   what an object does to a fence
//	roam.go     neighbours
//	message.go  the bytes of a message
//
// A fence that reports what is outside of it (the default of DETECT) has to hear
// of every change of its collection. All others stand in an R-tree by the
// rectangle around their area, so that a change costs what the fences cost that
// its old and new place can concern, however many others there are.
//
// What a Set remembers is bounded by what lives: an object's memory goes with
// the object, a fence's part of it when the object is next looked at, and all of
// a collection's with its last fence.
//
// A Set touches memory only: no clock, no goroutine, no file. All of its methods
// are to be called under the lock of whoever owns the state. A follower keeps a
// Set, too, and so has the same memory as its leader when it becomes one; but
// groups are numbered by each Set for itself.
package fence
