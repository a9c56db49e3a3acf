// Package hook holds the commands that define webhooks and channels: SETHOOK,
// SETCHAN, DELHOOK, PDELHOOK, HOOKS and their kin. Definitions are data: they
// are logged, replicated, kept by a compaction and counted in the digest.
//
//	hook.go      the commands that change
//	parse.go     the words of a definition
//	endpoint.go  addresses
//	list.go      the commands that list
//
// A definition is checked when a client sends it: its addresses, and its search,
// which is compiled and thrown away. One that comes from a log or a leader was
// checked once and is taken as it is, whatever its search is about now; package
// fence compiles it and says so if it cannot.
package hook
