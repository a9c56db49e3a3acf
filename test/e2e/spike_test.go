package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSpike: `sidecar spike` measures a leader and its follower, makes a page of
// it, and leaves nothing behind. A follower does not read the log again.
func TestSpike(t *testing.T) {
	l := start(t, t.TempDir())
	f := start(t, t.TempDir(), "--follow", l.addr)
	l.fill("fleet", 100)
	level(t, l, f)
	page := filepath.Join(t.TempDir(), "spike.html")
	out, err := exec.CommandContext(t.Context(), binary, "spike", "--leader", l.addr, "--follower", f.addr,
		"--points", "2000", "--rate", "100", "--phase", "1s", "--json", "--html", page).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var r struct {
		Compaction float64 `json:"compaction_s"`
		Compacted  float64 `json:"compacted_s"`
		Before     int64   `json:"log_before_bytes"`
		After      int64   `json:"log_after_bytes"`
		Reread     int64   `json:"follower_reread_bytes"`
		Ghosts     int64   `json:"follower_objects_excess"`
		Series     []struct {
			Name   string
			During struct{ Requests int }
		}
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if r.Compacted <= r.Compaction || r.After >= r.Before || r.Before == 0 || r.Reread != 0 || r.Ghosts != 0 || len(r.Series) != 5 {
		t.Errorf("%+v", r)
	}
	for _, s := range r.Series {
		if s.During.Requests == 0 {
			t.Errorf("no requests of %s", s.Name)
		}
	}
	html, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(html), l.addr) || strings.Count(string(html), "<svg ") != 3 {
		t.Errorf("%v: a page of %d bytes", err, len(html))
	}
	if n := strings.Count(l.log.String(), "compaction done"); n != 1 {
		t.Errorf("%d compactions", n)
	}
	if got := l.rdb.Do(t.Context(), "KEYS", "*").String(); !strings.Contains(got, "fleet") || strings.Contains(got, "spike") {
		t.Errorf("left: %q", got)
	}
	text, err := exec.CommandContext(t.Context(), binary, "spike", "--leader", l.addr, "--follower", l.addr).CombinedOutput()
	if err == nil || !strings.Contains(string(text), "both leader and follower") {
		t.Errorf("%v: %s", err, text)
	}
}
