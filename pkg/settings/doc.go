// Package settings holds what CONFIG GET, SET and REWRITE handle, and the few
// facts about a server that outlive it: its id, whether it is read-only, and
// whom it follows.
//
// They are kept in the file "config" of the data directory, a JSON object of
// the form that Tile38 uses, so that an adopted directory keeps its settings.
// A value comes from, in this order: a flag given at the start, the file, the
// default. CONFIG SET changes the running value only; CONFIG REWRITE writes the
// running values to the file.
//
// The package touches its one file, through fsx.
package settings
