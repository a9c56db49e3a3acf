package search

import "strings"

// heavyWords is the size of a search's words, in bytes, from which on its area
// takes long to read.
const heavyWords = 16 << 10

// Heavy says whether the words of a search may name a large area: one that is
// given at length, or that of an object, which may be large, or one with a
// buffer. It is better compiled on a snapshot than under a lock.
func Heavy(words []string) bool {
	size := 0
	for _, w := range words {
		size += len(w)
		if strings.EqualFold(w, "get") || strings.EqualFold(w, "buffer") {
			return true
		}
	}
	return size >= heavyWords
}
