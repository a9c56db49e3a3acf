// Package relate holds the command TEST: does one area lie within another, or
// do they meet?
//
//	parse.go     the words become two expressions
//	eval.go      the expressions are compared
//	relate.go    the command and its answer
//
// Both sides are expressions of areas with NOT, AND, OR and parentheses. Their
// rules are those of Tile38, which differ from what one expects; they were found
// by asking it, and are told where they are carried out:
//
//   - AND does not bind more tightly than OR. It begins a group, or goes on with
//     the one there is, whichever that is; OR after AND puts the group so far
//     into a new one.
//   - A group without AND and OR is never true, even if there is one area in it:
//     TEST (POINT 1 1) WITHIN … is 0.
//   - What an expression means is the group that was closed or begun last; what
//     was before it at the top level is read and not heeded.
//   - NOT counts twice in some places and not at all in others; see compare.
//
// The package touches memory only. The number of areas and groups is bounded by
// Limits, which bounds the comparisons, too: at most a quarter of its square.
// Between two comparisons the caller's Pause is asked.
package relate
