//go:build !race

package proxy

// raceFactor is how much more stack the race detector makes goroutines use.
const raceFactor = 1
