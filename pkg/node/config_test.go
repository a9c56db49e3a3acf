package node

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/settings"
)

// TestConfig: GET, SET, REWRITE, and what a restart finds.
func TestConfig(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, config{})
	c, js := s.dial(), s.dial()
	js.do("OUTPUT json")
	c.talk([][2]string{
		{"CONFIG", "-ERR unknown command 'CONFIG'"},
		{"CONFIG nosuch", "-ERR unknown command 'CONFIG nosuch'"},
		{"CONFIG GET", "-ERR wrong number of arguments for 'config' command"},
		{"CONFIG GET a b", "-ERR wrong number of arguments for 'config' command"},
		{"CONFIG SET requirepass", "+OK"},
		{"CONFIG SET keepalive", "-ERR wrong number of arguments for 'config' command"},
		{"CONFIG REWRITE x", "-ERR wrong number of arguments for 'config' command"},
		{"CONFIG GET nosuch", "[]"},
		{"CONFIG SET nosuch 1", "-ERR Unsupported CONFIG parameter: nosuch"},
		{"CONFIG SET keepalive x", "-ERR Invalid argument 'x' for CONFIG SET 'keepalive'"},
		{"CONFIG SET keepalive 60", "+OK"},
		{"config get KEEPALIVE", "[]"},
		{"CONFIG GET keep*", "[keepalive 60]"},
		{"CONFIG SET appendfsync always", "+OK"},
		{"CONFIG GET a*", "[autogc 0]"},
		{"CONFIG GET append*", "[appendfsync always]"},
	})
	js.talk([][2]string{
		{"CONFIG GET nosuch", `{"ok":true,"properties":{}}`},
		{"CONFIG GET keepalive", `{"ok":true,"properties":{"keepalive":"60"}}`},
		{"CONFIG SET nosuch 1", `{"ok":false,"err":"Unsupported CONFIG parameter: nosuch"}`},
		{`CONFIG SET leaderauth a"b`, `{"ok":true}`},
		{"CONFIG GET l*", `{"ok":true,"properties":{"leaderauth":"a\"b","logconfig":""}}`},
		{"CONFIG REWRITE", `{"ok":true}`},
		{"CONFIG SET keepalive 70", `{"ok":true}`}, // not rewritten
	})
	s.stop()
	s = serve(t, dir, config{})
	s.dial().talk([][2]string{
		{"CONFIG GET keepalive", "[keepalive 60]"}, {"CONFIG GET leaderauth", `[leaderauth a"b]`}, {"CONFIG GET appendfsync", "[appendfsync always]"},
	})
}

// TestConfigKeepsWords: a value that comes in a large pipeline does not keep it
// alive or change with it.
func TestConfigKeepsWords(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	c := s.dial()
	c.send("CONFIG SET leaderauth first", "CLIENT SETNAME name", "ECHO x")
	for range 3 {
		c.reply()
	}
	c.send("ECHO " + strings.Repeat("z", 1000))
	c.reply()
	c.talk([][2]string{{"CONFIG GET leaderauth", "[leaderauth first]"}, {"CLIENT GETNAME", "name"}})
}

// TestReadOnly: it holds over a restart, for writes of clients alone.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, config{})
	c := s.dial()
	c.talk([][2]string{
		{"READONLY", "-ERR wrong number of arguments for 'readonly' command"},
		{"READONLY maybe", "-ERR invalid argument 'maybe'"},
		{"READONLY YES", "-ERR invalid argument 'YES'"},
		{"SET k a POINT 1 1", "+OK"},
		{"READONLY yes", "+OK"},
		{"SET k b POINT 1 1", "-ERR read only"},
		{"DEL k a", "-ERR read only"},
		{"FLUSHDB", "-ERR read only"},
		{"SETHOOK h x", "-ERR read only"},
		{"TIMEOUT 5 JDEL k a x", "-ERR read only"},
		{"EXISTS k a", ":1"},
		{"AOFSHRINK", "+OK"},
		{"FOLLOW no one", "+OK"},
		{"SET k b POINT 1 1", "-ERR read only"}, // FOLLOW does not end it
	})
	s.stop()
	s = serve(t, dir, config{})
	s.dial().talk([][2]string{{"SET k b POINT 1 1", "-ERR read only"}, {"READONLY no", "+OK"}, {"SET k b POINT 1 1", "+OK"}})
	s.stop()
	s = serve(t, dir, config{})
	s.dial().talk([][2]string{{"SET k c POINT 1 1", "+OK"}, {"SCAN k IDS", "[:0 [a b c]]"}})
}

// TestSettingsFail: what cannot be remembered is refused, and does not happen.
func TestSettingsFail(t *testing.T) {
	dir := t.TempDir()
	disk := fsxtest.New(fsx.OS{})
	s := serve(t, dir, config{fs: disk})
	other := serve(t, t.TempDir(), config{})
	_, port, _ := strings.Cut(other.addr, ":")
	c := s.dial()
	name := filepath.Join(dir, settings.File)
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	disk.FailWith(func(_ int, _ fsxtest.Op, path string) error {
		if strings.HasPrefix(path, name) {
			return syscall.EACCES
		}
		return nil
	})
	for _, line := range []string{"READONLY yes", "FOLLOW 127.0.0.1 " + port, "CONFIG REWRITE"} {
		if got := c.do(line); !strings.HasPrefix(got, "-ERR settings: ") || !strings.Contains(got, "permission denied") {
			t.Errorf("%s: %s", line, got)
		}
	}
	c.talk([][2]string{{"SET k a POINT 1 1", "+OK"}, {"ROLE", "[master :52 []]"}})
	disk.FailWith(nil)
	if after, _ := os.ReadFile(name); !bytes.Equal(after, before) {
		t.Errorf("the file was changed to\n%s", after)
	}
	c.talk([][2]string{{"READONLY yes", "+OK"}, {"SET k a POINT 1 1", "-ERR read only"}})
}
