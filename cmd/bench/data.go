package main

import (
	"math/rand/v2"
	"strconv"
)

// collectionName is where all objects go.
const collectionName = "fleet"

// op makes requests of one kind.
type op struct {
	name string
	// request appends the nth request to b. The same n gives the same request
	// for every server.
	request func(b []byte, n, points int) []byte
}

func id(n int) string { return "truck:" + strconv.Itoa(n) }

// place is a position between 60 south and 70 north, evenly spread.
func place(rnd *rand.Rand) (lat, lon string) {
	return strconv.FormatFloat(rnd.Float64()*130-60, 'f', 6, 64), strconv.FormatFloat(rnd.Float64()*360-180, 'f', 6, 64)
}

// random is a source that depends on its arguments alone.
func random(salt, n int) *rand.Rand { return rand.New(rand.NewPCG(uint64(salt), uint64(n))) }

// loadRequest writes object n for the given round.
func loadRequest(b []byte, round, n int) []byte {
	rnd := random(round, n)
	lat, lon := place(rnd)
	return appendCommand(b, "SET", collectionName, id(n), "FIELD", "speed", strconv.Itoa(rnd.IntN(120)), "POINT", lat, lon)
}

// The operations. 100 km around a place hold about 35 of 500,000 objects.
var (
	opSet = op{"SET", func(b []byte, n, points int) []byte { return loadRequest(b, 1000+n/points, random(1, n).IntN(points)) }}
	opGet = op{"GET", func(b []byte, n, points int) []byte {
		return appendCommand(b, "GET", collectionName, id(random(2, n).IntN(points)))
	}}
	opNearby = op{"NEARBY", func(b []byte, n, _ int) []byte {
		lat, lon := place(random(3, n))
		return appendCommand(b, "NEARBY", collectionName, "LIMIT", "10", "IDS", "POINT", lat, lon)
	}}
	opWithin = op{"WITHIN", func(b []byte, n, _ int) []byte {
		lat, lon := place(random(4, n))
		return appendCommand(b, "WITHIN", collectionName, "LIMIT", "1000", "IDS", "CIRCLE", lat, lon, "100000")
	}}
	opIntersects = op{"INTERSECTS", func(b []byte, n, _ int) []byte {
		lat, lon := place(random(5, n))
		return appendCommand(b, "INTERSECTS", collectionName, "LIMIT", "1000", "IDS", "CIRCLE", lat, lon, "100000")
	}}
)
