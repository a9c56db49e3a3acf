// Package keys holds the commands that name one collection or one item: SET,
// GET, DEL and their kin.
//
// Writes only record what is to be done; see package command. Two limits guard
// against texts that would cost far more than their length: how deep JSON is
// nested, and how many points a geometry has. They are checked in one pass,
// before the text is given to the recursive parsers.
//
// The package touches memory only.
package keys
