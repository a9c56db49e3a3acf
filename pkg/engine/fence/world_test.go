package fence

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/hook"
	"evenkeel/pkg/engine/keys"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/search"
)

// message is what a fence was told.
type message struct{ who, text string }

// world is a state with a Set that watches it.
type world struct {
	t     testing.TB
	specs map[string]command.Spec
	st    *collection.State
	set   *Set
	now   int64
	names map[string]string // groups as they are shown
	raw   bool              // messages are kept as they are
	got   []message
}

func newWorld(t testing.TB, opt Options) *world {
	w := &world{
		t: t, st: collection.NewState(), set: New(opt), now: 1_700_000_000_000,
		specs: map[string]command.Spec{}, names: map[string]string{},
	}
	for _, list := range [][]command.Spec{keys.Commands(keys.Limits{}), hook.Commands()} {
		for _, spec := range list {
			w.specs[spec.Name] = spec
		}
	}
	return w
}

// do carries out a write command and returns its answer and the messages.
func (w *world) do(args ...string) (string, []message) {
	w.t.Helper()
	w.now++
	name := strings.ToLower(args[0])
	spec := w.specs[name]
	if spec.Write == nil {
		w.t.Fatalf("%s is no write command", name)
	}
	req := &command.Request{Args: args, Name: name, Now: w.now}
	out := &reply.Reply{}
	var ch collection.Change
	w.got = nil
	if err := spec.Write(req, w.st, &ch, out); err != nil {
		out.Buf = out.Buf[:0]
		out.Fail(name, err)
		return string(out.Buf), nil
	}
	w.st.Apply(&ch)
	w.set.Match(w.st, name, time.UnixMilli(w.now).UTC(), &ch, w.take)
	return string(out.Buf), w.got
}

// line is do for words without spaces.
func (w *world) line(line string) []message {
	w.t.Helper()
	answer, got := w.do(strings.Fields(line)...)
	if strings.HasPrefix(answer, "-") {
		w.t.Fatalf("%s: %s", line, answer)
	}
	return got
}

// live adds a connection's fence.
func (w *world) live(name, line string) *Fence {
	w.t.Helper()
	words := strings.Fields(line)
	q, err := search.Limits{}.ParseFence(words[0], words[1:], w.st, false)
	if err != nil {
		w.t.Fatalf("%s: %v", line, err)
	}
	return w.set.AddLive(q, name)
}

func (w *world) take(f *Fence, msg []byte) {
	who := f.Name()
	if f.Live != nil {
		who, _ = f.Live.(string)
	}
	text := string(msg)
	if !w.raw {
		text = w.normal(text)
	}
	w.got = append(w.got, message{who, text})
}

var (
	timeMember  = regexp.MustCompile(`"time":"[^"]*"`)
	groupMember = regexp.MustCompile(`"group":"([^"]*)"`)
)

// normal shows times as T and groups by the order of their appearance.
func (w *world) normal(text string) string {
	text = timeMember.ReplaceAllString(text, `"time":"T"`)
	return groupMember.ReplaceAllStringFunc(text, func(s string) string {
		if w.names[s] == "" {
			w.names[s] = `"group":"g` + strconv.Itoa(len(w.names)+1) + `"`
		}
		return w.names[s]
	})
}

// told is the messages, one a line: who, command and what was detected.
func told(list []message) string {
	member := regexp.MustCompile(`"(command|detect)":"([^"]*)"`)
	var b strings.Builder
	for _, m := range list {
		b.WriteString(m.who)
		for _, found := range member.FindAllStringSubmatch(m.text, 2) {
			b.WriteString(" " + found[2])
		}
		b.WriteString("\n")
	}
	return b.String()
}
