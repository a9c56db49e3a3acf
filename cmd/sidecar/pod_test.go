package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPasswordFiles: what is in the file counts; none, an empty one, and both ways at
// once are refused.
func TestPasswordFiles(t *testing.T) {
	file, empty := passwordFile(t, "hush"), passwordFile(t, "")
	c, err := parse(t, "--requirepass-file="+file, "--leaderauth-file="+file)
	if err != nil || *c.properties["requirepass"] != "hush" || *c.properties["leaderauth"] != "hush" || !c.given("requirepass") {
		t.Errorf("%v, %q", err, *c.properties["requirepass"])
	}
	if c, err := parse(t); err != nil || c.given("requirepass") || c.given("appendfsync") {
		t.Errorf("nothing is given: %v", err)
	}
	for want, args := range map[string][]string{
		"--requirepass-file: open /nothing/there":                      {"--requirepass-file=/nothing/there"},
		"--requirepass-file: " + empty + " holds no password":          {"--requirepass-file=" + empty},
		"--leaderauth-file: --leaderauth is given too":                 {"--leaderauth-file=" + file, "--leaderauth=x"},
		"--requirepass-file means nothing with --engine tile38":        {"--engine=tile38", "--requirepass-file=" + file},
		"--lead-on-host: the other hosts need a leader: give --follow": {"--lead-on-host=x"},
	} {
		if _, err := parse(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", args, err, want)
		}
	}
	p := start(t, "--requirepass-file="+file)
	if lines, _ := p.talk("GET a b\r\nAUTH hush\r\nGET a b\r\n", 3); lines[0] != "-NOAUTH Authentication required" && !strings.Contains(lines[0], "authentication required") || lines[1] != "+OK" || lines[2] != "$-1" {
		t.Errorf("%q", lines)
	}
}

// TestLeadOnHost: the same flags make this host a leader, and others followers.
func TestLeadOnHost(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, engine := range []string{"embedded", "tile38"} {
		for name, want := range map[string]string{host: "", host + "-1": "leader:9851"} {
			args := []string{"--engine=" + engine, "--follow=leader:9851", "--lead-on-host=" + name}
			if engine == engineTile38 {
				args = append(args, "--engine-dir="+t.TempDir())
			}
			if c, err := parse(t, args...); err != nil || c.follow != want {
				t.Errorf("%s, --lead-on-host %s: follows %q, %v; want %q", engine, name, c.follow, err, want)
			}
		}
	}
}

// TestEngineConfig: the password is put beside what a Tile38 has written.
func TestEngineConfig(t *testing.T) {
	dir := t.TempDir()
	file := passwordFile(t, `with "quotes"`)
	config := filepath.Join(dir, "config")
	run := func(args ...string) error {
		cmd := root()
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		cmd.SetArgs(append([]string{"engine-config"}, args...))
		return cmd.ExecuteContext(t.Context())
	}
	read := func() (text []byte, values map[string]any) {
		text, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &values); err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		return text, values
	}
	good := []string{"--engine-dir", dir, "--engine-password-file", file}
	if err := run(good...); err != nil {
		t.Fatal(err)
	}
	if _, v := read(); len(v) != 2 || v["requirepass"] != `with "quotes"` || v["leaderauth"] != `with "quotes"` {
		t.Errorf("%v", v)
	}
	if err := os.WriteFile(config, []byte(`{"server_id": "abc", "requirepass": "old", "other": {"deep": [1]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(good...); err != nil {
		t.Fatal(err)
	}
	first, v := read()
	if len(v) != 4 || v["server_id"] != "abc" || v["requirepass"] != `with "quotes"` {
		t.Errorf("%v", v)
	}
	if err := run(good...); err != nil {
		t.Fatal(err)
	}
	if again, _ := read(); !bytes.Equal(again, first) {
		t.Errorf("the second time:\n%s\nthe first:\n%s", again, first)
	}
	if err := os.WriteFile(config, []byte(`[1]`), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"is not the JSON object":         good,
		"--engine-dir is missing":        {"--engine-password-file", file},
		"there is no password":           {"--engine-dir", dir},
		"--engine-password-file: open /": {"--engine-dir", dir, "--engine-password-file", "/nothing/there"},
	} {
		if err := run(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", args, err, want)
		}
	}
}
