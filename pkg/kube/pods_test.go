package kube

import (
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestPodsOvertaken: what the API server answers to a patch may come after what the watch
// has brought.
func TestPodsOvertaken(t *testing.T) {
	pod := func(uid, version string) *core.Pod {
		return &core.Pod{ObjectMeta: meta.ObjectMeta{Name: "a", UID: types.UID(uid), ResourceVersion: version}}
	}
	var p pods
	p.set([]*core.Pod{pod("1", "99")})
	p.answered(pod("1", "100"))
	if have := p.get("a").ResourceVersion; have != "100" {
		t.Errorf("an answer is not noted: %s", have)
	}
	p.change(pod("1", "102"), false)
	p.answered(pod("1", "101"))
	p.change(pod("1", "100"), false)
	if have := p.get("a").ResourceVersion; have != "102" {
		t.Errorf("%s in the place of 102", have)
	}
	p.change(pod("2", "104"), false)
	p.answered(pod("1", "105"))
	if have := p.get("a"); have.UID != "2" {
		t.Error("a pod that is gone in the place of its successor")
	}
	p.change(pod("2", "106"), true)
	p.answered(pod("2", "105"))
	if p.get("a") != nil {
		t.Error("a pod that is gone is there again")
	}
}
