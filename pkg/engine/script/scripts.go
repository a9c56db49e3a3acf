package script

import (
	"container/list"
	"crypto/sha1" // names scripts, as clients know them
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/script/lua"
)

// Limits bounds what scripts may cost. What is zero is set to its default.
type Limits struct {
	// MaxMemory is what a script may allocate before its garbage is counted, in
	// bytes; half of it may be in use. The default is 64 MiB.
	MaxMemory int64
	// MaxTime is how long a script of EVAL may run; the default is 5 s.
	MaxTime time.Duration
	// MaxItemMemory and MaxItemTime are the same for the script of a WHEREEVAL,
	// and for one item; the defaults are 16 MiB and 100 ms.
	MaxItemMemory int64
	MaxItemTime   time.Duration
	// MaxScript is the length of a script in bytes; the default is 256 KiB.
	MaxScript int
	// MaxScripts and MaxCache bound the scripts that are kept: their number
	// (10,000) and about how many bytes they take (64 MiB).
	MaxScripts int
	MaxCache   int
	// Now is the clock; without one, time is estimated from the steps taken.
	Now func() time.Time
}

// EnsureDefaults sets what is zero to its default.
func (l *Limits) EnsureDefaults() {
	for _, v := range []struct {
		at  *int64
		def int64
	}{{&l.MaxMemory, 64 << 20}, {&l.MaxItemMemory, 16 << 20}} {
		if *v.at == 0 {
			*v.at = v.def
		}
	}
	for _, v := range []struct {
		at  *time.Duration
		def time.Duration
	}{{&l.MaxTime, 5 * time.Second}, {&l.MaxItemTime, 100 * time.Millisecond}} {
		if *v.at == 0 {
			*v.at = v.def
		}
	}
	for _, v := range []struct {
		at  *int
		def int
	}{{&l.MaxScript, 256 << 10}, {&l.MaxScripts, 10_000}, {&l.MaxCache, 64 << 20}} {
		if *v.at == 0 {
			*v.at = v.def
		}
	}
}

// Validate returns an error that lists every fault.
func (l *Limits) Validate() error {
	var faults []string
	for _, v := range []struct {
		name     string
		is, from int64
	}{
		{"memory of a script in bytes", l.MaxMemory, 1 << 20},
		{"memory of a script for an item in bytes", l.MaxItemMemory, 1 << 20},
		{"time of a script in nanoseconds", int64(l.MaxTime), int64(time.Millisecond)},
		{"time of a script for an item in nanoseconds", int64(l.MaxItemTime), int64(time.Millisecond)},
		{"length of a script in bytes", int64(l.MaxScript), 1},
		{"number of scripts", int64(l.MaxScripts), 1},
		{"memory of all scripts in bytes", int64(l.MaxCache), 1 << 20},
	} {
		if v.is < v.from {
			faults = append(faults, fmt.Sprintf("%s: %d is less than %d", v.name, v.is, v.from))
		}
	}
	if len(faults) > 0 {
		return errors.New("script: " + strings.Join(faults, "; "))
	}
	return nil
}

// Scripts compiles, keeps and runs scripts. Any number of goroutines may use it
// at once.
type Scripts struct {
	limits Limits
	env    *lua.Env
	seed   atomic.Uint64

	mu    sync.Mutex // guards what follows; nothing is called under it
	known map[string]*list.Element
	order *list.List // of *kept: the one used last comes first
	size  int        // of all that are kept
}

// kept is a compiled script.
type kept struct {
	sha    string
	prog   *lua.Program
	size   int
	loaded bool // by SCRIPT LOAD: it is not given up for others
	fields, properties,
	id bool // the script may ask for these
}

func keptIn(e *list.Element) *kept {
	k, _ := e.Value.(*kept)
	return k
}

// New returns a store of scripts without any.
func New(l Limits) *Scripts {
	l.EnsureDefaults()
	return &Scripts{limits: l, env: lua.NewEnv(tile38Library(), jsonLibrary()), known: map[string]*list.Element{}, order: list.New()}
}

// shaOf names a script.
func shaOf(text string) string {
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

var errNoSHA = reply.Plain("sha not found")

// find returns a script that is kept, or nil.
func (s *Scripts) find(sha string) *kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.known[sha]
	if e == nil {
		return nil
	}
	s.order.MoveToFront(e)
	return keptIn(e)
}

// compile returns a script that is kept now, compiled if it was not.
func (s *Scripts) compile(text string, load bool) (*kept, error) {
	if len(text) > s.limits.MaxScript {
		return nil, reply.Plain(fmt.Sprintf("script is too long: %d bytes, the limit is %d", len(text), s.limits.MaxScript))
	}
	sha := shaOf(text)
	k := s.find(sha)
	if k == nil {
		prog, err := lua.Compile("f_"+sha, text)
		if err != nil {
			return nil, oneLine(err.Error())
		}
		whole := strings.Contains(text, "_G")
		k = &kept{
			sha: sha, prog: prog, size: prog.Size() + len(text),
			fields:     whole || strings.Contains(text, "FIELDS"),
			properties: whole || strings.Contains(text, "PROPERTIES"),
			id:         whole || strings.Contains(text, "ID"),
		}
	} else if !load {
		return k, nil
	}
	return s.keep(k, load)
}

// keep adds a script and gives up others, those first that have not been used
// for long. Scripts of SCRIPT LOAD stay until SCRIPT FLUSH: when they are too
// many, there are no more of them, and other scripts run without being kept.
func (s *Scripts) keep(k *kept, load bool) (*kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.known[k.sha]; e != nil { // it was, or came meanwhile
		k = keptIn(e)
		k.loaded = k.loaded || load
		return k, nil
	}
	for e := s.order.Back(); e != nil && s.full(k); {
		older := e.Prev()
		if old := keptIn(e); !old.loaded {
			s.order.Remove(e)
			delete(s.known, old.sha)
			s.size -= old.size
		}
		e = older
	}
	switch {
	case !s.full(k):
		k.loaded = load
		s.known[k.sha] = s.order.PushFront(k)
		s.size += k.size
	case load:
		return nil, reply.Plain("too many scripts are loaded: SCRIPT FLUSH makes room")
	}
	return k, nil
}

func (s *Scripts) full(k *kept) bool {
	return s.order.Len() >= s.limits.MaxScripts || s.size+k.size > s.limits.MaxCache
}

// flush forgets all scripts.
func (s *Scripts) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.known)
	s.order.Init()
	s.size = 0
}

// Len returns how many scripts are kept, and about how many bytes they take.
func (s *Scripts) Len() (scripts, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.order.Len(), s.size
}

// machine makes a machine for a run of EVAL, or for a WHEREEVAL.
func (s *Scripts) machine(item bool) *lua.Machine {
	l := lua.Limits{MaxMemory: s.limits.MaxMemory, MaxTime: s.limits.MaxTime, Now: s.limits.Now}
	if item {
		l.MaxMemory, l.MaxTime = s.limits.MaxItemMemory, s.limits.MaxItemTime
	}
	l.Seed = s.seed.Add(0x9e3779b97f4a7c15)
	return lua.New(s.env, l)
}

// oneLine makes an error of a text with its line ends written as \n, as Tile38
// does.
func oneLine(s string) error { return scriptError(strings.ReplaceAll(s, "\n", `\n`)) }

// scriptError makes an error of a script's text. RESP has no tabs.
func scriptError(text string) error {
	return &reply.Error{JSON: text, RESP: "ERR " + strings.ReplaceAll(text, "\t", " ")}
}

// failure makes an answer of what a run has failed with.
func failure(err error, maxTime time.Duration, maxMemory int64) error {
	var e *lua.Error
	switch {
	case errors.As(err, &e):
		return oneLine(e.Error())
	case errors.Is(err, lua.ErrTime):
		return reply.Plain(fmt.Sprintf("script ran longer than %v: do less in one call, or raise the limit", maxTime))
	case errors.Is(err, lua.ErrMemory):
		return reply.Plain(fmt.Sprintf("script holds more than %d bytes: work on smaller pieces, or raise the limit", maxMemory/2))
	}
	return err
}
