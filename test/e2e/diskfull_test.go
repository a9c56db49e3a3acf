package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDiskFull: on a real filesystem without room, writes get a clear error,
// reads go on, nothing acknowledged is lost, and it recovers by itself when
// there is room.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("SKIPPED: cannot mount a small filesystem (%v): run as root to test a full disk", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	data := filepath.Join(dir, "data")
	ballast := filepath.Join(dir, "ballast")
	mustWrite(t, ballast, make([]byte, 2<<20))
	s := start(t, data)
	ctx := context.Background()
	value := strings.Repeat("x", 10_000)
	acked, failed := 0, error(nil)
	for i := 0; i < 1000 && failed == nil; i++ {
		if failed = s.rdb.Do(ctx, "SET", "k", fmt.Sprint(i), "STRING", value).Err(); failed == nil {
			acked++
		}
	}
	if failed == nil || !strings.Contains(failed.Error(), "no space left") {
		t.Fatalf("after %d writes of 10 kB on a 4 MB disk: %v", acked, failed)
	}
	if got := s.words("GET k 0"); got != value {
		t.Error("a read fails while the disk is full")
	}
	if code, body := get(t, "http://"+s.probe+"/readyz"); code != 503 || !strings.Contains(body, "no space left") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.waitFor("writes to work again", func() bool {
		return s.rdb.Do(ctx, "SET", "k", "after", "STRING", "room").Err() == nil
	})
	want := s.status().Digest
	s.kill()
	s = start(t, data)
	if got := s.status().Digest; got != want {
		t.Errorf("digest %s after a kill and restart, want %s", got, want)
	}
	for i := range acked {
		if n := s.do("EXISTS", "k", fmt.Sprint(i)); n != int64(1) {
			t.Fatalf("object %d was acknowledged and is gone", i)
		}
	}
}
