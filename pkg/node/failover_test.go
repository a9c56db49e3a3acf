package node

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestFailover: the leader loses its lease without a word, the other node takes over
// where it stands, again and again, while clients of both write. With a replica to wait
// for nothing is lost that was acknowledged, nothing is there that was refused, and
// what is neither was answered as such.
func TestFailover(t *testing.T) {
	var leases [2]lease
	var nodes [2]*server
	for i := range nodes {
		nodes[i] = serve(t, t.TempDir(), config{change: func(o *Options) {
			given(Forward{Timeout: patience, OwnWrites: patience})(o)
			o.Fence = leases[i].fence
		}})
		c := nodes[i].dial()
		c.do("CONFIG SET min-replicas-to-write 1")
		c.do("CONFIG SET min-replicas-timeout 300ms")
	}
	nodes[0].leads()
	nodes[1].follows(nodes[0])
	level(t, nodes[0], nodes[1])
	known := regexp.MustCompile(`^-(NOREPLICAS the write is done here|ERR written here, but this node is not the leader any more: .*: the write may or may not last|ERR leader .*: the command may or may not have run)`)
	refused := regexp.MustCompile(`^-NOREPLICAS Not enough good replicas`)
	var stop atomic.Bool
	var wg sync.WaitGroup
	var done atomic.Int64
	fates := make([]map[string]string, 4)
	for i := range fates {
		fates[i] = map[string]string{}
		c := nodes[i%2].dial()
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				var lines, ids []string
				for k := range 5 {
					ids = append(ids, fmt.Sprintf("c%d-%d-%d", i, n, k))
					lines = append(lines, "SET k "+ids[k]+" STRING x")
				}
				if _, err := c.Write([]byte(encode(lines...))); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				for _, id := range ids {
					text, err := readReply(c.r)
					if err != nil {
						t.Errorf("client %d, %s: %v", i, id, err)
						return
					}
					fates[i][id] = text
					done.Add(1)
				}
			}
		})
	}
	for round := range 10 {
		old, next := nodes[round%2], nodes[1-round%2]
		before := done.Load()
		until(t, "writes", func() bool { return done.Load() > before+300 || t.Failed() })
		leases[round%2].lost.Store(true)
		next.leads() // from where it stands
		old.follows(next)
		leases[round%2].lost.Store(false)
	}
	stop.Store(true)
	wg.Wait()
	level(t, nodes[0], nodes[1])
	there := map[string]bool{}
	for _, id := range strings.Fields(strings.Trim(nodes[0].dial().do("SCAN k LIMIT 1000000 IDS"), "[]")) {
		there[strings.TrimLeft(id, "[")] = true
	}
	var acknowledged, unknown int
	for i := range fates {
		for id, text := range fates[i] {
			switch {
			case text == "+OK\r\n":
				acknowledged++
				if !there[id] {
					t.Errorf("%s was acknowledged and is not there", id)
				}
			case refused.MatchString(text):
				if there[id] {
					t.Errorf("%s was refused and is there", id)
				}
			case known.MatchString(text):
				unknown++
			default:
				t.Errorf("%s: %q", id, text)
			}
		}
	}
	if acknowledged < 1000 || unknown > 10*4*5*2 { // in each round no more than what was under way, and was tried again
		t.Errorf("%d acknowledged, %d unknown", acknowledged, unknown)
	}
	t.Logf("%d acknowledged, %d unknown", acknowledged, unknown)
}
