package node

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/fence"
	"evenkeel/pkg/engine/search"
	"evenkeel/pkg/hooks"
	"evenkeel/pkg/pubsub"
	"evenkeel/pkg/resp"
)

// events hands over what fences have to say: to connections, to channels, and
// to the queue of webhooks. Its methods are called under the store's lock.
type events struct {
	hub   *pubsub.Hub
	queue *hooks.Queue
	// following says that a leader delivers webhooks, not we. Channels and live
	// fences are told everywhere.
	following atomic.Bool
}

// Fence hands over one message.
func (e *events) Fence(f *fence.Fence, msg []byte) {
	l, live := f.Live.(*pubsub.Listener)
	switch {
	case live:
		l.Push(pubsub.Message{Payload: msg}) // one that is gone takes none
	case f.IsChannel():
		e.hub.Publish(f.Name(), msg)
	case !e.following.Load():
		e.queue.Append(f.Name(), msg)
	}
}

// Publish hands over a message for a channel.
func (e *events) Publish(channel string, msg []byte) int { return e.hub.Publish(channel, msg) }

// Hook tells the queue of a webhook.
func (e *events) Hook(hk *collection.Hook, gone bool) {
	switch {
	case hk.Channel:
	case gone:
		e.queue.RemoveHook(hk.Name)
	default:
		e.queue.SetHook(hk.Name, hk.Endpoints)
	}
}

// Rebuilt tells the queue of all webhooks.
func (e *events) Rebuilt(st *collection.State) {
	e.queue.RemoveHooks(func(name string) bool {
		hk := st.Hook(name)
		return hk == nil || hk.Channel
	})
	st.ScanHooks(func(hk *collection.Hook) bool {
		e.Hook(hk, false)
		return true
	})
}

// Commit makes the queue safe.
func (e *events) Commit(ctx context.Context) error { return e.queue.Commit(ctx) }

// Blocked says why it cannot be made safe.
func (e *events) Blocked() error { return e.queue.Blocked() }

// role tells who delivers webhooks from now on.
func (e *events) role(following bool) {
	e.following.Store(following)
	if following {
		e.queue.Pause()
	} else {
		e.queue.Resume()
	}
}

// asksForFence says whether the words of a search may be those of a live fence.
func asksForFence(args []string) bool {
	for _, a := range args[1:] {
		if len(a) == len("fence") && strings.EqualFold(a, "fence") {
			return true
		}
	}
	return false
}

// goLive makes a live fence of the connection, if that is what the words of a
// search ask for.
func (s *session) goLive(e *entry, args []string) (yes bool, err error) {
	b := s.batch
	start := len(b.out.Buf)
	if err := s.node.opt.Store.Query(e.spec, &command.Request{Args: args, Name: e.name}, &b.out); !errors.Is(err, search.ErrGoingLive) {
		b.out.Buf = b.out.Buf[:start]
		return false, nil // to be answered as any search
	}
	listener := s.node.opt.Hub.NewListener()
	f, err := s.node.opt.Store.Watch(args, listener)
	if err != nil {
		listener.Close()
		return true, err
	}
	kind := s.kind
	l := &live{session: s, listener: listener, what: "live fence"}
	l.format = func(dst []byte, m pubsub.Message) []byte { return kind.AppendMessage(dst, m.Payload) }
	if kind == resp.WebSocket { // only its end ends it
		l.command = func([]string) bool { return true }
	}
	l.ended = func() { s.node.opt.Store.Unwatch(f) }
	if b.out.JSON {
		b.out.Bulk(`{"ok":true,"live":true}`)
	} else {
		b.out.OK()
	}
	b.out.Buf = kind.WrapPush(b.out.Buf, start)
	b.verdict.Hijack = l.hijack
	return true, nil
}
