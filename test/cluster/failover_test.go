package cluster

import (
	"syscall"
	"testing"
	"time"
)

// settled waits until the traffic has gone on under a new leader, and notes the longest time
// without an acknowledged write since the mark.
func (tr *traffic) settled(t *testing.T, what string) {
	t.Helper()
	tr.goesOn(t, 300)
	measured.note(t, "%s: no write acknowledged for %s at most", what, tr.h.Gap().Round(10*time.Millisecond))
}

// TestPromoted: leadership goes to a pod that a person names, without a failed operation. On a
// starved machine a disk may need longer for a sync than a write waits, or an answer of the API server
// longer than the Lease lasts; so of some changes one must be perfect.
func TestPromoted(t *testing.T) {
	r := use(t)
	tr := r.traffic(t)
	perfect := 0
	for range 4 {
		tr.h.Mark()
		_, not, unknown := tr.h.Counts()
		r.promote(t, r.follower(t))
		tr.settled(t, "promote")
		if _, n, u := tr.h.Counts(); n == not && u == unknown {
			perfect++
		}
	}
	measured.note(t, "%d of 4 changes of the leader without a failed operation", perfect)
	if perfect == 0 {
		t.Error("every planned change of the leader has failed operations")
	}
	tr.check(t)
}

// back waits until a pod is there and ready.
func (r *release) back(t *testing.T, name string) {
	t.Helper()
	until(t, name+" is back", func() bool { p := r.pod(t, name); return p != nil && ready(p) })
}

// TestLeaderDeleted: the leader's pod is deleted, and hands over before it ends.
func TestLeaderDeleted(t *testing.T) {
	r := use(t)
	tr := r.traffic(t)
	old := r.leader(t)
	tr.h.Mark()
	r.kubectl(t, "delete", "pod", old, "--wait=false")
	r.newLeader(t, old)
	tr.settled(t, "leader's pod deleted")
	r.back(t, old)
	tr.goesOn(t, 300)
	tr.check(t)
}

// TestLeaderGone: the leader's pod is deleted without any time to end.
func TestLeaderGone(t *testing.T) {
	r := use(t)
	tr := r.traffic(t)
	old := r.leader(t)
	tr.h.Mark()
	r.kubectl(t, "delete", "pod", old, "--grace-period=0", "--force")
	tr.settled(t, "leader's pod deleted by force")
	tr.check(t)
}

// TestLeaderKilled: the leader's process dies without a word. Who is elected then is who has most: it
// may be the same pod, which is back before its Lease has expired.
func TestLeaderKilled(t *testing.T) {
	needKit(t)
	r := use(t)
	tr := r.traffic(t)
	old := r.leader(t)
	tr.h.Mark()
	r.signal(t, old, syscall.SIGKILL)
	tr.settled(t, "leader killed")
	r.back(t, old)
	tr.goesOn(t, 300)
	tr.check(t)
}

// TestLeaderStopped: the leader's process stands still, another pod is elected, and it wakes up.
func TestLeaderStopped(t *testing.T) {
	needKit(t)
	r := use(t)
	tr := r.traffic(t)
	old := r.leader(t)
	tr.h.Mark()
	pid := r.signal(t, old, syscall.SIGSTOP)
	t.Cleanup(func() { wake(pid) })
	r.newLeader(t, old)
	tr.settled(t, "leader stopped")
	time.Sleep(3 * time.Second) // clients that hang at the old leader are to find it so
	wake(pid)
	tr.goesOn(t, 300)
	r.back(t, old)
	tr.goesOn(t, 300)
	tr.check(t)
}

// TestNodeCut: the leader's node is cut off from everything until its pods are given up, and
// comes back.
func TestNodeCut(t *testing.T) {
	needKit(t)
	r := use(t)
	pod, node := r.alone(t)
	r.promote(t, pod)
	r.level(t)
	tr := r.traffic(t)
	tr.h.Mark()
	heal := cut(t, node)
	r.newLeader(t, pod)
	tr.settled(t, "leader's node cut off")
	until(t, "the pod is given up", func() bool { p := r.pod(t, pod); return p != nil && p.DeletionTimestamp != nil })
	tr.goesOn(t, 300)
	heal()
	until(t, "the node is back", func() bool { return r.nodesReady(t) })
	tr.goesOn(t, 300)
	tr.check(t)
}

// alone is a pod that is the only one on its node: with that node one pod is lost.
func (r *release) alone(t *testing.T) (pod, node string) {
	t.Helper()
	pods, err := r.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	on := map[string]int{}
	for i := range pods {
		on[pods[i].Spec.NodeName]++
	}
	for i := range pods {
		if n := pods[i].Spec.NodeName; on[n] == 1 {
			return pods[i].Name, n
		}
	}
	t.Fatalf("pods by node: %v: none is alone", on)
	return "", ""
}

// TestAPIServerStopped: the API server stands still for a minute. The leader goes on, as all
// other pods confirm it.
func TestAPIServerStopped(t *testing.T) {
	needKit(t)
	r := use(t)
	servers := processes(t, "kube-apiserver")
	if len(servers) != 1 {
		t.Fatalf("%d API servers", len(servers))
	}
	tr := r.traffic(t)
	leader := r.leader(t)
	tr.h.Mark()
	if err := syscall.Kill(servers[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { wake(servers[0]) })
	for range 60 {
		time.Sleep(time.Second)
		if gap := tr.h.Gap(); gap > 20*time.Second {
			t.Errorf("no write for %s while the API server is away", gap)
			break
		}
	}
	if r.metric(t, leader, "evenkeel_lease_failsafe") != 1 {
		t.Errorf("pod %s does not lead by what the others confirm: was the API server away at all?", leader)
	}
	measured.note(t, "API server away for a minute: no write acknowledged for %s at most", tr.h.Gap().Round(10*time.Millisecond))
	_, not, unknown := tr.h.Counts()
	t.Logf("until then %d operations refused, of %d nothing is known", not, unknown)
	wake(servers[0])
	tr.goesOn(t, 300)
	until(t, "the nodes are ready", func() bool { return r.nodesReady(t) })
	tr.settled(t, "… and back")
	if now := r.leader(t); now != leader {
		t.Logf("pod %s leads now, it was %s", now, leader)
	}
	tr.check(t)
}
