// Package lua runs Lua scripts that nobody vouches for: whatever a script does,
// it ends in bounded time and with bounded memory, by a result or by an ordinary
// error.
//
//	program.go, scope.go, compile.go    a script becomes a tree of small objects
//	expr.go, stmt.go, call.go           … which evaluate themselves
//	machine.go, tally.go                limits, errors, and what memory is in use
//	value.go, table.go                  values
//	pattern.go, match.go                patterns of the string library
//	lib*.go                             libraries
//
// # Why it is not gopher-lua's machine
//
// Clients know the behaviour of gopher-lua, which Tile38 is built on: error texts,
// how numbers are written, the length of a table with holes, what patterns find.
// So its parser and compiler read the scripts and say what is wrong with them, its
// values format themselves in string.format, and a test runs each of some hundred
// scripts here and there and compares.
//
// Its machine, though, cannot be bounded from outside. A single instruction can
// allocate a gigabyte (t[6e7] = 1, s .. s) or, in its pattern matcher, recurse until
// the process dies; there is no hook for allocations, and a context that counts
// instructions costs more than the instructions. Scripts cannot set metatables,
// catch errors or make coroutines, so the machine that they need is small.
//
// # Bounds
//
//   - Time: each turn of a loop, each call and each piece of work of a library
//     counts as steps. Every 1024 steps, which are some tens of microseconds, the
//     clock and the caller's pause are asked.
//   - Memory: what is about to be allocated is counted. When the count exceeds
//     the limit, what can still be reached is tallied, as a garbage collector
//     would mark it; that may be at most half the limit. A tally is paid for by
//     the allocations before it. A part of a string is copied, so that it
//     keeps nothing alive that is not counted.
//   - Stack: 256 calls, 65,536 values; programs with more than 200 levels of
//     nesting are refused before anything recurses over them.
//
// What a script does with the globals and libraries is seen by later programs of
// the same machine, and by nobody else: machines share the tables of the libraries
// until they write to them, which makes a machine cheap enough (about a
// microsecond) to be thrown away after each run.
//
// # What differs from gopher-lua
//
//   - a, b = b, a exchanges two local variables, which gopher-lua gets wrong.
//   - A list is filled up to a new index only below 65,536; beyond, a key that
//     does not follow the last element goes to the hash.
//   - string.format knows no * and no [n].
//   - math.random starts from a number of the machine's.
//
// The package touches memory only; its clock is passed in.
package lua
