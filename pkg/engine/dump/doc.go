// Package dump turns a state into the commands that make it again: what the
// log's base files hold, and what a resync sends.
//
// The commands are those that Tile38's AOFSHRINK writes, so that it could load
// them, with these differences, where its own lose something:
//
//   - a rectangle stays a rectangle (bounds), where it writes a polygon
//   - a Circle feature stays one (object), where it writes a string
//   - a point that JSON cannot hold, as it is infinite or NaN, is a point
//   - the time to live has milliseconds
//   - an object whose time is up is still written, with the time since then:
//     it goes when the log says so, not when it is dumped
//
// The package touches memory only.
package dump
