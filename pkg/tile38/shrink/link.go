package shrink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/tile38"
)

// link is a connection to a server that is kept, and made again when it breaks. One
// goroutine at a time may use it.
type link struct {
	opt tile38.Options
	c   *tile38.Conn
	end context.CancelFunc // of what the connection hangs on
}

func newLink(opt tile38.Options) *link {
	opt.Local = true // what that server has, not its leader
	return &link{opt: opt}
}

// do sends a command. An error other than an answer closes the connection; one that
// was kept is made again, once.
func (l *link) do(ctx context.Context, args ...string) (redcon.RESP, error) {
	kept := l.c != nil
	v, err := l.try(ctx, args)
	if err == nil || answered(err) || !kept || ctx.Err() != nil {
		return v, err
	}
	return l.try(ctx, args)
}

func (l *link) try(ctx context.Context, args []string) (redcon.RESP, error) {
	if l.c == nil {
		life, end := context.WithCancel(context.WithoutCancel(ctx))
		c, err := tile38.Dial(life, l.opt)
		if err != nil {
			end()
			return redcon.RESP{}, err
		}
		l.c, l.end = c, end
	}
	stop := context.AfterFunc(ctx, l.end)
	v, err := l.c.Do(args...)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil && !answered(err) {
		l.close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return v, fmt.Errorf("%s: %w", l.opt.Addr, err)
	}
	return v, err
}

func answered(err error) bool {
	_, ok := errors.AsType[tile38.AnswerError](err)
	return ok
}

func (l *link) close() {
	if l.c == nil {
		return
	}
	l.end()
	_ = l.c.Close() // nothing is lost with it
	l.c = nil
}

// server asks with SERVER.
func (l *link) server(ctx context.Context) (map[string]string, error) {
	return l.table(ctx, "SERVER")
}

// table asks for names and values.
func (l *link) table(ctx context.Context, args ...string) (map[string]string, error) {
	v, err := l.do(ctx, args...)
	if err != nil {
		return nil, err
	}
	m := map[string]string{}
	for name, value := range v.Map() {
		m[name] = value.String()
	}
	return m, nil
}

func number(m map[string]string, name string) int64 {
	n, err := strconv.ParseInt(m[name], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// followers returns the addresses that INFO replication tells.
func (l *link) followers(ctx context.Context) ([]string, error) {
	v, err := l.do(ctx, "INFO", "replication")
	if err != nil {
		return nil, fmt.Errorf("ask %s for its followers: %w", l.opt.Addr, err)
	}
	return parseReplicas(v.String()), nil
}

// parseReplicas reads the lines slave<n>:ip=<ip>,port=<port>,… of INFO. One that
// has come back twice is told twice.
func parseReplicas(info string) (addrs []string) {
	for line := range strings.SplitSeq(info, "\n") {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || !strings.HasPrefix(name, "slave") || !strings.HasPrefix(value, "ip=") {
			continue
		}
		var ip, port string
		for member := range strings.SplitSeq(value, ",") {
			switch name, value, _ := strings.Cut(member, "="); name {
			case "ip":
				ip = value
			case "port":
				port = value
			}
		}
		if addr := net.JoinHostPort(ip, port); port != "" && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	slices.Sort(addrs)
	return addrs
}

// Count is the size of a collection.
type Count struct {
	Objects int64 `json:"objects"`
	Points  int64 `json:"points"`
	Strings int64 `json:"strings"`
}

// statsBatch is how many collections are asked for at once.
const statsBatch = 200

// counts returns the sizes of all collections but the reserved one.
func (l *link) counts(ctx context.Context, reserved string) (map[string]Count, error) {
	v, err := l.do(ctx, "KEYS", "*")
	if err != nil {
		return nil, err
	}
	var keys []string
	v.ForEach(func(w redcon.RESP) bool {
		if k := w.String(); k != reserved {
			keys = append(keys, k)
		}
		return true
	})
	all := make(map[string]Count, len(keys))
	for part := range slices.Chunk(keys, statsBatch) {
		v, err := l.do(ctx, append([]string{"STATS"}, part...)...)
		if err != nil {
			return nil, err
		}
		i := 0
		v.ForEach(func(w redcon.RESP) bool {
			if w.Count > 0 && i < len(part) { // else it has gone meanwhile
				m := map[string]string{}
				for name, value := range w.Map() {
					m[name] = value.String()
				}
				all[part[i]] = Count{number(m, "num_objects"), number(m, "num_points"), number(m, "num_strings")}
			}
			i++
			return true
		})
	}
	return all, nil
}

// maxTexts is how many objects of the reserved collection are read.
const maxTexts = "500"

// texts returns the strings of a collection by id.
func (l *link) texts(ctx context.Context, key string) (map[string]string, error) {
	v, err := l.do(ctx, "SCAN", key, "LIMIT", maxTexts, "OBJECTS")
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	v.ForEach(func(part redcon.RESP) bool { // the cursor, then pairs of id and text
		part.ForEach(func(item redcon.RESP) bool {
			var words []string
			item.ForEach(func(w redcon.RESP) bool { words = append(words, w.String()); return true })
			if len(words) >= 2 {
				texts[words[0]] = words[1]
			}
			return true
		})
		return true
	})
	return texts, nil
}

// beat returns all heartbeats of a server, in order; "": there is none.
func (l *link) beat(ctx context.Context, key string) (string, error) {
	texts, err := l.texts(ctx, key)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		if !strings.HasPrefix(id, turnPrefix) && !strings.HasPrefix(id, resetPrefix) {
			fmt.Fprintf(&b, "%s %s\n", id, texts[id])
		}
	}
	return b.String(), nil
}
