package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRecordedLogs adopts logs that a Tile38 1.37 has written, whole, shrunk,
// with stretches of zero bytes, and torn, and compares everything in them with
// what that server held: as adopted, compacted, and restarted.
func TestRecordedLogs(t *testing.T) {
	corpus := os.Getenv("EVENKEEL_CONFORMANCE")
	if corpus == "" {
		t.Skip("SKIPPED: EVENKEEL_CONFORMANCE does not name the folder of recorded conversations and logs")
	}
	for _, name := range []string{"plain", "shrunk", "zeros", "torn"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			recorded, err := os.ReadFile(filepath.Join(corpus, "aof", name+".aof"))
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, filepath.Join(dir, "appendonly.aof"), recorded)
			s := start(t, dir)
			if torn := strings.Contains(s.log.String(), "kept_in"); torn != (name == "torn") {
				t.Errorf("it says that it cut the log: %v\n%s", torn, s.log)
			}
			check := func(when string) {
				t.Helper()
				state := filepath.Join(corpus, "aof", name+".state.json")
				out, err := exec.Command("python3", filepath.Join(corpus, "check.py"), "--state", s.addr, state).CombinedOutput()
				if err != nil {
					t.Errorf("%s: %v\n%s", when, err, out)
				}
			}
			check("adopted")
			s.words("AOFSHRINK")
			s.waitFor("the end of the compaction", func() bool { return strings.Contains(s.log.String(), "compaction done") })
			check("compacted")
			s.stop()
			s = start(t, dir)
			check("restarted")
		})
	}
}
