package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// three starts three pods; a has most.
func three(t *testing.T, tune func(*Options)) (c *cluster, a, b, d *testPod) {
	c = newCluster(t, tune)
	a, b, d = c.add("a", at("e", 30)), c.add("b", at("e", 20)), c.add("d", at("e", 10))
	if l := c.leader(); l != a {
		t.Fatalf("pod %s leads, want a, which has most", l.name)
	}
	return c, a, b, d
}

func TestFirstElection(t *testing.T) {
	c, a, _, _ := three(t, nil)
	text := c.lease()
	if !strings.HasPrefix(text, "a_") || !strings.Contains(text, a.Position().Epoch) || !strings.Contains(text, a.addr) {
		t.Errorf("the Lease says %s", text)
	}
}

func TestLeaderDies(t *testing.T) {
	c, a, b, d := three(t, nil)
	d.move(40)
	d.c.until("b has heard nothing", func() bool { return b.Position().Offset == 30 })
	a.kill()
	c.until("d leads, which is further", func() bool { return d.leads() && b.isFollowing(d) })
	if a.fence.Check() == nil {
		t.Error("the old leader still answers")
	}
	a.revive()
	c.until("the old leader follows", func() bool { return a.isFollowing(d) })
}

func TestFurtherPodIsWaitedFor(t *testing.T) {
	c, a, b, d := three(t, nil)
	d.move(40)
	c.until("b knows what d has", func() bool { return b.knows("d", 40) })
	d.kill()
	a.kill()
	d.c.until("b waits", func() bool {
		b.elector.mu.Lock()
		defer b.elector.mu.Unlock()
		return strings.Contains(b.elector.waiting, "d was further")
	})
	d.revive()
	c.until("d leads", func() bool { return d.leads() && b.isFollowing(d) })
}

func TestFurtherPodIsLost(t *testing.T) {
	c, a, b, d := three(t, nil)
	d.move(40)
	c.until("b knows what d has", func() bool { return b.knows("d", 40) })
	d.kill()
	a.kill()
	c.until("b leads in the end", b.leads)
}

func TestNewVolume(t *testing.T) {
	c, a, b, d := three(t, nil)
	b.kill()
	d.kill()
	a.kill()
	// The leader's process comes back, with an empty volume, before anybody else.
	a.stop()
	if err := <-a.done; err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Log(err)
	}
	a.mu.Lock()
	a.position = *at("f", 0)
	a.mu.Unlock()
	a.start()
	a.revive()
	b.revive()
	d.revive()
	if l := c.leader(); l == a {
		t.Error("an empty pod leads while others have data")
	}
}

func TestAPIServerAway(t *testing.T) {
	c, a, b, d := three(t, nil)
	for _, p := range []*testPod{a, b, d} {
		c.api.Cut(p.name)
	}
	c.until("the others stand in", func() bool {
		a.elector.mu.Lock()
		defer a.elector.mu.Unlock()
		return a.elector.failsafe
	})
	// Longer than the Lease. The fence must not close for a moment.
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err := a.fence.Check(); err != nil {
			t.Fatalf("fenced although all pods confirm: %v", err)
		}
	}
	d.cutOff(true)
	c.until("one pod is missing: the leader is fenced", func() bool { return a.fence.Check() != nil })
	c.api.Heal("b") // it cannot see more than that the Lease has expired
	d.cutOff(false)
	for _, p := range []*testPod{a, d} {
		c.api.Heal(p.name)
	}
	c.leader()
}

func TestHandover(t *testing.T) {
	c, a, b, d := three(t, nil)
	start := time.Now()
	to, err := d.elector.Handover(t.Context(), "b") // any pod can be asked
	if err != nil || to != "b" {
		t.Fatalf("handover: %q, %v", to, err)
	}
	t.Logf("took %s", time.Since(start))
	c.until("b leads", func() bool { return b.leads() && a.isFollowing(b) && d.isFollowing(b) })
	if a.holding != 0 {
		t.Error("writes are still held")
	}
	if to, err := b.elector.Handover(t.Context(), ""); err != nil || to == "b" {
		t.Fatalf("to whom it likes: %q, %v", to, err)
	}
	c.leader()
}

func TestHandoverFails(t *testing.T) {
	c, a, b, d := three(t, func(o *Options) { o.HandoverTimeout = time.Second })
	b.mu.Lock()
	b.position.Unfit = "it is being resynced"
	b.mu.Unlock()
	d.mu.Lock()
	d.cannot = errors.New("the disk is full")
	d.mu.Unlock()
	if _, err := a.elector.Handover(t.Context(), "b"); err == nil || !strings.Contains(err.Error(), "resynced") {
		t.Errorf("to a pod that is not fit: %v", err)
	}
	if _, err := a.elector.Handover(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "no pod x") {
		t.Errorf("to a pod that is not there: %v", err)
	}
	if a.elector.Role() != Leading {
		t.Fatal("a handover that cannot be has ended a leadership")
	}
	if _, err := a.elector.Handover(t.Context(), "d"); err == nil || !strings.Contains(err.Error(), "has not taken over") {
		t.Errorf("to a pod that cannot lead: %v", err)
	}
	if l := c.leader(); l != a {
		t.Errorf("pod %s leads", l.name)
	}
	if a.holding != 0 {
		t.Error("writes are still held")
	}
}

func TestLeaseDeleted(t *testing.T) {
	c, a, _, _ := three(t, nil)
	epoch := a.Position().Epoch
	if err := c.api.Client().CoordinationV1().Leases(testNamespace).Delete(t.Context(), testLease, meta.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.until("there is a Lease", func() bool {
		_, err := c.api.Client().CoordinationV1().Leases(testNamespace).Get(t.Context(), testLease, meta.GetOptions{})
		return err == nil
	})
	if l := c.leader(); l != a || a.Position().Epoch != epoch {
		t.Errorf("pod %s leads in %s, want a in %s, as before", l.name, l.Position().Epoch, epoch)
	}
}

func TestCannotLead(t *testing.T) {
	c := newCluster(t, nil)
	a := c.add("a", at("e", 30))
	a.mu.Lock()
	a.cannot = errors.New("the disk is full")
	a.mu.Unlock()
	c.add("b", at("e", 20))
	if l := c.leader(); l.name != "b" {
		t.Errorf("pod %s leads", l.name)
	}
}

func TestForce(t *testing.T) {
	c, a, b, d := three(t, nil)
	b.mu.Lock()
	b.position.Unfit = "it is being resynced"
	b.mu.Unlock()
	d.kill()
	a.kill()
	c.until("b does not lead", func() bool {
		b.elector.mu.Lock()
		defer b.elector.mu.Unlock()
		return strings.Contains(b.elector.waiting, "not fit")
	})
	if err := b.elector.Campaign(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if !b.leads() {
		c.until("b is labelled", b.leads)
	}
}

func TestRefused(t *testing.T) {
	c := newCluster(t, nil)
	a := c.add("a", at("e", 1))
	c.leader()
	c.api.Fail("a", 403)
	c.until("it says so", func() bool {
		a.elector.mu.Lock()
		defer a.elector.mu.Unlock()
		return a.elector.denied != ""
	})
	c.until("nobody stands in for a refusal", func() bool { return a.fence.Check() != nil })
	c.api.Heal("a")
	c.leader()
}

func TestResign(t *testing.T) {
	c, a, b, d := three(t, func(o *Options) { o.LeaseDuration, o.RenewDeadline = 30*time.Second, 20*time.Second })
	a.stop()
	<-a.done
	a.done <- nil
	a.cutOff(true)
	start := time.Now()
	c.until("another pod leads", func() bool { return b.leads() || d.leads() })
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("the Lease was waited for: %s", took)
	}
}

// TestRenewals: a leader renews when it is time to, not because it hears of its last renewal.
func TestRenewals(t *testing.T) {
	c, a, _, _ := three(t, nil)
	renewals := func() (n int) {
		for _, r := range c.api.Requests("a") {
			if r.Resource == "leases" && r.Verb == "update" {
				n++
			}
		}
		return n
	}
	c.until("the Lease names the epoch", func() bool { return a.fence.Check() == nil })
	const some = 6
	begun, had := time.Now(), renewals()
	c.until("some renewals", func() bool { return renewals() >= had+some })
	if took, period := time.Since(begun), a.elector.o.RetryPeriod; took < some*period/2 {
		t.Errorf("%d renewals in %s, where one in %s is meant", some, took.Round(time.Millisecond), period)
	}
}
