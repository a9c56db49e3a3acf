package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"evenkeel/pkg/tile38"
)

// logAgain sets an object to what it is, if it is still what it was when it was
// looked at, so that the command travels to the followers once more. A time to
// live is known in whole seconds, so it moves by half a second at most. A SET
// takes some of the fields; there are as many as are needed. Scripts have neither
// type nor unpack.
//
//	KEYS  the collection
//	ARGV  id, value, n, n words that set the value,
//	      s, s names of fields that get stuck on the follower,
//	      m, m times (name, text, name as it is sent, value as it is sent),
//	      names of fields that are to go
//
//nolint:dupword // two ends of Lua
const logAgain = `
local key, id, n = KEYS[1], ARGV[1], tonumber(ARGV[3])
local is = tile38.pcall('GET', key, id, 'WITHFIELDS')
if not is or is[1] ~= ARGV[2] then return 0 end
local fields, at = is[2] or {}, 4 + n
local stuck = {}
for i = 1, tonumber(ARGV[at]) do
  at = at + 1
  stuck[i] = ARGV[at]
end
at = at + 1
local m = tonumber(ARGV[at])
if #fields ~= 2 * m then return 0 end
local settings, loose = {}, #stuck
for i = 1, loose do settings[i] = {stuck[i], 'true'} end
for i = 1, m do
  if fields[2 * i - 1] ~= ARGV[at + 1] or fields[2 * i] ~= ARGV[at + 2] then return 0 end
  settings[#settings + 1] = {ARGV[at + 3], ARGV[at + 4]}
  at = at + 4
end
for i = at + 1, #ARGV do settings[#settings + 1] = {ARGV[i], '0'} end
local ttl = tile38.call('TTL', key, id)
local function words(t, i)
  if i + 7 <= #t then
    return t[i], t[i + 1], t[i + 2], t[i + 3], t[i + 4], t[i + 5], t[i + 6], t[i + 7], words(t, i + 8)
  end
  if i <= #t then return t[i], words(t, i + 1) end
end
local function put(first, last)
  local set = {'SET', key, id}
  for i = first, last do
    set[#set + 1] = 'FIELD'
    set[#set + 1] = settings[i][1]
    set[#set + 1] = settings[i][2]
  end
  if ttl >= 0 then
    set[#set + 1] = 'EX'
    set[#set + 1] = ttl .. '.5'
  end
  for i = 4, 3 + n do set[#set + 1] = ARGV[i] end
  tile38.call(words(set, 1))
end
if loose > 0 then put(1, loose) end
local from = loose + 1
repeat
  local last = from + 31
  if last > #settings then last = #settings end
  put(from, last)
  from = last + 1
until from > #settings
return 1`

// layGhost makes and deletes what is not there, so that the followers delete it. A
// STRING is nowhere, so that fences have little to say about it.
const layGhost = `
if tile38.call('TTL', KEYS[1], ARGV[1]) ~= -2 then return 0 end
tile38.call('SET', KEYS[1], ARGV[1], 'STRING', 'x')
tile38.call('DEL', KEYS[1], ARGV[1])
return 1`

// repairBatch is how many differences are mended at once, repairBytes how large
// the commands may be together.
const (
	repairBatch = 128
	repairBytes = 1 << 20
)

// Repairer mends differences between two running servers. One that follows takes
// no writes, and would come to no good if it were made to: it is mended through
// its leader, whose log gets what the follower has missed once more. Fences see
// those commands like others. Nothing changes on the leader, but that a BOUNDS
// becomes the polygon that answers show, and that a time to live moves by half a
// second at most.
type Repairer struct {
	want, have *LiveSource
	through    bool // have follows, and want is its leader
	cmds       [][]string
	bytes      int
	hooks      []Difference

	mended, passed int64
}

// NewRepairer finds out how to mend have.
func NewRepairer(ctx context.Context, want, have *LiveSource) (*Repairer, error) {
	w, err := want.Server(ctx)
	if err != nil {
		return nil, err
	}
	h, err := have.Server(ctx)
	if err != nil {
		return nil, err
	}
	r := &Repairer{want: want, have: have, through: h.Following != ""}
	if r.through && w.Following != "" {
		return nil, fmt.Errorf("%s follows %s, and %s follows %s: neither takes writes; name the leader",
			have.opt.Addr, h.Following, want.opt.Addr, w.Following)
	}
	return r, nil
}

// Through says whether differences are mended through the leader's log.
func (r *Repairer) Through() bool { return r.through }

// Mended returns how many differences have been mended, and how many were passed
// over because the object changed meanwhile.
func (r *Repairer) Mended() (mended, passed int64) { return r.mended, r.passed }

// Add mends a difference, now or when Flush is called.
func (r *Repairer) Add(ctx context.Context, d Difference) error {
	if d.Hook() {
		r.hooks = append(r.hooks, d)
		return nil
	}
	cmds := d.Commands()
	if r.through {
		cmds = [][]string{logCommand(d)}
	}
	for _, cmd := range cmds {
		r.cmds = append(r.cmds, cmd)
		for _, word := range cmd {
			r.bytes += len(word)
		}
	}
	if len(r.cmds) < repairBatch && r.bytes < repairBytes {
		return nil
	}
	return r.flush(ctx)
}

// Flush mends what waits.
func (r *Repairer) Flush(ctx context.Context) error {
	if err := r.flush(ctx); err != nil {
		return err
	}
	if len(r.hooks) == 0 {
		return nil
	}
	if err := r.queueHooks(ctx); err != nil {
		return err
	}
	return r.flush(ctx)
}

// flush sends what is queued and counts the answers.
func (r *Repairer) flush(ctx context.Context) error {
	to := r.have
	if r.through {
		to = r.want
	}
	err := to.pool.with(ctx, func(s *session) error {
		for part := range slices.Chunk(r.cmds, repairBatch) {
			if err := r.send(s.resp, part); err != nil {
				return err
			}
		}
		return nil
	})
	r.cmds, r.bytes = nil, 0
	return err
}

func (r *Repairer) send(c *tile38.Conn, cmds [][]string) error {
	// Answers are short: they fit the buffers on their way while commands are sent.
	if err := c.Send(cmds...); err != nil {
		return err
	}
	for _, cmd := range cmds {
		a, err := c.Receive(maxAnswer)
		if _, refused := errors.AsType[tile38.AnswerError](err); refused {
			return fmt.Errorf("%s: %w", name(cmd), err)
		}
		switch {
		case err != nil:
			return err
		case cmd[0] == "EVAL" && a.Text == "0":
			r.passed++
		default:
			r.mended++
		}
	}
	return nil
}

// name is what an error says of a command.
func name(cmd []string) string {
	if cmd[0] == "EVAL" {
		cmd = cmd[2:]
	}
	return fmt.Sprintf("%.32q", cmd[:min(len(cmd), 3)])
}

// logCommand is the script that mends a difference through the leader.
func logCommand(d Difference) []string {
	if d.Want == nil {
		return []string{"EVAL", layGhost, "1", d.Key, d.ID}
	}
	value := valueArgs(d.Want)
	args := []string{"EVAL", logAgain, "1", d.Key, d.ID, d.Want.Value, strconv.Itoa(len(value))}
	args = append(args, value...)
	names := stuck(d.Want, d.Have)
	args = append(args, strconv.Itoa(len(names)))
	for _, name := range names {
		args = append(args, sentName(name))
	}
	args = append(args, strconv.Itoa(len(d.Want.Fields)))
	wanted := map[string]bool{}
	for _, f := range d.Want.Fields {
		args = append(args, f.Name, dataOf(f.Value), sentName(f.Name), f.Value)
		wanted[f.Name] = true
	}
	if d.Have != nil {
		for _, f := range d.Have.Fields {
			if !wanted[f.Name] {
				args = append(args, sentName(f.Name))
			}
		}
	}
	return args
}

// queueHooks queues what mends hooks. Scripts know none, so those that have
// changed on the leader meanwhile are told by another look.
func (r *Repairer) queueHooks(ctx context.Context) error {
	defer func() { r.hooks = nil }()
	if !r.through {
		for _, d := range r.hooks {
			r.cmds = append(r.cmds, d.Commands()...)
		}
		return nil
	}
	hooks, err := r.want.Hooks(ctx)
	if err != nil {
		return err
	}
	now := map[string]*Hook{}
	for i := range hooks {
		now[hooks[i].Name] = &hooks[i]
	}
	for _, d := range r.hooks {
		if compareHooks(d.WantHook, now[d.ID], 0)&^Expiry != 0 {
			r.passed++
			continue
		}
		r.cmds = append(r.cmds, logHook(d)...)
	}
	return nil
}

// logHook are the commands for the leader that mend a hook of its followers. A
// definition that is there already is not logged, so another one is set first.
func logHook(d Difference) [][]string {
	want, have := d.WantHook, d.HaveHook
	if want == nil {
		return [][]string{hookCommand(have, nowMillis()), {hookWord("DEL", have), have.Name}}
	}
	now := nowMillis()
	if have != nil && have.Channel != want.Channel {
		return [][]string{{hookWord("DEL", want), want.Name}, hookCommand(have, now), {hookWord("DEL", have), have.Name}, hookCommand(want, now)}
	}
	other := *want
	other.Meta = append(slices.Clone(want.Meta), Field{"evenkeel:repair", strconv.FormatInt(now, 10)})
	return [][]string{hookCommand(&other, now), hookCommand(want, now)}
}
