package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
)

func load(t *testing.T, dir string) *Settings {
	t.Helper()
	s, err := Load(fsx.OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// file reads the settings file.
func file(t *testing.T, dir string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func put(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, File), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestValues: what each property takes, how it is kept and shown, and what it
// refuses. A refused value leaves the old one.
func TestValues(t *testing.T) {
	const refused = "\x00"
	s := load(t, t.TempDir())
	for _, c := range []struct{ name, value, kept, shown string }{
		{MaxMemory, "100", "100", "100"},
		{MaxMemory, "900kb", "921600", "900kb"},
		{MaxMemory, "1500mb", "1572864000", "1gb"},
		{MaxMemory, "2048MB", "2147483648", "2gb"},
		{MaxMemory, "3gb", "3221225472", "3gb"},
		{MaxMemory, "0", "", ""},
		{MaxMemory, "", "", ""},
		{MaxMemory, "5xb", refused, ""},
		{MaxMemory, "-1", refused, ""},
		{MaxMemory, "1.5gb", refused, ""},
		{MaxMemory, "gb", refused, ""},
		{MaxMemory, "9223372036854775807gb", refused, ""},
		{AutoGC, "30", "30", "30"},
		{AutoGC, "007", "7", "7"},
		{AutoGC, "", "0", "0"},
		{AutoGC, "x", refused, ""},
		{AutoGC, "-1", refused, ""},
		{KeepAlive, "60", "60", "60"},
		{KeepAlive, "0", "0", "0"},
		{KeepAlive, "", "300", "300"},
		{KeepAlive, "x", refused, ""},
		{KeepAlive, "99999999999", refused, ""},
		{ProtectedMode, "no", "no", "no"},
		{ProtectedMode, "YES", "yes", "yes"},
		{ProtectedMode, "maybe", refused, ""},
		{ProtectedMode, "", refused, ""},
		{RequirePass, "se cret", "se cret", "se cret"},
		{RequirePass, "", "", ""},
		{LeaderAuth, "secret", "secret", "secret"},
		{LogConfig, `{"level":"info"}`, `{"level":"info"}`, `{"level":"info"}`},
		{LogConfig, "no json", "no json", "no json"},
		{ReplicaPriority, "7", "7", "7"},
		{ReplicaPriority, "0", "0", "0"},
		{ReplicaPriority, "-1", refused, ""},
		{ReplicaPriority, "x", refused, ""},
		{ReplicaPriority, "", refused, ""},
		{AnnounceIP, "10.0.0.9", "10.0.0.9", "10.0.0.9"},
		{AnnounceIP, "", "", ""},
		{AnnouncePort, "9999", "9999", "9999"},
		{AnnouncePort, "", "0", "0"},
		{AnnouncePort, "x", refused, ""},
		{AnnouncePort, "65536", refused, ""},
		{AppendFsync, "always", "always", "always"},
		{AppendFsync, "EverySec", "everysec", "everysec"},
		{AppendFsync, "no", "no", "no"},
		{AppendFsync, "never", refused, ""},
		{AppendFsync, "", refused, ""},
		{ShrinkMinSize, "100kb", "100kb", "100kb"},
		{ShrinkMinSize, "1024", "1kb", "1kb"},
		{ShrinkMinSize, "0", "0", "0"},
		{ShrinkMinSize, "-1", refused, ""},
		{ShrinkMinSize, "many", refused, ""},
		{ShrinkGrowth, "50", "50", "50"},
		{ShrinkGrowth, "0", "0", "0"},
		{ShrinkGrowth, "-5", refused, ""},
		{ShrinkCheck, "30", "30s", "30s"},
		{ShrinkCheck, "90s", "1m30s", "1m30s"},
		{ShrinkCheck, "0", refused, ""},
		{ShrinkCheck, "99ms", refused, ""},
		{ShrinkCheck, "-5s", refused, ""},
		{ShrinkCheck, "soon", refused, ""},
		{ShrinkCooldown, "1ms", "1ms", "1ms"},
		{ShrinkCooldown, "", refused, ""},
		{ReplBacklogSize, "1gb", "1gb", "1gb"},
		{ReplBacklogSize, "x", refused, ""},
		{CompactionRate, "32MB", "32mb", "32mb"},
		{CompactionRate, "ADAPTIVE", "adaptive", "adaptive"},
		{CompactionRate, "0", refused, ""},
		{CompactionRate, "fast", refused, ""},
	} {
		before := s.Get(c.name)
		err := s.Set(c.name, c.value)
		if c.kept == refused {
			if err == nil || !strings.Contains(err.Error(), strconv.Quote(c.value)) && !strings.Contains(err.Error(), "'"+c.value+"'") {
				t.Errorf("%s %q: error %v, want one that names the value", c.name, c.value, err)
			}
			if got := s.Get(c.name); got != before {
				t.Errorf("%s %q was refused and changed the value to %q", c.name, c.value, got)
			}
			continue
		}
		if got, shown := s.Get(c.name), s.Match(c.name)[c.name]; err != nil || got != c.kept || shown != c.shown {
			t.Errorf("%s %q: kept %q, shown %q, %v, want %q, %q", c.name, c.value, got, shown, err, c.kept, c.shown)
		}
	}
	if err := s.Set("nope", "1"); !errors.Is(err, ErrUnknown) {
		t.Errorf("nope: %v", err)
	}
	if err := s.Set("MAXMEMORY", "1"); !errors.Is(err, ErrUnknown) {
		t.Errorf("MAXMEMORY: %v", err)
	}
}

// TestMatch: clients that list all see Tile38's properties only.
func TestMatch(t *testing.T) {
	s := load(t, t.TempDir())
	for pattern, want := range map[string]int{
		"*": 10, "": 0, "nope": 0, "max*": 1, "k?epalive": 1, "*e*": 8,
		"appendfsync": 1, "a*": 1, "aofshrink*": 4, "comp*": 0, "compaction*": 1, "repl*": 3, "repl-*": 1, "r*": 4, "aofshrink-growth": 1,
	} {
		if got := s.Match(pattern); len(got) != want {
			t.Errorf("%q lists %d: %v, want %d", pattern, len(got), got, want)
		}
	}
}

// TestRoundTrip: what REWRITE writes is what the next start takes up, and what
// is at its default is not written.
func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s := load(t, dir)
	set := map[string]string{
		MaxMemory: "1572864000", AutoGC: "7", KeepAlive: "60", ProtectedMode: "no", RequirePass: "a\x01\n\"ü<", LeaderAuth: "la",
		LogConfig: `{"level":"info"}`, ReplicaPriority: "7", AnnounceIP: "10.0.0.9", AnnouncePort: "77",
		AppendFsync: "always", ShrinkMinSize: "100kb", ShrinkGrowth: "50", ShrinkCheck: "30s", ShrinkCooldown: "5m0s", ReplBacklogSize: "1mb",
	}
	for name, value := range set {
		if err := s.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if got := file(t, dir); len(got) != 1 || got["server_id"] != s.ServerID() {
		t.Errorf("before REWRITE the file holds %v", got)
	}
	if err := s.Rewrite(); err != nil {
		t.Fatal(err)
	}
	// As Tile38 has them, so that it could take the directory back.
	got := file(t, dir)
	if got[ReplicaPriority] != 7.0 || !reflect.DeepEqual(got[LogConfig], map[string]any{"level": "info"}) || got[AutoGC] != "7" {
		t.Errorf("the file holds %v", got)
	}
	again := load(t, dir)
	for name, value := range set {
		if got := again.Get(name); got != value {
			t.Errorf("%s is %q after a restart, was %q", name, got, value)
		}
	}
	for _, p := range properties {
		if err := again.Set(p.Name, p.Default); err != nil && p.Name != ReplicaPriority {
			t.Errorf("%s refuses its own default: %v", p.Name, err)
		}
	}
	if err := again.Rewrite(); err != nil {
		t.Fatal(err)
	}
	if got := file(t, dir); len(got) != 2 { // server_id, replica-priority
		t.Errorf("the file holds defaults: %v", got)
	}
}

// TestTile38File: a file that Tile38 wrote is understood, and what is not
// Evenkeel's business stays in it, to the digit.
func TestTile38File(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, `{
	"autogc": "7", "follow_host": "10.1.2.3", "follow_port": 9851, "follow_id": "0123", "follow_pos": 90071992547409931,
	"keepalive": "60", "leaderauth": "la", "logconfig": {"level":"info"}, "maxmemory": "2gb", "protected-mode": "no",
	"read_only": true, "replica-priority": 7, "server_id": "d1287cdc7826703180914160c7312498", "x-other": [1, {"a": null}]
}`)
	s := load(t, dir)
	host, port := s.Follow()
	if host != "10.1.2.3" || port != 9851 || !s.ReadOnly() || s.ServerID() != "d1287cdc7826703180914160c7312498" {
		t.Errorf("follows %s %d, read-only %v, id %s", host, port, s.ReadOnly(), s.ServerID())
	}
	if s.Get(MaxMemory) != "2147483648" || s.Get(ReplicaPriority) != "7" || s.Get(LogConfig) != `{"level":"info"}` {
		t.Errorf("running %v", s.running)
	}
	want := file(t, dir)
	if err := s.Set(KeepAlive, "300"); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{s.Rewrite(), s.SetReadOnly(false), s.SetFollow("", 0)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, gone := range []string{"keepalive", "read_only", "follow_host", "follow_port"} {
		delete(want, gone)
	}
	want["maxmemory"] = "2147483648"
	if got := file(t, dir); !maps.EqualFunc(got, want, reflect.DeepEqual) {
		t.Errorf("the file holds\n%v, want\n%v", got, want)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, File)); !strings.Contains(string(b), "90071992547409931") {
		t.Errorf("a large number was rounded:\n%s", b)
	}
}

// TestDamaged: the error says which file, what is wrong with it (everything
// that is), and what to do; the file stays as it is.
func TestDamaged(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", []string{"EOF"}},
		{"{", []string{"unexpected EOF"}},
		{"null", []string{"want a JSON object"}},
		{"[1]", []string{"array"}},
		{"{} {}", []string{"more behind"}},
		{"\x00\x00\x00", []string{"invalid character"}},
		{`{"keepalive": true, "maxmemory": "1.5gb", "autogc": "x"}`, []string{"keepalive", "must be a string", "maxmemory", "1.5gb", "autogc"}},
		{`{"maxmemory": {"a": 1}}`, []string{"maxmemory", "must be a string"}},
		{`{"server_id": 5, "read_only": "yes", "follow_host": 1, "follow_port": 70000}`, []string{"server_id", "read_only", "true or false", "follow_host", "follow_port", "65535"}},
		{`{"follow_port": "9851"}`, []string{"follow_port"}},
	} {
		dir := t.TempDir()
		put(t, dir, c.text)
		s, err := Load(fsx.OS{}, dir)
		if err == nil {
			t.Errorf("%q was taken: %v", c.text, s.saved)
			continue
		}
		for _, w := range append(c.want, filepath.Join(dir, File), "mend the file, or move it away") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v, want %q in it", c.text, err, w)
			}
		}
		if b, _ := os.ReadFile(filepath.Join(dir, File)); string(b) != c.text {
			t.Errorf("%q was changed to %q", c.text, b)
		}
	}
}

// TestWriteFailure: when the file cannot be written the old values are in force
// and in the file.
func TestWriteFailure(t *testing.T) {
	for _, op := range []fsxtest.Op{fsxtest.OpCreate, fsxtest.OpWrite, fsxtest.OpSync, fsxtest.OpRename} {
		t.Run(string(op), func(t *testing.T) {
			dir := t.TempDir()
			disk := fsxtest.New(fsx.OS{})
			s, err := Load(disk, dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.SetFollow("old", 1); err != nil {
				t.Fatal(err)
			}
			want := file(t, dir)
			disk.FailOp(op, syscall.ENOSPC)
			if err := s.Set(KeepAlive, "60"); err != nil {
				t.Fatal(err) // touches no disk
			}
			for name, change := range map[string]func() error{
				"Rewrite": s.Rewrite, "SetReadOnly": func() error { return s.SetReadOnly(true) },
				"SetFollow": func() error { return s.SetFollow("new", 2) },
			} {
				if err := change(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if host, port := s.Follow(); host != "old" || port != 1 || s.ReadOnly() {
				t.Errorf("follows %s %d, read-only %v", host, port, s.ReadOnly())
			}
			if got := file(t, dir); !reflect.DeepEqual(got, want) {
				t.Errorf("the file holds %v, want %v", got, want)
			}
			disk.FailOp(op, nil)
			if err := s.Rewrite(); err != nil {
				t.Fatal(err)
			}
			if got := file(t, dir); got[KeepAlive] != "60" || got["follow_host"] != "old" || got["read_only"] != nil {
				t.Errorf("after the failure the file holds %v", got)
			}
		})
	}
	disk := fsxtest.New(fsx.OS{})
	disk.FailOp(fsxtest.OpCreate, syscall.EACCES)
	if _, err := Load(disk, t.TempDir()); !errors.Is(err, syscall.EACCES) {
		t.Errorf("a first start that cannot write its id: %v", err)
	}
}

// TestServerID: it is made once.
func TestServerID(t *testing.T) {
	dir := t.TempDir()
	id := load(t, dir).ServerID()
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Errorf("id %q", id)
	}
	if again := load(t, dir).ServerID(); again != id {
		t.Errorf("id %q after a restart, was %q", again, id)
	}
	if other := load(t, t.TempDir()).ServerID(); other == id {
		t.Error("two servers have one id")
	}
}

// TestWatch: watchers hear of the value that is in force, and of the last one
// last, whoever sets at the same time.
func TestWatch(t *testing.T) {
	s := load(t, t.TempDir())
	var last string
	calls := 0
	s.Watch(KeepAlive, func(v string) { last, calls = v, calls+1 })
	if last != "300" {
		t.Errorf("heard %q at first", last)
	}
	if err := s.Set(KeepAlive, "bad"); err == nil || calls != 1 {
		t.Errorf("a refused value was told: %v, %d calls", err, calls)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				if err := s.Set(KeepAlive, fmt.Sprint(i*100+j)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if calls != 161 || last != s.Get(KeepAlive) {
		t.Errorf("%d calls, last %q, in force is %q", calls, last, s.Get(KeepAlive))
	}
}
