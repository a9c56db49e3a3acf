package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"evenkeel/pkg/tile38"
)

// burst is how many questions are sent before their answers are read.
const burst = 256

// expiries asks for the times to live of objects. Those that have gone meanwhile
// are left out.
func (l *LiveSource) expiries(s *session, key string, objects []Object) ([]Object, error) {
	if l.opt.NoExpiry {
		return objects, nil
	}
	stay := objects[:0]
	for part := range slices.Chunk(objects, burst) {
		ask := make([][]string, len(part))
		for i := range part {
			ask[i] = []string{"ttl", key, part[i].ID}
		}
		if err := s.resp.Send(ask...); err != nil {
			return nil, err
		}
		for i := range part {
			a, err := s.resp.Receive(maxAnswer)
			if err != nil {
				return nil, err
			}
			l.bytes.Add(size(a))
			expires, ok, err := expiry(a.Text, time.Now())
			if err != nil {
				return nil, err
			}
			if part[i].Expires = expires; ok {
				stay = append(stay, part[i])
			}
		}
	}
	return stay, nil
}

// expiry reads an answer to TTL; ok says whether there is such an object. The
// seconds are rounded down.
func expiry(text string, now time.Time) (ms int64, ok bool, err error) {
	sec, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil || sec < -2:
		return 0, false, fmt.Errorf("the answer to TTL is %.32q", text)
	case sec < 0:
		return 0, sec == -1, nil
	}
	const most = 1 << 50 // far beyond what can be told from never
	return now.UnixMilli() + min(sec, most/1000)*1000 + 500, true, nil
}

// Look implements Source.
func (l *LiveSource) Look(ctx context.Context, key string, ids []string) ([]*Object, error) {
	objects := make([]*Object, 0, len(ids))
	err := l.pool.with(ctx, func(s *session) error {
		// Objects may be large: ask for a few, and for as many as their sizes let.
		n := 8
		for rest := ids; len(rest) > 0; {
			n = min(n, len(rest), burst)
			before := l.Bytes()
			some, err := l.look(ctx, s, key, rest[:n])
			if err != nil {
				return err
			}
			objects = append(objects, some...)
			rest = rest[n:]
			n = max(1, min(2*n, l.opt.PageBytes*n/int(max(l.Bytes()-before, 1))))
		}
		return nil
	})
	return objects, err
}

func (l *LiveSource) look(ctx context.Context, s *session, key string, ids []string) ([]*Object, error) {
	ask := make([][]string, len(ids))
	for i, id := range ids {
		ask[i] = []string{"get", key, id, "withfields"}
	}
	if err := s.json.Send(ask...); err != nil {
		return nil, err
	}
	objects := make([]*Object, len(ids))
	for i, id := range ids {
		a, err := s.json.Receive(l.opt.MaxBytes)
		if err != nil {
			return nil, err
		}
		l.bytes.Add(size(a))
		o, lossy, err := parseObject(a.Text)
		if err != nil {
			return nil, err
		}
		if o != nil {
			if o.ID = id; lossy {
				if o, err = l.exactObject(ctx, key, id); err != nil {
					return nil, err
				}
			}
		}
		objects[i] = o
	}
	return l.lookExpiries(s, key, objects)
}

// exactObject asks for an object that is not UTF-8. The questions that are on
// their way on the JSON connection are answered later, so it takes a session of
// its own.
func (l *LiveSource) exactObject(ctx context.Context, key, id string) (found *Object, err error) {
	err = l.pool.with(ctx, func(s *session) error {
		var moved error
		for range tries {
			a, err := l.ask(s.json, l.opt.MaxBytes, "get", key, id, "withfields")
			if err != nil {
				return err
			}
			o, lossy, err := parseObject(a.Text)
			if o != nil {
				o.ID = id
			}
			if err != nil || o == nil || !lossy {
				found = o
				return err
			}
			if a, err = l.ask(s.resp, l.opt.MaxBytes, "get", key, id, "withfields"); err != nil {
				return err
			}
			if a.Kind == '*' && len(a.Items) > 0 {
				if moved = o.exact(a.Items); moved == nil {
					found = o
					return nil
				}
			}
		}
		return moved
	})
	return found, err
}

// lookExpiries asks for the times to live of the objects that are there.
func (l *LiveSource) lookExpiries(s *session, key string, objects []*Object) ([]*Object, error) {
	var there []Object
	for _, o := range objects {
		if o != nil {
			there = append(there, *o)
		}
	}
	stay, err := l.expiries(s, key, there)
	if err != nil {
		return nil, err
	}
	for i, o := range objects {
		switch {
		case o == nil:
		case len(stay) > 0 && stay[0].ID == o.ID:
			objects[i] = &stay[0]
			stay = stay[1:]
		default:
			objects[i] = nil
		}
	}
	return objects, nil
}

// parseObject reads the answer to GET WITHFIELDS in JSON; nil is no object.
func parseObject(text string) (o *Object, lossy bool, err error) {
	v, err := answerJSON(text)
	if refusal, ok := errors.AsType[tile38.AnswerError](err); ok && strings.HasSuffix(string(refusal), "not found") {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	value := v.Get("object")
	if !value.Exists() {
		return nil, false, fmt.Errorf("an object without a value: %.64q", text)
	}
	var p page
	o = new(Object)
	p.value(o, value)
	v.Get("fields").ForEach(func(k, v gjson.Result) bool {
		p.field(o, p.text(k), v)
		return true
	})
	orderFields(o.Fields)
	return o, p.lossy, nil
}

// Hooks implements Source.
func (l *LiveSource) Hooks(ctx context.Context) ([]Hook, error) {
	var hooks []Hook
	err := l.pool.with(ctx, func(s *session) error {
		for _, channel := range []bool{false, true} {
			some, err := l.hooks(s, channel)
			if err != nil {
				return err
			}
			hooks = append(hooks, some...)
		}
		return nil
	})
	slices.SortFunc(hooks, func(a, b Hook) int { return strings.Compare(a.Name, b.Name) })
	return hooks, err
}

// hooks asks for hooks or for channels: in RESP, and in JSON, which has the times
// to live.
func (l *LiveSource) hooks(s *session, channel bool) ([]Hook, error) {
	name := "hooks"
	if channel {
		name = "chans"
	}
	for range tries {
		a, err := l.ask(s.resp, l.opt.MaxBytes, name, "*")
		if err != nil {
			return nil, err
		}
		hooks, err := parseHooks(a, channel)
		if err != nil || len(hooks) == 0 {
			return nil, err
		}
		if a, err = l.ask(s.json, l.opt.MaxBytes, name, "*"); err != nil {
			return nil, err
		}
		now := time.Now()
		v, err := answerJSON(a.Text)
		if err != nil {
			return nil, err
		}
		ok, err := addExpiries(hooks, v.Get(name).Array(), now)
		if ok || err != nil {
			return hooks, err
		}
	}
	return nil, errMoved
}

// parseHooks reads rows of name, key, endpoints, command, and pairs of meta.
func parseHooks(a tile38.Answer, channel bool) ([]Hook, error) {
	hooks := make([]Hook, 0, len(a.Items))
	for _, it := range a.Items {
		row := it.Items
		if len(row) < 5 {
			return nil, fmt.Errorf("a hook has %d parts: want 5", len(row))
		}
		h := Hook{Name: row[0].Text, Key: row[1].Text, Channel: channel, Command: texts(row[3].Items)}
		if !channel {
			h.Endpoints = texts(row[2].Items)
		}
		meta := texts(pairs(row[4].Items))
		for ; len(meta) > 1; meta = meta[2:] {
			h.Meta = append(h.Meta, Field{meta[0], meta[1]})
		}
		orderFields(h.Meta)
		hooks = append(hooks, h)
	}
	return hooks, nil
}

func texts(items []tile38.Answer) []string {
	t := make([]string, len(items))
	for i := range items {
		t[i] = items[i].Text
	}
	return t
}

// addExpiries puts the times to live of an answer in JSON into hooks; false is
// that it is not of the same hooks.
func addExpiries(hooks []Hook, rows []gjson.Result, now time.Time) (bool, error) {
	if len(rows) != len(hooks) {
		return false, nil
	}
	for i := range hooks {
		if rows[i].Get("name").String() != utf8Text(hooks[i].Name) {
			return false, nil
		}
		ttl := rows[i].Get("ttl")
		if !ttl.Exists() {
			continue
		}
		expires, ok, err := expiry(ttl.Raw, now)
		if err != nil || !ok {
			return false, err
		}
		hooks[i].Expires = expires
	}
	return true, nil
}
