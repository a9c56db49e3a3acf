package node

import (
	"os"
	"strconv"
	"strings"
)

// runtimeThreads returns the number of the process's threads, 0 if the system
// does not tell.
func runtimeThreads() int {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "Threads:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(rest))
			return n
		}
	}
	return 0
}
