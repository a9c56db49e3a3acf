package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evenkeel/pkg/tile38"
)

// verifyServers runs `sidecar verify` and returns its exit status and output.
func verifyServers(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append([]string{"verify", "--settle", "40ms"}, args...))
	code := conclude(cmd.ExecuteContext(t.Context()), &out)
	return code, out.String()
}

// fill sends commands, words separated by spaces.
func fill(t *testing.T, addr string, lines ...string) {
	t.Helper()
	c, err := tile38.Dial(t.Context(), tile38.Options{Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, line := range lines {
		if _, err := c.Do(strings.Fields(line)...); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

func TestVerify(t *testing.T) {
	a, b := start(t), start(t)
	common := []string{"SET fleet truck1 FIELD speed 10 POINT 33 -115", "SET fleet note STRING x", "SET ~evenkeel:heartbeat h STRING x",
		"SETCHAN c NEARBY fleet FENCE POINT 33 -115 100"}
	fill(t, a.client, common...)
	fill(t, b.client, append(common, "DEL ~evenkeel:heartbeat h")...)
	servers := []string{"--leader", a.client, "--follower", b.client}

	if code, out := verifyServers(t, servers...); code != 0 || !strings.Contains(out, "EQUAL\ncompared 2 objects in 1 collections and 1 hooks") {
		t.Fatalf("status %d:\n%s", code, out)
	}
	fill(t, b.client, "SET fleet ghost POINT 1 2", "FSET fleet truck1 speed 12", "EXPIRE fleet note 100", "DELCHAN c", "SET other x STRING y")
	code, out := verifyServers(t, servers...)
	for _, want := range []string{
		"fleet            ghost                extra          → {\"type\":\"Point\",\"coordinates\":[2,1]}\n",
		"fleet            note                 expiry         ends never → in 1m",
		"fleet            truck1               fields         speed 10 → 12\n",
		"other            x                    extra          → y\n",
		"fleet            channel c            missing\n",
		"5 DIFFER: 1 missing, 2 extra, 1 fields, 1 expiry\n",
	} {
		if code != exitDiffers || !strings.Contains(out, want) {
			t.Errorf("status %d, and no %q in:\n%s", code, want, out)
		}
	}
	if code, out := verifyServers(t, append(servers, "--key", "oth*", "--max-report", "1")...); code != exitDiffers || !strings.Contains(out, "1 DIFFER: 1 extra\n") {
		t.Errorf("status %d:\n%s", code, out)
	}
	if code, out := verifyServers(t, append(servers, "--max-report", "2")...); code != exitDiffers || !strings.Contains(out, "… and 3 more\n") {
		t.Errorf("status %d:\n%s", code, out)
	}
	verifyAsJSON(t, servers)
	if code, out := verifyServers(t, append(servers, "--repair")...); code != 0 || !strings.Contains(out, "mended by 5 commands on the follower") || !strings.Contains(out, "\nEQUAL\n") {
		t.Errorf("status %d:\n%s", code, out)
	}
}

// verifyAsJSON reads the five differences as JSON.
func verifyAsJSON(t *testing.T, servers []string) {
	t.Helper()
	code, out := verifyServers(t, append(servers, "--json")...)
	types := map[string]int{}
	for line := range strings.Lines(out) {
		var v struct {
			Type  string         `json:"type"`
			Kinds map[string]int `json:"kinds"`
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		types[v.Type]++
		if v.Type == "summary" && v.Kinds["extra"] != 2 {
			t.Errorf("%s", line)
		}
	}
	if code != exitDiffers || types["difference"] != 4 || types["channel"] != 1 || types["summary"] != 1 || types["leader"] != 1 {
		t.Errorf("status %d: %v", code, types)
	}
}

func TestVerifyPassword(t *testing.T) {
	a := start(t)
	fill(t, a.client, "CONFIG SET requirepass secret")
	servers := []string{"--leader", a.client, "--follower", a.client}
	if code, out := verifyServers(t, servers...); code != exitNotCompared || !strings.Contains(out, a.client) {
		t.Errorf("status %d:\n%s", code, out)
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := verifyServers(t, append(servers, "--leader-auth-file", file, "--follower-auth-file", file)...); code != 0 {
		t.Errorf("status %d:\n%s", code, out)
	}
	t.Setenv("EVENKEEL_PASSWORD", "secret")
	if code, out := verifyServers(t, servers...); code != 0 {
		t.Errorf("status %d:\n%s", code, out)
	}
}

func TestVerifyRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "--leader is missing"},
		{[]string{"--leader", "x"}, `--leader "x": want HOST:PORT`},
		{[]string{"--leader", "a:1", "--follower", "b:2", "--rate", "-1", "--page", "0"}, "--page 0: want 1 or more"},
		{[]string{"--tolerance", "x"}, "invalid argument"},
		{[]string{"--nonsense"}, "unknown flag"},
		{[]string{"--leader", "127.0.0.1:1", "--follower", "127.0.0.1:1"}, "127.0.0.1:1"},
	} {
		if code, out := verifyServers(t, c.args...); code != exitNotCompared || !strings.Contains(out, c.want) {
			t.Errorf("%q: status %d: %s", c.args, code, out)
		}
	}
}
