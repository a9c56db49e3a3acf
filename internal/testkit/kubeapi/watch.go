package kubeapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
)

// selection is what a list or a watch is about. No namespace is all of them.
type selection struct {
	namespace string
	labels    labels.Selector
	fields    fields.Selector
}

func (sel selection) matches(k *kind, obj object) bool {
	return obj != nil && (sel.namespace == "" || sel.namespace == obj.GetNamespace()) &&
		sel.labels.Matches(labels.Set(obj.GetLabels())) && sel.fields.Matches(k.fields(obj))
}

// stream is one watch, where it stands, and how it is written.
type stream struct {
	store     *store
	kind      *kind
	sel       selection
	after     uint64 // the newest revision that it has seen
	bookmarks bool   // the client takes bookmarks
	initial   bool   // the state comes first
	marked    bool   // and a bookmark says where it ends

	seenBookmarks, seenEndings int

	w http.ResponseWriter
}

type event struct {
	Type   watch.EventType `json:"type"`
	Object any             `json:"object"`
}

// run writes events until ctx ends, the time is over (0 is none), or the server
// ends the watch.
func (w *stream) run(ctx context.Context, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	w.w.Header().Set("Content-Type", "application/json")
	w.w.WriteHeader(http.StatusOK)
	if err := w.send(w.begin()); err != nil {
		return err
	}
	for {
		events, news, end := w.look()
		if err := w.send(events); err != nil || end {
			return err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil
		}
	}
}

// begin is the state, if the client wants it.
func (w *stream) begin() []event {
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	w.seenBookmarks, w.seenEndings = s.bookmarks, s.endings
	if !w.initial {
		if w.after == 0 { // from now on
			w.after = s.revision
		}
		return nil
	}
	var events []event
	for _, obj := range s.state(w.kind, w.sel) {
		events = append(events, event{watch.Added, obj})
	}
	w.after = s.revision
	if w.marked {
		mark := w.bookmark()
		mark.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		events = append(events, event{watch.Bookmark, mark})
	}
	return events
}

func (w *stream) bookmark() object {
	mark := w.kind.empty()
	mark.GetObjectKind().SetGroupVersionKind(w.kind.gvk)
	mark.SetResourceVersion(revisionText(w.after))
	return mark
}

// look takes what is new; news is closed when there is more. The watch ends with
// the events when end is set.
func (w *stream) look() (events []event, news <-chan struct{}, end bool) {
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.after < s.compacted {
		gone := apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", w.after, s.compacted))
		return []event{{watch.Error, statusOf(gone)}}, nil, true
	}
	first, _ := slices.BinarySearchFunc(s.history, w.after, func(c change, after uint64) int {
		if c.revision <= after {
			return -1
		}
		return 1
	})
	for _, c := range s.history[first:] {
		w.after = c.revision
		if ev, ok := c.seen(w.kind, w.sel); ok {
			events = append(events, ev)
		}
	}
	if w.bookmarks && w.seenBookmarks < s.bookmarks {
		events = append(events, event{watch.Bookmark, w.bookmark()})
	}
	w.seenBookmarks = s.bookmarks
	return events, s.news, w.seenEndings < s.endings
}

// seen is what a change is to a watch: an object that comes to match is added, one
// that no longer does is deleted, as it last matched.
func (c change) seen(k *kind, sel selection) (event, bool) {
	if c.kind != k {
		return event{}, false
	}
	was, is := sel.matches(k, c.old), sel.matches(k, c.now)
	switch {
	case is && !was:
		return event{watch.Added, c.now}, true
	case is:
		return event{watch.Modified, c.now}, true
	case was && c.last != nil:
		return event{watch.Deleted, c.last}, true
	case was:
		last := copied(c.old)
		last.SetResourceVersion(revisionText(c.revision))
		return event{watch.Deleted, last}, true
	}
	return event{}, false
}

func (w *stream) send(events []event) error {
	enc := json.NewEncoder(w.w)
	for _, ev := range events {
		if err := enc.Encode(ev); err != nil {
			return fmt.Errorf("watch of %s: %w", w.kind.resource, err)
		}
	}
	if err := http.NewResponseController(w.w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("watch of %s: %w", w.kind.resource, err)
	}
	return nil
}
