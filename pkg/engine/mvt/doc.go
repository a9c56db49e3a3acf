// Package mvt draws vector tiles as Tile38 does, and knows the path under which
// it serves them over HTTP.
//
//	tile.go      objects become the features of a tile
//	geometry.go  their geometries
//	path.go      /key/z/x/y.mvt becomes a search, its answer a tile
//
// A tile is a Mapbox Vector Tile, version 2.1
// (https://github.com/mapbox/vector-tile-spec), with one layer, "tile38", of
// extent 4096. Each feature has the tags type (point, linestring or polygon) and
// id. It is written byte for byte as github.com/tidwall/mvt does, which Tile38
// uses and the tests compare with, but straight into its buffer, so that a tile
// costs memory in proportion to its bytes (30 to 40 for a point) while it is made.
//
// Where the bytes differ from the standard, they are kept, because clients see
// them: a ring is closed before its lines are drawn, and begins at a position
// that does not count from where the one before ended; points along an axis are
// joined even if a line turns back there.
//
// The package touches memory only.
package mvt
