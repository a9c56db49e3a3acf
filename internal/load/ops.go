package load

import (
	"math/rand/v2"
	"strconv"
)

// Op makes requests of one kind.
type Op struct {
	Name string
	// Request appends the nth request to b, about a collection of so many points.
	// The same n gives the same request for every server.
	Request func(b []byte, n, points int) []byte
}

// ID is the id of the nth object.
func ID(n int) string { return "truck:" + strconv.Itoa(n) }

// Place is a position between 60 south and 70 north, evenly spread.
func Place(rnd *rand.Rand) (lat, lon string) {
	return strconv.FormatFloat(rnd.Float64()*130-60, 'f', 6, 64), strconv.FormatFloat(rnd.Float64()*360-180, 'f', 6, 64)
}

// Random is a source that depends on its arguments alone.
func Random(salt, n int) *rand.Rand { return rand.New(rand.NewPCG(uint64(salt), uint64(n))) }

// Put writes object n of a collection for the given round.
func Put(b []byte, key string, round, n int) []byte {
	rnd := Random(round, n)
	lat, lon := Place(rnd)
	return AppendCommand(b, "SET", key, ID(n), "FIELD", "speed", strconv.Itoa(rnd.IntN(120)), "POINT", lat, lon)
}

// Set writes objects of a collection anew, at random.
func Set(key string) Op {
	return Op{"SET", func(b []byte, n, points int) []byte {
		return Put(b, key, 1000+n/points, Random(1, n).IntN(points))
	}}
}

// Get reads objects at random.
func Get(key string) Op {
	return Op{"GET", func(b []byte, n, points int) []byte {
		return AppendCommand(b, "GET", key, ID(Random(2, n).IntN(points)))
	}}
}

// Nearby asks for the ten objects that are nearest to random places.
func Nearby(key string) Op {
	return Op{"NEARBY", func(b []byte, n, _ int) []byte {
		lat, lon := Place(Random(3, n))
		return AppendCommand(b, "NEARBY", key, "LIMIT", "10", "IDS", "POINT", lat, lon)
	}}
}

// Within asks for what is within 100 km of random places, about 35 of 500,000
// objects.
func Within(key string) Op { return circle("WITHIN", 4, key) }

// Intersects asks for what is not beyond 100 km of random places.
func Intersects(key string) Op { return circle("INTERSECTS", 5, key) }

func circle(name string, salt int, key string) Op {
	return Op{name, func(b []byte, n, _ int) []byte {
		lat, lon := Place(Random(salt, n))
		return AppendCommand(b, name, key, "LIMIT", "1000", "IDS", "CIRCLE", lat, lon, "100000")
	}}
}
