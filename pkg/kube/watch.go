package kube

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// watchAgain is the pause before a list or watch that has failed is tried again. client-go's
// reflector waits up to 30 s, which would be 30 s without news after the API server is back.
const watchAgain = 500 * time.Millisecond

// source is where objects of one kind are listed and watched.
type source[T runtime.Object, L meta.ListInterface] struct {
	what  string
	list  func(context.Context, meta.ListOptions) (L, error)
	watch func(context.Context, meta.ListOptions) (watch.Interface, error)
	items func(L) []T
}

// observe tells all of what a list brings, and then of each change, until ctx ends.
func observe[T runtime.Object, L meta.ListInterface](ctx context.Context, s source[T, L], o meta.ListOptions, log *slog.Logger, all func([]T), change func(T, bool)) {
	failing := false
	for ctx.Err() == nil {
		err := observeOnce(ctx, s, o, all, change)
		if err != nil && ctx.Err() == nil && !failing {
			log.Warn("cannot watch", "what", s.what, "err", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
		case <-time.After(watchAgain):
		}
	}
}

func observeOnce[T runtime.Object, L meta.ListInterface](ctx context.Context, s source[T, L], o meta.ListOptions, all func([]T), change func(T, bool)) error {
	list, err := s.list(ctx, o)
	if err != nil {
		return err
	}
	all(s.items(list))
	o.ResourceVersion = list.GetResourceVersion()
	w, err := s.watch(ctx, o)
	if err != nil {
		return err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		switch e.Type {
		case watch.Error:
			return fmt.Errorf("watch: %w", apierrors.FromObject(e.Object))
		case watch.Added, watch.Modified, watch.Deleted:
			if object, ok := e.Object.(T); ok {
				change(object, e.Type == watch.Deleted)
			}
		case watch.Bookmark:
		}
	}
	return nil // the API server ends a watch after some minutes
}
