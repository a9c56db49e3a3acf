package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// LabelRole is the label by which Services find the leader: its value is a Role.
	LabelRole = "evenkeel.io/role"
	// AnnotationPosition is a Published in JSON.
	AnnotationPosition = "evenkeel.io/position"
)

// Published is what a pod says of itself in its annotation, for those who cannot ask it.
type Published struct {
	Position
	Address string `json:"address"` // of its clients' port, HOST:PORT
	Role    Role   `json:"role"`
}

// pods are the pods of the selector, as the API server has told last.
type pods struct {
	mu   sync.Mutex
	all  map[string]*core.Pod
	know bool // a list has come
}

func (p *pods) set(list []*core.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all, p.know = map[string]*core.Pod{}, true
	for _, pod := range list {
		p.all[pod.Name] = pod
	}
}

// change notes what a watch has brought.
func (p *pods) change(pod *core.Pod, deleted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case deleted:
		delete(p.all, pod.Name)
	case !p.knows(pod):
		p.all[pod.Name] = pod
	}
}

// answered notes what the API server has answered to a patch. The watch may have brought more since,
// also that the pod is gone: one that is not there would be waited for.
func (p *pods) answered(pod *core.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have := p.all[pod.Name]; have != nil && have.UID == pod.UID && !p.knows(pod) {
		p.all[pod.Name] = pod
	}
}

// knows says whether a later state of the same pod is there already. The mutex is held.
func (p *pods) knows(pod *core.Pod) bool {
	have := p.all[pod.Name]
	return have != nil && have.UID == pod.UID && newer(have.ResourceVersion, pod.ResourceVersion)
}

func (p *pods) get(name string) *core.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[name]
}

// others returns the pods but this one, by name; ok is false before the first list.
func (p *pods) others(own string) (others []*core.Pod, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(p.all)) {
		if name != own {
			others = append(others, p.all[name])
		}
	}
	return others, p.know
}

// published is what a pod has published; nil: nothing.
func published(pod *core.Pod) *Published {
	var p Published
	if json.Unmarshal([]byte(pod.Annotations[AnnotationPosition]), &p) != nil {
		return nil
	}
	return &p
}

// ended says whether a pod does not come back.
func ended(pod *core.Pod) bool {
	return pod.DeletionTimestamp != nil || pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed
}

// peerOf is a pod before it was asked.
func (e *Elector) peerOf(pod *core.Pod) peer {
	p := peer{name: pod.Name, ending: ended(pod)}
	said := published(pod)
	if said != nil {
		p.position, p.addr = &said.Position, said.Address
	}
	host, _, err := net.SplitHostPort(p.addr)
	if pod.Status.PodIP != "" && (err != nil || net.ParseIP(host) != nil && host != pod.Status.PodIP) {
		// It has another address since, or has not said it yet: the port is ours.
		_, port, _ := net.SplitHostPort(e.o.Address)
		p.addr = net.JoinHostPort(pod.Status.PodIP, port)
	}
	return p
}

// relabel gives a pod a role. It fails when the pod has changed since it was seen: a request
// that was held up must not undo what another pod has done meanwhile.
func (e *Elector) relabel(ctx context.Context, pod *core.Pod, role Role) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": pod.ResourceVersion,
		"labels":          map[string]any{LabelRole: string(role)},
	}})
	if err != nil {
		return err
	}
	return e.patch(ctx, pod.Name, patch)
}

func (e *Elector) patch(ctx context.Context, name string, patch []byte) error {
	ctx, cancel := context.WithTimeout(ctx, e.o.APITimeout)
	defer cancel()
	pod, err := e.o.Client.CoreV1().Pods(e.o.Namespace).Patch(ctx, name, types.MergePatchType, patch, meta.PatchOptions{})
	if err != nil {
		return fmt.Errorf("patch pod %s: %w", name, err)
	}
	e.pods.answered(pod)
	return nil
}

// label makes the labels say who leads: nobody but this pod, if it does.
func (e *Elector) label(ctx context.Context) error {
	role := Following
	if e.leads() {
		role = Leading
		others, _ := e.pods.others(e.o.Pod)
		for _, pod := range others {
			if pod.Labels[LabelRole] != string(Leading) {
				continue
			}
			if err := e.relabel(ctx, pod, Following); err != nil {
				return err
			}
		}
	}
	own := e.pods.get(e.o.Pod)
	if own == nil || own.Labels[LabelRole] == string(role) {
		return nil
	}
	return e.relabel(ctx, own, role)
}

// publish brings the annotation of this pod up to date.
func (e *Elector) publish(ctx context.Context) error {
	own := e.pods.get(e.o.Pod)
	if own == nil {
		return nil
	}
	said := Published{Position: e.position(), Address: e.o.Address, Role: e.Role()}
	text, err := json.Marshal(said)
	if err != nil {
		return err
	}
	if own.Annotations[AnnotationPosition] == string(text) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{AnnotationPosition: string(text)},
	}})
	if err != nil {
		return err
	}
	return e.patch(ctx, e.o.Pod, patch)
}

// ownerOf is the controller of this pod, which the Lease goes with.
func ownerOf(pod *core.Pod) []meta.OwnerReference {
	if pod == nil {
		return nil
	}
	c := meta.GetControllerOf(pod)
	if c == nil || strings.Contains(c.Kind, "Job") {
		return nil
	}
	return []meta.OwnerReference{{APIVersion: c.APIVersion, Kind: c.Kind, Name: c.Name, UID: c.UID}}
}
