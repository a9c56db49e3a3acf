package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// tool runs `sidecar aof …` and returns its exit status.
func tool(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"aof"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		return ee.ExitCode(), out.String(), errs.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, out.String(), errs.String()
}

// found is what the tools say as JSON, as far as it is looked at here.
type found struct {
	Epoch string `json:"epoch"`
	Found []struct {
		File string `json:"file"`
		At   int64  `json:"byte"`
	} `json:"found"`
	Files []struct {
		Name, Role string
	} `json:"files"`
	Data struct {
		Offset  int64  `json:"offset"`
		Digest  string `json:"digest"`
		Objects int    `json:"objects"`
		Whole   bool   `json:"whole"`
	} `json:"data"`
}

func parse(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// TestOfflineTools: from a live directory over damage to a sidecar that starts
// again, with the built program.
func TestOfflineTools(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, dir, "--segment-size", "16kb")
	s.fill("fleet", 500)
	s.words("AOFSHRINK")
	s.waitFor("the end of the compaction", func() bool { return strings.Contains(s.log.String(), "compaction done") })
	s.fill("more", 500)
	want := s.status()
	if code, _, said := tool(t, "verify", dir); code != 1 || !strings.Contains(said, "stop that sidecar first") {
		t.Fatalf("beside a live sidecar: %d, %s", code, said)
	}
	s.stop()

	code, out, said := tool(t, "verify", "--json", dir)
	var r found
	parse(t, out, &r)
	if code != 0 || said != "" || len(r.Found) != 0 || r.Data.Digest != want.Digest || r.Data.Offset != want.Offset || r.Epoch != want.Epoch || r.Data.Objects != 1000 {
		t.Fatalf("%d, %+v, %s; want %+v", code, r, said, want)
	}
	readOnly(t, dir)

	// Damage in the middle of the last segments.
	name := r.Files[len(r.Files)-2].Name
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	mustWrite(t, path, b)
	code, out, _ = tool(t, "verify", "--json", dir)
	parse(t, out, &r)
	if code != 2 || len(r.Found) != 1 || r.Found[0].File != name || r.Data.Whole {
		t.Fatalf("%d, %+v", code, r)
	}
	if code, _, _ := tool(t, "inspect", dir); code != 2 {
		t.Errorf("inspect: exit status %d", code)
	}
	if code, _, _ := tool(t, "repair", dir); code != 2 {
		t.Errorf("repair without consent: exit status %d", code)
	}
	code, out, said = tool(t, "repair", "--yes", "--json", dir)
	var did struct{ After found }
	parse(t, out, &did)
	if code != 0 || len(did.After.Found) != 0 || !did.After.Data.Whole || did.After.Epoch == want.Epoch {
		t.Fatalf("%d, %+v, %s", code, did, said)
	}
	s = start(t, dir)
	if got := s.status(); got.Digest != did.After.Data.Digest || got.Offset != did.After.Data.Offset {
		t.Errorf("it starts with %+v, repaired was %+v", got, did.After)
	}
	s.words("SET fleet again POINT 1 1")
	s.stop()
	thereAndBack(t, dir)
}

// readOnly verifies a directory that cannot be written, as far as the tests' user
// can be kept from it.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	before := listing(t, dir)
	if err := os.Chmod(dir, 0o500); err != nil { // #nosec G302 -- a directory
		t.Fatal(err)
	}
	code, _, said := tool(t, "verify", dir)
	if err := os.Chmod(dir, 0o700); err != nil { // #nosec G302 -- a directory
		t.Fatal(err)
	}
	if after := listing(t, dir); code != 0 || after != before {
		t.Errorf("read-only: %d, %s\nbefore: %s\nafter: %s", code, said, before, after)
	}
}

// listing tells names, sizes and times of change.
func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, e.Name(), info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}

// thereAndBack exports a directory, imports it, and compacts both.
func thereAndBack(t *testing.T, dir string) {
	t.Helper()
	plain := filepath.Join(t.TempDir(), "plain.aof")
	other := filepath.Join(t.TempDir(), "other")
	var before, after found
	_, out, _ := tool(t, "compact", "--backlog-size", "0", "--json", dir)
	parse(t, out, &before)
	if code, _, said := tool(t, "export", dir, "-o", plain); code != 0 {
		t.Fatalf("export: %d, %s", code, said)
	}
	if code, out, _ := tool(t, "export", "--json", dir, "-o", "-"); code != 0 || !strings.HasPrefix(out, "*") {
		t.Errorf("to the standard output: %d, %.40q", code, out)
	}
	code, out, said := tool(t, "import", plain, "-o", other, "--json")
	parse(t, out, &after)
	if code != 0 || after.Data.Digest != before.Data.Digest || after.Data.Objects < 500 {
		t.Errorf("%d, %+v, want %+v, %s", code, after.Data, before.Data, said)
	}
	if code, _, said := tool(t, "import", plain, "-o", other); code != 1 || !strings.Contains(said, "is not empty") {
		t.Errorf("into a log: %d, %s", code, said)
	}
	if code, _, said := tool(t, "verify"); code != 1 || !strings.Contains(said, "arg") {
		t.Errorf("without a directory: %d, %s", code, said)
	}
}

// TestExportLoadsInTile38: what is exported is what Tile38 loads.
func TestExportLoadsInTile38(t *testing.T) {
	server := os.Getenv("TILE38_SERVER")
	if server == "" {
		t.Skip("TILE38_SERVER does not name a tile38-server: NOT TESTED that it loads an export")
	}
	dir := t.TempDir()
	s := start(t, dir)
	s.fill("fleet", 300)
	s.words("SET fleet box FIELD speed 1.5 BOUNDS 1 2 3 4")
	s.words(`SET fleet line OBJECT {"type":"LineString","coordinates":[[0,0],[1,1]]}`)
	s.words("SET notes n EX 1000 STRING hello")
	s.words("SETCHAN yard WITHIN fleet FENCE BOUNDS 33 -113 34 -112")
	s.words("AOFSHRINK")
	s.waitFor("the end of the compaction", func() bool { return strings.Contains(s.log.String(), "compaction done") })
	s.words("SET fleet box FIELD speed 2.5 BOUNDS 1 2 3 4")
	s.words("DEL fleet line")
	want := fmt.Sprint(s.words("SCAN fleet LIMIT 1000"))
	s.stop()
	for _, args := range [][]string{nil, {"--compacted"}} {
		data := t.TempDir()
		if code, _, said := tool(t, append([]string{"export", dir, "-o", filepath.Join(data, "appendonly.aof")}, args...)...); code != 0 {
			t.Fatalf("%v: %d, %s", args, code, said)
		}
		c := tile38(t, server, data)
		if got, err := c.Do(t.Context(), "SCAN", "fleet", "LIMIT", 1000).Result(); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%v: %v, %.300v\nwant %.300s", args, err, got, want)
		}
		if ttl, err := c.Do(t.Context(), "TTL", "notes", "n").Int64(); err != nil || ttl < 900 || ttl > 1000 {
			t.Errorf("%v: time to live %d, %v", args, ttl, err)
		}
		if n, err := c.Do(t.Context(), "CHANS", "*").Slice(); err != nil || len(n) != 1 {
			t.Errorf("%v: channels %v, %v", args, n, err)
		}
	}
}

// tile38 starts a real server on a directory.
func tile38(t *testing.T, server, data string) *redis.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	cmd := exec.Command(server, "-h", "127.0.0.1", "-p", port, "-d", data)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() {
		_ = c.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		if err := c.Do(t.Context(), "PING").Err(); err == nil {
			return c
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
