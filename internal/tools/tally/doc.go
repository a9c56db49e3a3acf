// Command tally counts what a CI run did and says it in one last line,
// "N passed, M failed". It reads the output of go test -json and of the
// conformance checker (with -v) and the names of other steps:
//
//	tally -go-test test.json -conformance wire.txt -later later.txt \
//	      -step build=ok -step lint=failed
//
// It exits with 1 when anything failed and when nothing passed. Output that is
// missing or ends in the middle counts as a failure.
//
// The file of -later lists scenarios that cannot pass yet: a name, how many of
// their steps fail, and why. Those failures are told apart and are no failure
// of the run; more of them are, and so is a listed scenario that passes.
package main
