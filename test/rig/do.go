package rig

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/fence"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/store"
)

// Do carries out a pipeline as a session does, commits it, and returns the
// answers. The error is that of the commit: the commands may be lost.
func (p *Pod) Do(cmds [][]string, json bool) (answers string, err error) {
	out := reply.Reply{JSON: json}
	offset := p.Run(cmds, &out)
	if offset > 0 {
		err = p.Store.Commit(context.Background(), offset)
	}
	return string(out.Buf), err
}

// Run is Do without the commit: it returns the offset that is to be committed.
func (p *Pod) Run(cmds [][]string, out *reply.Reply) (offset int64) {
	var writes []store.Write
	flush := func() {
		if len(writes) > 0 {
			offset = max(offset, p.Store.Write(writes, out))
			writes = nil
		}
	}
	for _, args := range cmds {
		req := command.Request{Args: args, Name: strings.ToLower(args[0])}
		spec := p.Store.Lookup(req.Name)
		if spec != nil && spec.Write != nil && req.Name != "publish" {
			writes = append(writes, store.Write{Spec: spec, Request: req})
			continue
		}
		flush()
		start := len(out.Buf)
		at, err := p.other(spec, &req, out)
		if err != nil {
			out.Buf = out.Buf[:start]
			out.Fail(req.Name, err)
		}
		if spec == nil || spec.Read == nil {
			out.Finish(start, 0)
		}
		offset = max(offset, at)
	}
	flush()
	return offset
}

// other carries out what is not an ordinary write.
func (p *Pod) other(spec *command.Spec, req *command.Request, out *reply.Reply) (offset int64, err error) {
	switch {
	case req.Name == "publish":
		n, at, err := p.Store.Publish(req.Args[1], []byte(req.Args[2]))
		out.Int(n)
		return at, err
	case req.Name == "eval":
		return p.eval(req, out)
	case spec == nil:
		return 0, reply.Plain("unknown command '" + req.Args[0] + "'")
	}
	start := len(out.Buf)
	p.Store.Read(spec, req, out)
	if req.Name == "within" || req.Name == "intersects" {
		sortItems(out.Buf[start:])
	}
	return 0, nil
}

// sortItems sorts what an area holds: the items come in no particular order. It
// is for answers in RESP.
func sortItems(answer []byte) {
	_, outer := redcon.ReadNextRESP(answer)
	if outer.Type != redcon.Array {
		return
	}
	var last redcon.RESP
	outer.ForEach(func(e redcon.RESP) bool { last = e; return true })
	if last.Type != redcon.Array {
		return
	}
	var items []string
	last.ForEach(func(e redcon.RESP) bool { items = append(items, string(e.Raw)); return true })
	slices.Sort(items)
	copy(last.Data, strings.Join(items, ""))
}

// eval carries out a script under one lock.
func (p *Pod) eval(req *command.Request, out *reply.Reply) (offset int64, err error) {
	scripts := p.Store.Scripts()
	scripts.Ahead(req)
	var answer error
	offset, err = p.Store.Atomic(func(tx *store.Tx) {
		answer = scripts.Eval(req, func(args []string) ([]byte, error) {
			inner := command.Request{Args: args, Name: strings.ToLower(args[0])}
			spec := p.Store.Lookup(inner.Name)
			if spec == nil {
				return nil, reply.Plain("unknown command '" + args[0] + "'")
			}
			var out reply.Reply
			err := tx.Do(spec, &inner, &out)
			return out.Buf, err
		}, out)
	})
	if err != nil {
		return 0, err
	}
	return offset, answer
}

// Told is what fences have said. Messages of webhooks are told by leaders alone.
type Told struct {
	mu   sync.Mutex
	list []string
}

var _ store.Events = (*Told)(nil)

// group is a name that a fence gives to what belongs together; it begins anew
// with each start.
var group = regexp.MustCompile(`"group":"[^"]*",?`)

// Fence takes a message.
func (t *Told) Fence(f *fence.Fence, msg []byte) {
	t.note(fmt.Sprintf("%s: %s", f.Name(), group.ReplaceAll(msg, nil)))
}

// Publish takes a message for a channel, which nobody listens to.
func (t *Told) Publish(channel string, msg []byte) int {
	t.note(fmt.Sprintf("%s: %s", channel, group.ReplaceAll(msg, nil)))
	return 0
}

func (t *Told) note(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, s)
}

// Take returns what has been said since it was asked last.
func (t *Told) Take() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := strings.Join(t.list, "\n")
	t.list = nil
	return s
}

// Hook does nothing.
func (t *Told) Hook(*collection.Hook, bool) {}

// Rebuilt does nothing.
func (t *Told) Rebuilt(*collection.State) {}

// Commit does nothing.
func (t *Told) Commit(context.Context) error { return nil }

// Blocked is nil.
func (t *Told) Blocked() error { return nil }
