// Package filter decides which items a search keeps: MATCH by name, WHERE and
// WHEREIN by fields, WHERE with expressions, and WHEREEVAL by scripts, which are
// another package's matter.
//
// A Filter is parsed once a query and used by one goroutine. Names, ranges and
// lists cost no allocation per item; expressions are evaluated anew for every
// item, as the expr package has no compiled form.
//
// The package touches memory only. The length and nesting of expressions, and
// the size of regular expressions, are bounded by Limits.
package filter
