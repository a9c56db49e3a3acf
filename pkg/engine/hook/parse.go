package hook

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// words hands out the words of a command. An empty word counts as a missing
// one, unless it comes from a log.
type words struct {
	rest   []string
	logged bool
}

func (w *words) next() (string, error) {
	if len(w.rest) == 0 || w.rest[0] == "" && !w.logged {
		return "", reply.ErrNumArgs
	}
	word := w.rest[0]
	w.rest = w.rest[1:]
	return word, nil
}

// parse reads the definition. Everything is cloned: it outlives the request.
func (r Rules) parse(req *command.Request, channel bool) (*collection.Hook, error) {
	w := &words{req.Args[1:], r.logged}
	hk := &collection.Hook{Channel: channel}
	name, err := w.next()
	if err != nil {
		return nil, err
	}
	hk.Name = strings.Clone(name)
	if !channel {
		if err := hookEndpoints(hk, w); err != nil {
			return nil, err
		}
	}
	if err := options(hk, w, req.Now); err != nil {
		return nil, err
	}
	search := w.rest
	kind, err := w.next()
	if err != nil {
		return nil, err
	}
	switch strings.ToLower(kind) {
	case "nearby", "within", "intersects":
	default:
		return nil, reply.InvalidArgument(kind)
	}
	if _, err := w.next(); err != nil {
		return nil, err
	}
	hk.Command = cloneAll(search)
	hk.Key = hk.Command[1]
	return hk, nil
}

// cloneAll clones words into one block of memory.
func cloneAll(words []string) []string {
	n := 0
	for _, w := range words {
		n += len(w)
	}
	var b strings.Builder
	b.Grow(n)
	for _, w := range words {
		b.WriteString(w)
	}
	own, rest := make([]string, len(words)), b.String()
	for i, w := range words {
		own[i], rest = rest[:len(w)], rest[len(w):]
	}
	return own
}

// hookEndpoints reads the addresses, between commas.
func hookEndpoints(hk *collection.Hook, w *words) error {
	list, err := w.next()
	if err != nil {
		return err
	}
	for _, e := range strings.Split(list, ",") {
		e = strings.TrimSpace(e)
		if !w.logged && !validEndpoint(e) {
			return reply.InvalidArgument(e)
		}
		hk.Endpoints = append(hk.Endpoints, strings.Clone(e))
	}
	return nil
}

// options reads META name value and EX seconds.
func options(hk *collection.Hook, w *words, now int64) error {
	var meta map[string]string
	for len(w.rest) > 0 {
		switch strings.ToLower(w.rest[0]) {
		case "meta":
			w.rest = w.rest[1:]
			name, err := w.next()
			if err != nil {
				return err
			}
			value, err := w.next()
			if err != nil {
				return err
			}
			if meta == nil {
				meta = map[string]string{}
			}
			meta[strings.Clone(name)] = strings.Clone(value)
			continue
		case "ex":
			w.rest = w.rest[1:]
			word, err := w.next()
			if err != nil {
				return err
			}
			secs, err := strconv.ParseFloat(word, 64)
			if err != nil {
				return reply.InvalidArgument(word)
			}
			hk.Deadline = deadline(now, secs)
			continue
		}
		break
	}
	for _, name := range slices.Sorted(maps.Keys(meta)) {
		hk.Meta = append(hk.Meta, collection.Meta{Name: name, Value: meta[name]})
	}
	return nil
}

// deadline returns when secs seconds from now are over. As in Tile38, what is
// more nanoseconds than 64 bits hold, or no number, is over at once.
func deadline(now int64, secs float64) int64 {
	const most = math.MaxInt64 / 1e9
	if !(math.Abs(secs) < most) {
		return max(now, 1)
	}
	return max(now+int64(math.Round(secs*1000)), 1)
}
