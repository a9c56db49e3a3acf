package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"evenkeel/internal/testkit/history"
)

// registers is how many registers clients write and read.
const registers = 20

// pace is what a client waits between two operations: it is not speed that is tested.
const pace = 10 * time.Millisecond

// traffic is clients, each at one pod or at the Service of the leader, and what they were told.
type traffic struct {
	r    *release
	name string // its collections end in it
	h    *history.History
	stop func()

	mu    sync.Mutex
	acked []string // ids of objects that were acknowledged
	said  map[string]int
}

// traffic starts clients at each pod, and at the Service of the leader.
func (r *release) traffic(t *testing.T) *traffic {
	t.Helper()
	pods, err := r.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tr := &traffic{r: r, name: fmt.Sprintf("%s-%d", strings.ToLower(t.Name()), time.Now().UnixMilli()), h: history.New(), said: map[string]int{}}
	at := []client{{"the Service", r.service("leader")}, {"the Service", r.service("leader")}}
	for i := range pods {
		at = append(at, client{"a pod", net.JoinHostPort(r.host(pods[i].Name), strconv.Itoa(clients))})
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i, c := range at {
		wg.Go(func() { tr.client(ctx, i+1, c) })
	}
	tr.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(tr.stop)
	tr.goesOn(t, 200)
	return tr
}

// client is where one is connected to.
type client struct{ what, addr string }

// connectTo returns a client with one connection, which tries nothing twice.
func connectTo(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1, PoolSize: 1,
		DialTimeout: time.Second, ReadTimeout: 3 * time.Second, WriteTimeout: 3 * time.Second, DialerRetries: 1,
	})
}

func (tr *traffic) client(ctx context.Context, id int, c client) {
	rdb := connectTo(c.addr)
	defer func() { _ = rdb.Close() }()
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("k%d", rand.IntN(registers))
		value := fmt.Sprintf("%d-%d", id, n)
		var outcome history.Outcome
		switch rand.IntN(3) {
		case 0:
			outcome = tr.h.Write(id, key, value, func() history.Outcome {
				return tr.known(c, rdb.Do(context.Background(), "SET", "reg-"+tr.name, key, "STRING", value).Err())
			})
		case 1: // a register that is written once, and read at the end
			outcome = tr.h.Write(id, value, value, func() history.Outcome {
				return tr.known(c, rdb.Do(context.Background(), "SET", "all-"+tr.name, value, "STRING", value).Err())
			})
			if outcome == history.Done {
				tr.mu.Lock()
				tr.acked = append(tr.acked, value)
				tr.mu.Unlock()
			}
		default:
			_, outcome = tr.h.Read(id, key, func() (string, history.Outcome) { return tr.read(c, rdb, key) })
		}
		wait := pace
		if outcome != history.Done {
			wait *= 5
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (tr *traffic) read(c client, rdb *redis.Client, key string) (string, history.Outcome) {
	v, err := rdb.Do(context.Background(), "GET", "reg-"+tr.name, key).Text()
	if errors.Is(err, redis.Nil) {
		return "", history.Done
	}
	return v, tr.known(c, err)
}

// known is what a client knows after an answer.
func (tr *traffic) known(c client, err error) history.Outcome {
	if err == nil {
		return history.Done
	}
	tr.mu.Lock()
	tr.said[c.what+" said: "+shorten(err.Error())]++
	tr.mu.Unlock()
	return history.Known(err)
}

// shorten leaves out of an error what differs from one to the next.
func shorten(text string) string {
	words := strings.Fields(text)
	for i, w := range words {
		if strings.ContainsAny(w, "0123456789") {
			words[i] = "…"
		}
	}
	return strings.Join(words, " ")
}

// goesOn waits until so many more operations are done.
func (tr *traffic) goesOn(t *testing.T, more int) {
	t.Helper()
	was, _, _ := tr.h.Counts()
	until(t, "traffic goes on", func() bool { now, _, _ := tr.h.Counts(); return now >= was+more })
}

// objects are the ids of a collection, as the leader has them.
func objects(rdb *redis.Client, collection string) (map[string]bool, error) {
	answer, err := rdb.Do(context.Background(), "SCAN", collection, "LIMIT", "1000000", "IDS").Slice()
	if err != nil {
		return nil, err
	}
	if len(answer) != 2 {
		return nil, fmt.Errorf("SCAN answers with %d values", len(answer))
	}
	ids, ok := answer[1].([]any)
	if !ok {
		return nil, fmt.Errorf("SCAN answers with %T", answer[1])
	}
	have := map[string]bool{}
	for _, id := range ids {
		have[fmt.Sprint(id)] = true
	}
	return have, nil
}

// lost counts the acknowledged objects that the leader does not have.
func (tr *traffic) lost(t *testing.T) (lost, of int) {
	t.Helper()
	rdb := connectTo(tr.r.service("leader"))
	defer func() { _ = rdb.Close() }()
	var have map[string]bool
	until(t, "the leader answers", func() (ok bool) {
		var err error
		have, err = objects(rdb, "all-"+tr.name)
		return err == nil
	})
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, id := range tr.acked {
		if !have[id] {
			lost++
		}
	}
	return lost, len(tr.acked)
}

// check ends the traffic, waits until all pods have the same, and compares with what
// clients were told: nothing that was acknowledged is lost, and the history can be true.
func (tr *traffic) check(t *testing.T) {
	t.Helper()
	tr.stop()
	tr.r.level(t)
	lost, of := tr.lost(t)
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, of)
	}
	last := client{"the Service", tr.r.service("leader")}
	rdb := connectTo(last.addr)
	defer func() { _ = rdb.Close() }()
	for i := range registers {
		key := fmt.Sprintf("k%d", i)
		if _, outcome := tr.h.Read(0, key, func() (string, history.Outcome) { return tr.read(last, rdb, key) }); outcome != history.Done {
			t.Errorf("the last look at register %s fails", key)
		}
	}
	done, not, unknown := tr.h.Counts()
	measured.note(t, "%d operations done, %d refused, %d of which nothing is known; %d of %d acknowledged objects lost", done, not, unknown, lost, of)
	for text, n := range tr.said {
		t.Logf("%d times %s", n, text)
	}
	if of < 100 {
		t.Errorf("%d acknowledged objects are not much of a test", of)
	}
	file := filepath.Join(os.TempDir(), fmt.Sprintf("evenkeel-cluster-%s-%d.html", tr.name, os.Getpid()))
	if err := tr.h.Check(time.Minute, file); err != nil {
		t.Error(err)
	}
}
