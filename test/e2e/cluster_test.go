package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestWait: WAIT counts the followers that have everything on their disks.
func TestWait(t *testing.T) {
	l := start(t, t.TempDir(), "--appendfsync", "no")
	if got := l.words("WAIT 0 0"); got != int64(0) {
		t.Errorf("WAIT 0 0 = %v", got)
	}
	for range 2 {
		level(t, l, start(t, t.TempDir(), "--follow", l.addr, "--appendfsync", "no"))
	}
	l.words("SET fleet a POINT 1 1")
	if got := l.words("WAIT 2 0"); got != int64(2) {
		t.Errorf("WAIT 2 0 = %v", got)
	}
	begun := time.Now()
	if got := l.words("WAIT 3 50"); got != int64(2) || time.Since(begun) < 50*time.Millisecond {
		t.Errorf("WAIT 3 50 = %v after %s", got, time.Since(begun))
	}
	for _, bad := range []string{"WAIT", "WAIT 1", "WAIT x 1", "WAIT 1 x", "WAIT -1 1", "WAIT 1 1 1"} {
		if got := l.said(bad); got == "OK" {
			t.Errorf("%s: no error", bad)
		}
	}
}

// TestMinReplicas: a write that too few followers have is no success.
func TestMinReplicas(t *testing.T) {
	l := start(t, t.TempDir(), "--min-replicas-to-write", "1", "--min-replicas-timeout", "200ms")
	if got := l.said("SET fleet a POINT 1 1"); !strings.Contains(got, "NOREPLICAS Not enough") {
		t.Errorf("without a follower: %q", got)
	}
	if got := l.said("EXISTS fleet a"); !strings.Contains(got, "key not found") {
		t.Errorf("the refused write was carried out: %v", got)
	}
	f := start(t, t.TempDir(), "--follow", l.addr)
	level(t, l, f)
	if got := l.said("SET fleet a POINT 1 1"); got != "OK" {
		t.Errorf("with a follower: %q", got)
	}
	if got := f.words("EXISTS fleet a"); got != int64(1) {
		t.Errorf("acknowledged, and the follower answers %v", got)
	}
	f.signal(syscall.SIGSTOP) // it is connected, and does nothing
	if got := l.said("SET fleet b POINT 1 1"); !strings.Contains(got, "0 of 1 replicas") {
		t.Errorf("with a follower that stands still: %q", got)
	}
	f.signal(syscall.SIGCONT)
	l.words("CONFIG SET min-replicas-to-write 0")
	f.signal(syscall.SIGSTOP)
	if got := l.said("SET fleet c POINT 1 1"); got != "OK" {
		t.Errorf("when it is not asked for: %q", got)
	}
	f.signal(syscall.SIGCONT)
}

// TestCompactWait: `sidecar compact --wait` ends when the whole cluster has
// compacted, one pod after the other.
func TestCompactWait(t *testing.T) {
	l := start(t, t.TempDir())
	f, g := start(t, t.TempDir(), "--follow", l.addr), start(t, t.TempDir(), "--follow", l.addr)
	for range 2 {
		l.fill("fleet", 2000)
	}
	level(t, l, f)
	level(t, l, g)
	out, err := exec.Command(binary, "compact", "--wait", "--json", l.addr).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var answer struct {
		OK   bool
		Pods []struct {
			Pod    string
			Offset int64
		}
	}
	if err := json.Unmarshal(out, &answer); err != nil || !answer.OK || len(answer.Pods) != 3 {
		t.Fatalf("%v: %s", err, out)
	}
	for _, p := range answer.Pods {
		if p.Offset != l.status().Offset {
			t.Errorf("%s: base at %d, the log ends at %d", p.Pod, p.Offset, l.status().Offset)
		}
	}
	for _, p := range []*server{l, f, g} {
		if n := strings.Count(p.log.String(), "compaction done"); n != 1 {
			t.Errorf("%d compactions, want 1", n)
		}
	}
	for _, p := range []*server{f, g} {
		if st := p.status().Follower; st.Reconnects != 0 || st.FullResyncs > 1 || st.RangeResyncs != 0 {
			t.Errorf("after it: %+v", *st)
		}
	}
	text, err := exec.Command(binary, "compact", "--wait", l.addr).CombinedOutput()
	if err != nil || strings.Count(string(text), "base at offset") != 3 || !strings.Contains(string(text), "3 compacted") {
		t.Errorf("%v\n%s", err, text)
	}
	g.signal(syscall.SIGSTOP)
	text, err = exec.Command(binary, "compact", "--wait", "--timeout", "3s", l.addr).CombinedOutput()
	if err == nil || !strings.Contains(string(text), "pods have not compacted") || !strings.Contains(string(text), g.addr) {
		t.Errorf("with a follower that stands still: %v\n%s", err, text)
	}
	g.signal(syscall.SIGCONT)
	if text, err = exec.Command(binary, "compact", "127.0.0.1:1").CombinedOutput(); err == nil || !strings.Contains(string(text), "127.0.0.1:1") {
		t.Errorf("nobody there: %v\n%s", err, text)
	}
}
