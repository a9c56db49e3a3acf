package store

import (
	"fmt"
	"strings"
	"testing"

	"evenkeel/pkg/engine/dump"
)

// dumped is everything that a store holds, as commands.
func (f *fixture) dumped() []string {
	f.t.Helper()
	var lines []string
	if err := dump.Items(f.eng.State(), 0, func(args []string) error {
		lines = append(lines, strings.Join(args, " "))
		return nil
	}); err != nil {
		f.t.Fatal(err)
	}
	return lines
}

// A replay leads to what the log was written from, whatever the commands. The log
// is many times as long as what is handed over at once, and has a batch that is
// longer.
func TestReplayAll(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	text := func(i int) string { return strings.Repeat(fmt.Sprintf("text-%d-", i), 30) }
	for i := range 1000 {
		f.mustWrite(
			fmt.Sprintf("SET points%d id%d FIELD name%d %s FIELD n %d POINT %d %d", i%7, i, i, text(i), i, i%90, i%180),
			fmt.Sprintf("SET points%d id%d FIELD name%d 0 FIELD n %d.5 EX %d POINT %d %d %d", i%7, i/2, i, i, 100+i, i%90, i%180, i),
			fmt.Sprintf("set texts text%d STRING %s", i, text(i)),
			fmt.Sprintf(`SET features f%d OBJECT {"type":"Feature","geometry":{"type":"Point","coordinates":[%d,%d]},"properties":{"is":%q}}`, i, i%180, i%90, text(i)),
			fmt.Sprintf(`SET features m%d FIELD json {"is":%q} BOUNDS 1 2 3 %d`, i, text(i), i),
			fmt.Sprintf("SET features h%d HASH u33%d", i, i%10),
			fmt.Sprintf("FSET features h%d a%d %s b %d", i, i, text(i), i),
			fmt.Sprintf("JSET documents d%d name.%d %s", i%50, i, text(i)),
			fmt.Sprintf("EXPIRE texts text%d %d", i, 1000+i),
		)
		if i%100 == 0 {
			f.mustWrite(
				fmt.Sprintf("SETCHAN channel%d META about %s NEARBY points1 FENCE POINT 1 2 %d", i, text(i), i+1),
				fmt.Sprintf("SET moving%d %s POINT 1 2", i, text(i)),
				fmt.Sprintf("RENAME moving%d moved%d-%s", i, i, text(i)),
				fmt.Sprintf("SET gone%d id POINT 1 2", i),
				fmt.Sprintf("DEL gone%d id", i),
				"PDEL features h*5",
				"PERSIST texts text"+fmt.Sprint(i/2),
			)
		}
	}
	f.mustWrite("SET texts long STRING "+strings.Repeat("long", chunkBytes/3), "SET texts last STRING short")
	want, digest := f.dumped(), f.digest()
	f.close()
	again := open(t, dir)
	if n := again.Stats().DigestMismatch; n != 0 || again.digest() != digest {
		t.Errorf("%d batches led to another state; digest %s, want %s", n, again.digest(), digest)
	}
	got := again.dumped()
	if len(got) != len(want) || len(want) < 4000 {
		t.Fatalf("%d objects and hooks, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("replayed %.300q\nwant     %.300q", got[i], want[i])
		}
	}
}
