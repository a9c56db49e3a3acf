// Package field holds the fields of an item: small named values, typed by
// their text as Tile38 types them.
//
// A List is one allocation that no pointer leads out of: half a million lists
// cost the garbage collector nothing to scan. Values keep the text that the
// client sent (1.50 stays 1.50), numbers are parsed when they are asked for.
//
// The package touches memory only.
package field
