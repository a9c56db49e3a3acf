// Package area turns the words that name an area in a command into geometry:
// POINT, CIRCLE, BOUNDS, OBJECT, GET, SECTOR, HASH, QUADKEY, TILE and MVT, with
// what BUFFER, CLIP and CLIPBY make of them. Searches use it, and whatever else
// takes an area.
//
// An Area answers whether an object lies within it or meets it. For circles it
// does so by distance where the object is a point, without building a polygon.
//
// The package touches memory only. Sizes are bounded by Limits: an area costs
// memory in proportion to the words that name it.
package area
