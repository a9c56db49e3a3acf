package upstream

import (
	"bytes"
	"strings"
	"testing"

	"evenkeel/pkg/resp"
)

func TestSmall(t *testing.T) {
	tab := newTable()
	long := strings.Repeat("z", maxSmall)
	for _, c := range []struct {
		in   string
		n    int
		name string
		v    verdict
	}{
		{array("GET", "k", "id"), 28, "get", verdictSmall},
		{array("get", "k", "id") + "rest", 28, "get", verdictSmall},
		{array("SET", "k", "", "POINT", "1", "2"), 51, "set", verdictSmall},
		{array("Ping"), 14, "ping", verdictSmall},
		{array("SET", "k", "id", "STRING", long[:3900]), 3949, "set", verdictSmall},
		{array("SET", "k", "id", "STRING", long), 0, "", verdictPrivate},
		{"*5\r\n$3\r\nSET\r\n$4096\r\nzz", 0, "", verdictPrivate},
		{array("SCAN", "k"), 21, "scan", verdictSmall},
		{array("nearby", "k", "LIMIT", "1", "POINT", "1", "2"), 66, "nearby", verdictSmall},
		{array("WITHIN", "k", "FENCE", "BOUNDS", "1", "2", "3", "4"), 0, "", verdictPrivate},
		{array("INTERSECTS", "k", "fencE", "x"), 0, "", verdictPrivate},
		{array("SEARCH", "fence", "IDS"), 0, "", verdictPrivate}, // a key, but who would look
		{array("STATS", "k"), 0, "", verdictPrivate},
		{array("TIMEOUT", "1", "GET", "k", "id"), 0, "", verdictPrivate},
		{array("GETS"), 0, "", verdictPrivate},
		{array(""), 0, "", verdictPrivate},
		{array("QUIT"), 0, "", verdictPrivate},
		{"*1\r\n$4\r\nSC", 0, "", verdictPart},
		{"*1\r\n$4\r\nPING\r", 0, "", verdictPart},
		{"*1\r\n$4\r", 0, "", verdictPart},
		{"*1", 0, "", verdictPart},
		{"*1\r", 0, "", verdictPart},
		{"*", 0, "", verdictPart},
		{"*0\r\n", 0, "", verdictPrivate},
		{"*-1\r\n", 0, "", verdictPrivate},
		{"*\r\n", 0, "", verdictPrivate},
		{"*01\r\n$4\r\nPING\r\n", 0, "", verdictPrivate},
		{"*1\n$4\nPING\n", 0, "", verdictPrivate},
		{"*1\r\n$+4\r\nPING\r\n", 0, "", verdictPrivate},
		{"*1\r\n$4\r\nPINGxx", 0, "", verdictPrivate},
		{"*1\r\n:4\r\n", 0, "", verdictPrivate},
		{"*12345\r\n", 0, "", verdictPrivate},
		{"PING\r\n", 0, "", verdictPrivate},
		{"$4 PING\r\n", 0, "", verdictPrivate},
	} {
		k, n, v := tab.small([]byte(c.in))
		if v != c.v || v == verdictSmall && (n != c.n || k.name != c.name) {
			t.Errorf("%.40q: %v, %d, %d; want %s, %d, %d", c.in, k, n, v, c.name, c.n, c.v)
		}
	}
	// Whatever is missing of a small command may come.
	all := array("SET", "k", "id", "POINT", "1", "2")
	for i := 1; i < len(all); i++ {
		if _, _, v := tab.small([]byte(all[:i])); v != verdictPart {
			t.Errorf("%q: %d", all[:i], v)
		}
	}
}

// What is taken for a small command is one for the reader of commands, too, of the
// same length; and written as everybody writes it.
func FuzzSmall(f *testing.F) {
	for _, s := range []string{
		array("GET", "k", "id"), array("SET", "k", "id", "POINT", "1", "2") + array("PING"), "*1\r\n$4\r\nPINGxx",
		"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", "*1\r\n$-1\r\n", "*1\r\n$04\r\nPING\r\n", "PING\r\n", "*9999\r\n",
	} {
		f.Add([]byte(s))
	}
	tab := newTable()
	f.Fuzz(func(t *testing.T, b []byte) {
		k, n, v := tab.small(b)
		if v != verdictSmall {
			return
		}
		cmd, err := resp.NewReader(bytes.NewReader(b[:n]), resp.Limits{}).Next()
		if err != nil || !strings.EqualFold(cmd.Args[0], k.name) {
			t.Fatalf("%q: %v, %v; want %s", b[:n], cmd.Args, err, k.name)
		}
		if again := array(cmd.Args...); again != string(b[:n]) {
			t.Fatalf("%q was taken for %q", b[:n], again)
		}
	})
}
