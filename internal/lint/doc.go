// Package lint holds the house to its plan: which floor a package stands on,
// what it may import, and how large files and functions may be. Its test reads
// the whole module and fails with file, line and the reason.
//
//	table.go  the floors and the bans, each with its reason: the place to edit
//	lint.go   the checks
//
// An import points to a lower floor only. A package that the table does not
// name is a fault: a new package has to be given its place first.
//
// The package may read source files.
package lint
