// Package search holds the commands that look for items: SCAN, SEARCH, NEARBY,
// WITHIN and INTERSECTS.
//
//	query.go     the words of a command become a query
//	fence.go     the words that only fences understand; ParseFence
//	watch.go     a compiled fence, which package fence asks and lets write
//	run.go       a query walks over a collection and picks items
//	sparse.go    the walk of SPARSE
//	metric.go    distances on the sphere, and lower bounds for them
//	write.go     what was picked becomes an answer
//	tile.go      … or a vector tile
//
// A query picks first and writes then, because an answer begins with its
// cursor, its length and, in JSON, the names of all fields in it. Picking costs
// 16 bytes an item; LIMIT bounds it.
//
// A cursor counts the items that a walk has visited, kept or not. Walks visit an
// unchanged collection in the same order, so pages neither overlap nor leave
// gaps.
package search
