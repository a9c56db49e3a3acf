package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"evenkeel/pkg/kube"
)

// labels sees every change of the pods of a namespace, in the order of their revisions.
type labels struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	leaders map[string]bool // pods that are labelled leader
	faults  []string        // moments with two of them
	changes int
}

// watchLabels begins to watch; stop ends it.
func watchLabels(api kubernetes.Interface, namespace string) *labels {
	ctx, cancel := context.WithCancel(context.Background())
	l := &labels{cancel: cancel, done: make(chan struct{}), leaders: map[string]bool{}}
	go func() {
		defer close(l.done)
		for ctx.Err() == nil {
			l.follow(ctx, api, namespace)
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	return l
}

// follow lists the pods and watches them until that ends.
func (l *labels) follow(ctx context.Context, api kubernetes.Interface, namespace string) {
	all, err := api.CoreV1().Pods(namespace).List(ctx, meta.ListOptions{})
	if err != nil {
		return
	}
	l.mu.Lock()
	clear(l.leaders)
	for i := range all.Items {
		l.is(&all.Items[i], false)
	}
	l.judge()
	l.mu.Unlock()
	w, err := api.CoreV1().Pods(namespace).Watch(ctx, meta.ListOptions{ResourceVersion: all.ResourceVersion})
	if err != nil {
		return
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		pod, ok := event.Object.(*core.Pod)
		if !ok {
			return // the history is gone: list again
		}
		l.mu.Lock()
		l.is(pod, event.Type == watch.Deleted)
		l.judge()
		l.mu.Unlock()
	}
}

func (l *labels) is(pod *core.Pod, gone bool) {
	delete(l.leaders, pod.Name)
	if !gone && pod.Labels[kube.LabelRole] == string(kube.Leading) {
		l.leaders[pod.Name] = true
	}
	l.changes++
}

func (l *labels) judge() {
	if len(l.leaders) > 1 {
		l.faults = append(l.faults, fmt.Sprintf("%s: %v", time.Now().Format("15:04:05.000"), slices.Sorted(maps.Keys(l.leaders))))
	}
}

// leader is the one pod that is labelled leader, "" if there is none.
func (l *labels) leader() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.leaders) == 1 {
		for name := range l.leaders {
			return name
		}
	}
	return ""
}

// twice are the moments with two leaders since the last call.
func (l *labels) twice() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	faults := l.faults
	l.faults = nil
	return faults
}

func (l *labels) stop() {
	l.cancel()
	<-l.done
}
