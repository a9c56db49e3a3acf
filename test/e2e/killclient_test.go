package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// killClient writes to a collection of its own and knows what must be in it.
type killClient struct {
	key    string
	random *rand.Rand
	n      int            // commands ever sent
	state  map[string]int // what is certainly there: the number of the command that set each object
	sent   []killCommand  // since then, in order
	acked  int            // of sent
}

// killCommand sets an object, or deletes it.
type killCommand struct {
	id  string
	n   int
	del bool
}

func (c killCommand) apply(state map[string]int) {
	if c.del {
		delete(state, c.id)
	} else {
		state[c.id] = c.n
	}
}

// write sends pipelines until one fails or ctx ends.
func (c *killClient) write(ctx context.Context, rdb *redis.Client, acked func(int)) {
	for ctx.Err() == nil {
		p := rdb.Pipeline()
		for range 1 + c.random.IntN(30) {
			c.n++
			cmd := killCommand{id: strconv.Itoa(c.random.IntN(300)), n: c.n, del: c.random.IntN(5) == 0}
			c.sent = append(c.sent, cmd)
			if cmd.del {
				p.Do(context.Background(), "DEL", c.key, cmd.id)
			} else {
				p.Do(context.Background(), "SET", c.key, cmd.id, "FIELD", "n", cmd.n, "POINT", cmd.n%80, cmd.n%170)
			}
		}
		cmds, err := p.Exec(context.Background())
		n := 0
		// A pipeline that got no connection has no errors at its commands.
		answered := func(c redis.Cmder) bool { cmd, ok := c.(*redis.Cmd); return ok && cmd.Err() == nil && cmd.Val() != nil }
		for n < len(cmds) && answered(cmds[n]) {
			n++
		}
		c.acked += n
		acked(n)
		if err != nil {
			return
		}
	}
}

// check finds out how much of what was sent is there: all that was acknowledged,
// and a beginning of the rest. That is certain from now on. It returns how many
// commands of the rest there are.
func (c *killClient) check(rdb *redis.Client) (kept int, err error) {
	got, err := c.read(rdb)
	if err != nil {
		return 0, err
	}
	want := maps.Clone(c.state)
	if want == nil {
		want = map[string]int{}
	}
	for i := 0; ; i++ {
		if i >= c.acked && maps.Equal(got, want) {
			kept = i - c.acked
			c.state, c.sent, c.acked = want, nil, 0
			return kept, nil
		}
		if i == len(c.sent) {
			return 0, fmt.Errorf("%s: %d objects are not what any beginning of %d commands leads to, %d of them acknowledged",
				c.key, len(got), len(c.sent), c.acked)
		}
		c.sent[i].apply(want)
	}
}

// read returns the objects, each with the number of the command that set it.
func (c *killClient) read(rdb *redis.Client) (map[string]int, error) {
	v, err := rdb.Do(context.Background(), "SCAN", c.key, "LIMIT", 10000).Slice()
	if err != nil || len(v) != 2 {
		return nil, fmt.Errorf("SCAN %s: %v, %w", c.key, v, err)
	}
	items, ok := v[1].([]any)
	if !ok {
		return nil, fmt.Errorf("SCAN %s: %v", c.key, v)
	}
	got := map[string]int{}
	for _, item := range items {
		// id, object, [name, value]
		words, ok := item.([]any)
		if !ok || len(words) != 3 {
			return nil, fmt.Errorf("SCAN %s: item %v", c.key, item)
		}
		fields, ok := words[2].([]any)
		if !ok || len(fields) != 2 {
			return nil, errors.New("an object without its field")
		}
		n, err := strconv.Atoi(fmt.Sprint(fields[1]))
		if err != nil {
			return nil, err
		}
		got[fmt.Sprint(words[0])] = n
	}
	return got, nil
}
