//go:build race

package e2e

// buildFlags builds the program with the race detector when the tests have it:
// a race in it ends it with an error, and so the test.
var buildFlags = []string{"-race"}
