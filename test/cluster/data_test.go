package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fill overwrites a few objects with so many bytes in all.
func (r *release) fill(t *testing.T, bytes int) {
	t.Helper()
	const each = 16 << 10
	rdb := connectTo(r.service("leader"))
	defer func() { _ = rdb.Close() }()
	until(t, "the leader's Service answers", func() bool { return rdb.Ping(t.Context()).Err() == nil })
	value := strings.Repeat("x", each)
	for i := range bytes / each {
		err := rdb.Do(context.Background(), "SET", "filling", strconv.Itoa(i%50), "STRING", value).Err()
		switch {
		case err == nil:
		case strings.HasPrefix(err.Error(), "NOREPLICAS"): // a busy disk
			t.Logf("filling: %v", err)
		default:
			t.Fatal(err)
		}
	}
}

// logSize is the size of what a pod would load, without what it keeps for followers.
func (r *release) logSize(t *testing.T, pod string) float64 {
	t.Helper()
	return r.metric(t, pod, `evenkeel_log_bytes{kind="base"`) + r.metric(t, pod, `evenkeel_log_bytes{kind="segments"`)
}

// TestCompaction: all pods compact their logs, one after the other, under load.
func TestCompaction(t *testing.T) {
	r := use(t)
	tr := r.traffic(t)
	r.fill(t, 24<<20)
	pods, err := r.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := map[string]float64{}
	for i := range pods {
		before[pods[i].Name] = r.logSize(t, pods[i].Name)
	}
	tr.h.Mark()
	begun := time.Now()
	rdb := connectTo(net.JoinHostPort(r.host(r.leader(t)), strconv.Itoa(clients)))
	defer func() { _ = rdb.Close() }()
	answer, err := rdb.Do(t.Context(), "AOFSHRINK", "WAIT", "2000").Result()
	t.Logf("AOFSHRINK WAIT: %v, %v", answer, err)
	for i := range pods {
		name := pods[i].Name
		until(t, name+" has compacted", func() bool { return r.logSize(t, name) < before[name]/4 })
		t.Logf("%s: %.0f bytes, then %.0f", name, before[name], r.logSize(t, name))
	}
	tr.settled(t, "all pods compacted within "+time.Since(begun).Round(100*time.Millisecond).String())
	if _, not, unknown := tr.h.Counts(); not+unknown > 0 {
		t.Errorf("%d operations were refused, of %d nothing is known", not, unknown)
	}
	tr.check(t)
}

// TestWipedVolume: a follower that has lost its volume is filled, and does not lead before.
func TestWipedVolume(t *testing.T) {
	r := use(t)
	tr := r.traffic(t)
	tr.goesOn(t, 300)
	leader, pod := r.leader(t), r.follower(t)
	old := r.pod(t, pod).UID
	r.kubectl(t, "delete", "persistentvolumeclaim", "data-"+pod, "--wait=false")
	r.kubectl(t, "delete", "pod", pod, "--wait=false")
	until(t, pod+" is another one", func() bool { p := r.pod(t, pod); return p != nil && p.UID != old && ready(p) })
	tr.goesOn(t, 300)
	if now := r.leader(t); now != leader {
		t.Errorf("pod %s leads, it was %s", now, leader)
	}
	tr.check(t)
}

// TestWipedLeader: the leader loses its volume and dies at once. It must not lead with nothing.
func TestWipedLeader(t *testing.T) {
	needKit(t)
	r := use(t)
	tr := r.traffic(t)
	old := r.leader(t)
	_, folder := r.volume(t, old)
	pid := r.process(t, old)
	tr.h.Mark()
	empty(t, folder)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.newLeader(t, old)
	tr.settled(t, "leader killed without its volume")
	r.back(t, old)
	tr.check(t)
}

// empty removes all files of a folder.
func empty(t *testing.T, folder string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskFull: a follower's disk is full. The leader and the other follower go on; when there
// is room again the follower is healed.
func TestDiskFull(t *testing.T) {
	needKit(t)
	r := install(t)
	r.level(t)
	r.promote(t, set+"-0")
	pod := set + "-2"
	node, folder := r.volume(t, pod)
	r.scaleTo(t, 2) // what is mounted while the pod is there goes with its own mount of the folder
	onNode(t, node, "mount", "-t", "tmpfs", "-o", "size=16m,mode=0777", "tmpfs", folder)
	t.Cleanup(func() { onNode(t, node, "umount", "--lazy", folder) })
	r.scaleTo(t, 3)
	r.back(t, pod)
	tr := r.traffic(t)
	tr.h.Mark()
	r.fill(t, 32<<20)
	until(t, pod+" is not ready", func() bool { return !ready(r.pod(t, pod)) })
	t.Logf("%s: its disk has %.0f bytes free", pod, r.metric(t, pod, "evenkeel_log_disk_free_bytes"))
	tr.settled(t, "a follower's disk full")
	if n := r.pod(t, pod).Status.ContainerStatuses[0].RestartCount; n > 0 {
		t.Errorf("%s was restarted %d times", pod, n)
	}
	onNode(t, node, "mount", "-o", "remount,size=256m", folder)
	r.back(t, pod)
	tr.goesOn(t, 300)
	tr.check(t)
}

// TestRestore: a volume is copied while its pod is down. Much later, with all volumes lost, one
// pod gets the copy, and the others what it has.
func TestRestore(t *testing.T) {
	needKit(t)
	r := install(t)
	tr := r.traffic(t)
	tr.goesOn(t, 300)
	tr.check(t)
	pod := r.follower(t)
	_, folder := r.volume(t, pod)
	r.scaleTo(t, 0)
	saved := filepath.Join(t.TempDir(), "copy")
	must(t, "cp", "-a", folder, saved)
	r.scaleTo(t, 3)
	r.level(t)
	r.fill(t, 1<<20) // what the copy does not have, and is lost with the volumes
	r.level(t)
	r.scaleTo(t, 0)
	for i := range 3 {
		_, f := r.volume(t, fmt.Sprintf("%s-%d", set, i))
		empty(t, f)
	}
	must(t, "cp", "-a", saved+"/.", folder)
	begun := time.Now()
	r.scaleTo(t, 3)
	r.level(t)
	measured.note(t, "pods ready and level %s after they were started", time.Since(begun).Round(time.Second))
	if lost, of := tr.lost(t); lost > 0 {
		t.Errorf("%d of %d objects of the copy are lost", lost, of)
	}
	again := r.traffic(t)
	again.goesOn(t, 300)
	again.check(t)
}

// scaleTo changes the number of pods and waits until they are there, or gone.
func (r *release) scaleTo(t *testing.T, n int) {
	t.Helper()
	r.kubectl(t, "scale", "statefulset", set, "--replicas="+strconv.Itoa(n))
	until(t, strconv.Itoa(n)+" pods", func() bool { pods, err := r.pods(t.Context()); return err == nil && len(pods) == n })
}

// TestUnprotected: without minReplicasToWrite a leader that dies takes the writes with it that no
// follower had yet. They are counted.
func TestUnprotected(t *testing.T) {
	needKit(t)
	r := install(t, "--set", "minReplicasToWrite=0")
	r.level(t)
	lost, of := 0, 0
	for range 3 {
		tr := r.traffic(t)
		tr.goesOn(t, 300)
		old := r.leader(t)
		tr.h.Mark()
		r.signal(t, old, syscall.SIGKILL)
		tr.settled(t, "leader killed, minReplicasToWrite 0")
		tr.stop()
		r.back(t, old)
		r.level(t)
		l, o := tr.lost(t)
		lost, of = lost+l, of+o
	}
	measured.note(t, "minReplicasToWrite 0: %d of %d acknowledged objects lost in 3 deaths of the leader", lost, of)
	if of < 300 {
		t.Errorf("%d acknowledged objects are not much of a test", of)
	}
}
