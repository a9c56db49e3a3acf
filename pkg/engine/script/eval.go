package script

import (
	"strconv"
	"strings"

	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/script/lua"
)

// Call carries out one command of a script and returns its answer in RESP. An
// error is the command's answer, too: a *reply.Error, or any other, whose text
// the script sees.
type Call func(args []string) (resp []byte, err error)

// session is what the functions of the library tile38 need to know of the run
// that they belong to.
type session struct {
	call     Call // nil: no commands at all
	readOnly bool
}

// words are what follows the name of an EVAL: script or SHA-1, count of keys,
// keys and arguments. No word may be empty.
func words(args []string) (text string, keys, rest []string, err error) {
	if len(args) < 2 || args[0] == "" || args[1] == "" {
		return "", nil, nil, reply.ErrNumArgs
	}
	n, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return "", nil, nil, reply.InvalidArgument(args[1])
	}
	rest = args[2:]
	if n > uint64(len(rest)) {
		return "", nil, nil, reply.ErrNumArgs
	}
	for _, a := range rest {
		if a == "" {
			return "", nil, nil, reply.ErrNumArgs
		}
	}
	return args[0], rest[:n], rest[n:], nil
}

// Eval carries out EVAL, EVALRO and EVALNA, and their forms with SHA. The three
// differ in what the caller holds locked while call is called; and EVALRO calls
// no command that writes.
func (s *Scripts) Eval(req *command.Request, call Call, out *reply.Reply) error {
	text, keys, args, err := words(req.Args[1:])
	if err != nil {
		return err
	}
	var k *kept
	if strings.HasSuffix(req.Name, "sha") {
		if k = s.find(text); k == nil {
			return errNoSHA
		}
	} else if k, err = s.compile(text, false); err != nil {
		return err
	}
	m := s.machine(false)
	m.Data = &session{call: call, readOnly: strings.HasPrefix(req.Name, "evalro")}
	err = m.Protect(nil, func() {
		m.SetGlobal("KEYS", texts(m, keys))
		m.SetGlobal("ARGV", texts(m, args))
		m.SetGlobal("EVAL_CMD", m.String(req.Name))
		if req.Deadline != 0 {
			m.SetGlobal("DEADLINE", lua.Number(req.Deadline))
		}
	})
	var v lua.Value
	if err == nil {
		v, err = m.Run(k.prog, req.Pause)
	}
	if err == nil {
		err = m.Protect(req.Pause, func() { write(m, v, req.Name, out, int(s.limits.MaxMemory/2)) })
	}
	if err != nil {
		return failure(err, s.limits.MaxTime, s.limits.MaxMemory)
	}
	return nil
}

// Ahead compiles the script of an EVAL, so that Eval finds it compiled. It is for
// callers that take a lock before Eval: a script of the greatest length takes
// some tens of milliseconds. What is wrong with the command, Eval says.
func (s *Scripts) Ahead(req *command.Request) {
	if text, _, _, err := words(req.Args[1:]); err == nil && !strings.HasSuffix(req.Name, "sha") {
		_, _ = s.compile(text, false)
	}
}

// texts makes a table of strings.
func texts(m *lua.Machine, list []string) lua.Value {
	t := m.NewTable()
	for _, a := range list {
		m.Append(t, m.String(a))
	}
	return lua.TableValue(t)
}

// Script carries out SCRIPT LOAD, EXISTS and FLUSH. The second word may be part
// of the first: "SCRIPT LOAD" is a command, too.
func (s *Scripts) Script(req *command.Request, out *reply.Reply) error {
	name, args := req.Name, req.Args[1:]
	if name == "script" && len(args) > 0 {
		name, args = name+" "+strings.ToLower(args[0]), args[1:]
	}
	switch name {
	case "script load":
		return s.load(args, out)
	case "script exists":
		return s.exists(args, out)
	case "script flush":
		s.flush()
		if out.JSON {
			out.OK()
		} else {
			out.Bulk("OK")
		}
		return nil
	}
	shown := req.Args[0]
	if len(req.Args) > 1 {
		shown += " " + req.Args[1]
	}
	return reply.Plain("unknown command '" + shown + "'")
}

func (s *Scripts) load(args []string, out *reply.Reply) error {
	if len(args) == 0 || args[0] == "" {
		return reply.ErrNumArgs
	}
	k, err := s.compile(args[0], true)
	if err != nil {
		return err
	}
	if out.JSON {
		out.OK()
		out.Member("result")
		out.String(k.sha)
		return nil
	}
	out.Bulk(k.sha)
	return nil
}

func (s *Scripts) exists(args []string, out *reply.Reply) error {
	for _, sha := range args {
		if sha == "" {
			return reply.ErrNumArgs
		}
	}
	if out.JSON {
		out.OK()
		out.Member("result")
		out.Buf = append(out.Buf, '[')
	} else {
		out.Array(len(args))
	}
	for i, sha := range args {
		n := 0
		if s.find(sha) != nil {
			n = 1
		}
		if !out.JSON {
			out.Int(n)
			continue
		}
		if i > 0 {
			out.Buf = append(out.Buf, ',')
		}
		out.Buf = strconv.AppendInt(out.Buf, int64(n), 10)
	}
	if out.JSON {
		out.Buf = append(out.Buf, ']')
	}
	return nil
}
