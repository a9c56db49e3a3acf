package keys

import (
	"errors"
	"strconv"
	"strings"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/glob"
	"evenkeel/pkg/engine/reply"
)

// get is GET key id [WITHFIELDS] [OBJECT|POINT|BOUNDS|HASH precision].
func get(req *command.Request, st *collection.State, out *reply.Reply) error {
	args := req.Args
	if len(args) < 3 {
		return reply.ErrNumArgs
	}
	var o output
	n, err := o.parse(args[3:])
	if err != nil {
		return err
	}
	if n < len(args[3:]) {
		return reply.ErrNumArgs
	}
	it, err := find(st, args[1], args[2], reply.ErrKeyNull, reply.ErrIDNull)
	if err != nil {
		return err
	}
	if req.Locked && it.Heavy() && !o.brief() {
		return command.ErrLong
	}
	o.write(it, out)
	return nil
}

// exists is EXISTS key id.
func exists(req *command.Request, st *collection.State, out *reply.Reply) error {
	if len(req.Args) != 3 {
		return reply.ErrNumArgs
	}
	it, ok := st.Get(req.Args[1], req.Args[2])
	if !ok {
		return reply.ErrKeyNotFound
	}
	out.Bool("exists", it != nil)
	return nil
}

// del is DEL key id [ERRON404].
func del(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	args := req.Args
	if len(args) < 3 {
		return reply.ErrNumArgs
	}
	for _, a := range args[3:] {
		if !fold(a, "erron404") {
			return reply.InvalidArgument(a)
		}
	}
	it, err := find(st, args[1], args[2], reply.ErrKeyNotFound, reply.ErrIDNotFound)
	if err != nil {
		if len(args) > 3 {
			return err
		}
		out.Int(0)
		return nil
	}
	ch.Remove(args[1], it)
	out.Int(1)
	return nil
}

// pdel is PDEL key pattern.
func pdel(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	if len(req.Args) != 3 {
		return reply.ErrNumArgs
	}
	key, pattern := req.Args[1], req.Args[2]
	n := 0
	if c := st.Collection(key); c != nil {
		if prefix, ok := glob.Prefix(pattern); ok {
			c.Scan(prefix, false, func(it *collection.Item) bool {
				if len(it.ID()) < len(prefix) || it.ID()[:len(prefix)] != prefix {
					return false
				}
				if glob.Match(pattern, it.ID()) {
					ch.Remove(key, it)
					n++
				}
				return true
			})
		}
	}
	out.Int(n)
	return nil
}

// Of a collection with very many items, PDEL looks at so many under one lock, and
// deletes so many.
const (
	pdelLooks   = 4096
	pdelDeletes = 256
)

// pdelParts is PDEL as DELs.
func pdelParts(req *command.Request, st *collection.State, from string) (cmds [][]string, next string, err error) {
	if len(req.Args) != 3 {
		return nil, "", reply.ErrNumArgs
	}
	key, pattern := req.Args[1], req.Args[2]
	c := st.Collection(key)
	prefix, ok := glob.Prefix(pattern)
	if c == nil || !ok {
		return nil, "", nil
	}
	looks := 0
	c.Scan(max(prefix, from), false, func(it *collection.Item) bool {
		if !strings.HasPrefix(it.ID(), prefix) {
			return false
		}
		if looks++; looks > pdelLooks || len(cmds) == pdelDeletes {
			next = it.ID()
			return false
		}
		if glob.Match(pattern, it.ID()) {
			cmds = append(cmds, []string{"del", key, it.ID()})
		}
		return true
	})
	return cmds, next, nil
}

// fieldSetting is what the words of an FSET say, whatever the state is.
type fieldSetting struct {
	fields  fieldValues
	xx      bool
	returns *output
}

// earlyFields is what readFset keeps.
type earlyFields struct {
	fieldSetting
	err error
}

// readFset is the Early step of FSET.
func (l *Limits) readFset(req *command.Request) {
	if len(req.Args) < 5 {
		return
	}
	e := new(earlyFields)
	e.err = l.parseFields(&e.fieldSetting, req.Args[3:])
	req.Early = e
}

// fset is FSET key id [XX] [RETURN …] name value …, in any order.
func (l *Limits) fset(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	if len(req.Args) < 5 {
		return reply.ErrNumArgs
	}
	if e, ok := req.Early.(*earlyFields); ok {
		if e.err != nil {
			return e.err
		}
		return e.put(req, st, ch, out)
	}
	var s fieldSetting
	if err := l.parseFields(&s, req.Args[3:]); err != nil {
		return err
	}
	return s.put(req, st, ch, out)
}

// parseFields reads the words behind the id.
func (l *Limits) parseFields(s *fieldSetting, args []string) error {
	for len(args) > 0 {
		switch {
		case fold(args[0], "xx"):
			s.xx, args = true, args[1:]
			continue
		case fold(args[0], "return"):
			n, err := parseReturn(&s.returns, args)
			if err != nil {
				return err
			}
			args = args[n:]
			continue
		case len(args) < 2:
			return reply.ErrNumArgs
		}
		name, v, err := l.parseField(args[0], args[1])
		if err != nil {
			return err
		}
		s.fields.add(field.Setting{Name: name, Value: v})
		args = args[2:]
	}
	s.fields.order()
	return nil
}

// put records what an FSET does that has been read.
func (s *fieldSetting) put(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	key, id := req.Args[1], req.Args[2]
	old, err := find(st, key, id, reply.ErrKeyNotFound, reply.ErrIDNotFound)
	if s.xx && errors.Is(err, reply.ErrIDNotFound) {
		if s.returns != nil {
			return reply.ErrIDNull
		}
		out.Int(0)
		return nil
	}
	if err != nil {
		return err
	}
	it := old
	fields, updated := s.fields.updateIn(old.Fields())
	if updated > 0 {
		it = old.WithFields(fields)
		ch.Put(key, it, old)
	}
	if s.returns != nil {
		s.returns.answer(it, out)
		return nil
	}
	out.Int(updated)
	return nil
}

// fget is FGET key id name; a field that is not there is 0.
func fget(req *command.Request, st *collection.State, out *reply.Reply) error {
	args := req.Args
	if len(args) < 4 {
		return reply.ErrNumArgs
	}
	it, err := find(st, args[1], args[2], reply.ErrKeyNotFound, reply.ErrIDNotFound)
	if err != nil {
		return err
	}
	v, _ := it.Fields().Lookup(args[3])
	if out.JSON {
		out.OK()
		out.Member("value")
		out.Buf = v.AppendJSON(out.Buf)
		return nil
	}
	out.Bulk(v.Data())
	return nil
}

// fexists is FEXISTS key id name.
func fexists(req *command.Request, st *collection.State, out *reply.Reply) error {
	args := req.Args
	if len(args) != 4 {
		return reply.ErrNumArgs
	}
	it, err := find(st, args[1], args[2], reply.ErrKeyNotFound, reply.ErrIDNotFound)
	if err != nil {
		return err
	}
	_, ok := it.Fields().Lookup(args[3])
	out.Bool("exists", ok)
	return nil
}

// expire is EXPIRE key id seconds.
func expire(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	args := req.Args
	if len(args) != 4 {
		return reply.ErrNumArgs
	}
	secs, err := number(args[3])
	if err != nil {
		return err
	}
	it, err := find(st, args[1], args[2], reply.ErrKeyZero, reply.ErrIDZero)
	if err != nil {
		return err
	}
	ch.Put(args[1], it.WithDeadline(Deadline(req.Now, secs)), it)
	out.Int(1)
	return nil
}

// persist is PERSIST key id.
func persist(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	args := req.Args
	if len(args) != 3 {
		return reply.ErrNumArgs
	}
	it, err := find(st, args[1], args[2], reply.ErrKeyZero, reply.ErrIDZero)
	if err != nil {
		return err
	}
	if it.Deadline() == 0 {
		out.Int(0)
		return nil
	}
	ch.Put(args[1], it.WithDeadline(0), it)
	out.Int(1)
	return nil
}

var (
	errKeyTTL = &reply.Error{JSON: "key not found", Answer: ":-2\r\n"}
	errIDTTL  = &reply.Error{JSON: "id not found", Answer: ":-2\r\n"}
)

// ttl is TTL key id, in whole seconds; -1 is for ever.
func ttl(req *command.Request, st *collection.State, out *reply.Reply) error {
	args := req.Args
	if len(args) != 3 {
		return reply.ErrNumArgs
	}
	it, err := find(st, args[1], args[2], errKeyTTL, errIDTTL)
	if err != nil {
		return err
	}
	secs := int64(-1)
	if d := it.Deadline(); d != 0 {
		// A second has begun to pass when it is asked for: EX 1 has a TTL of 0.
		secs = min(max(d-req.Now-1, 0)/1000, maxTTL)
	}
	if out.JSON {
		out.OK()
		out.Member("ttl")
		out.Buf = strconv.AppendInt(out.Buf, secs, 10)
		return nil
	}
	out.Int(int(secs))
	return nil
}
