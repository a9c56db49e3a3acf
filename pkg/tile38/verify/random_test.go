package verify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/tile38"
)

// randomCommands are writes of all kinds to few objects.
func randomCommands(r *rand.Rand, n int) [][]string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	key := func() string { return pick("a", "b", "c d", "\xff", "é*") }
	id := func() string {
		return pick("", "1", "12", "123", "a b", "a*", `q"\`, "\r\n", "\x00", "é", "\xff\xfe", "x\xff", "z", "zz")
	}
	value := func() string {
		return pick("0", "1", "1.50", "-0", "0.0", "1e3", "inf", "-inf", "nan", `"10"`, `"true"`, "true", "false", "null", "text",
			`"quoted \" \u00e9 \n"`, " spaced ", "\xff\xfe", `{"a": [1, 2.0], "b":{"c":null}}`, "[]", `""`, "00", `<&>`)
	}
	name := func() string { return pick("speed", "f", " z", " lat", "é", "\xff", "a b", "\"") }
	fields := func(args []string, word bool, least int) []string {
		for range least + r.IntN(3) {
			if word {
				args = append(args, "FIELD")
			}
			args = append(args, name(), value())
		}
		return args
	}
	object := func() []string {
		switch r.IntN(9) {
		case 0:
			return []string{"POINT", "33.25", pick("-115", "1e-7", "-0")}
		case 1:
			return []string{"POINT", "33", "-115", pick("0", "7.5")}
		case 2:
			return []string{"BOUNDS", "1", "2", pick("3", "1"), "4"}
		case 3:
			return []string{"HASH", "9my5xp7"}
		case 4:
			return []string{"OBJECT", `{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1.0],[0,1],[0,0]]]}`}
		case 5:
			return []string{"OBJECT", `{"type":"Feature","geometry":{"type":"Point","coordinates":[1.0,2,3]},"id":"x","properties":{"b":1,  "a":"é"}}`}
		case 6:
			return []string{"OBJECT", `{"type":"Feature","geometry":{"type":"Point","coordinates":[-115,33]},"properties":{"type":"Circle","radius":100}}`}
		case 7:
			return []string{"OBJECT", `{"type":"Point","coordinates":[1,2],"bbox":[1,2,1,2]}`}
		}
		return []string{"STRING", pick("x", `{"type":"Point","coordinates":[1,2]}`, "\xff\r\n", "", "é�", "</b>")}
	}
	var cmds [][]string
	for range n {
		switch r.IntN(12) {
		case 0:
			cmds = append(cmds, []string{"DEL", key(), id()})
		case 1:
			cmds = append(cmds, []string{"EXPIRE", key(), id(), pick("100", "1000.5", "86400")})
		case 2:
			cmds = append(cmds, []string{"PERSIST", key(), id()})
		case 3:
			cmds = append(cmds, fields([]string{"FSET", key(), id()}, false, 1))
		case 4:
			cmds = append(cmds, randomHook(r, pick))
		default:
			args := fields([]string{"SET", key(), id()}, true, 0)
			if r.IntN(4) == 0 {
				args = append(args, "EX", pick("50", "500.25", "100000"))
			}
			cmds = append(cmds, append(args, object()...))
		}
	}
	return cmds
}

func randomHook(r *rand.Rand, pick func(...string) string) []string {
	name := pick("h", "i", "\xff")
	if r.IntN(5) == 0 {
		return []string{pick("DELHOOK", "DELCHAN"), name}
	}
	args := []string{"SETCHAN", "c" + name}
	if r.IntN(2) == 0 {
		args = []string{"SETHOOK", name, pick("http://127.0.0.1:1/x", "http://127.0.0.1:1/x,http://127.0.0.1:1/y?retry=1")}
	}
	if r.IntN(2) == 0 {
		args = append(args, "META", pick("b", "\xfe"), pick("1", "2"), "META", "a", "x")
	}
	if r.IntN(2) == 0 {
		args = append(args, "EX", pick("100", "200"))
	}
	return append(args, "NEARBY", pick("a", "b"), "FENCE", "POINT", "1", pick("2", "2.0"), "3")
}

// try carries out commands, some of which fail.
func (f *fake) try(cmds [][]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range cmds {
		f.query(c, false)
	}
}

// state is a Source over a snapshot.
func (f *fake) state() Source {
	f.mu.Lock()
	defer f.mu.Unlock()
	return State(f.snapshot(), time.Now().UnixMilli())
}

func (f *fake) snapshot() *collection.State { return f.eng.State().Snapshot() }

// TestCommandsMend makes random states equal by the commands, and reads each both
// from memory and from the port.
func TestCommandsMend(t *testing.T) {
	for seed := range 12 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 38))
			a, b := newFake(t), newFake(t)
			a.try(randomCommands(r, 60))
			b.try(randomCommands(r, 60))
			liveA, liveB := live(t, a.addr), live(t, b.addr)
			for _, pair := range [][2]Source{{a.state(), liveA}, {liveB, b.state()}} {
				if all, _ := differences(t, pair[0], pair[1], quick()); len(all) != 0 {
					t.Fatalf("a state and its port differ:\n%s%+v", describe(all), all[0])
				}
			}
			all, sum := differences(t, liveA, liveB, quick())
			if fromStates, _ := differences(t, a.state(), b.state(), quick()); describe(all) != describe(fromStates) {
				t.Fatalf("servers:\n%sstates:\n%s", describe(all), describe(fromStates))
			}
			if sum.Equal() {
				t.Fatal("random states are equal")
			}
			for _, d := range all {
				b.do(t, d.Commands()...)
			}
			if all, _ := differences(t, a.state(), b.state(), quick()); len(all) != 0 {
				t.Fatalf("the commands left:\n%s%q", describe(all), all[0].Commands())
			}
		})
	}
}

// TestCommandsMendReal is TestCommandsMend on two real servers.
func TestCommandsMendReal(t *testing.T) {
	addrA, addrB := realServer(t), realServer(t)
	a, b := dial(t, addrA), dial(t, addrB)
	liveA, liveB := live(t, addrA), live(t, addrB)
	// try sends commands some of which fail.
	try := func(c *tile38.Conn, cmds [][]string) {
		if err := c.Send(cmds...); err != nil {
			t.Fatal(err)
		}
		for range cmds {
			_, err := c.Receive(1 << 20)
			if _, refused := errors.AsType[tile38.AnswerError](err); err != nil && !refused {
				t.Fatal(err)
			}
		}
	}
	for seed := range 3 {
		r := rand.New(rand.NewPCG(uint64(seed), 38))
		same := newFake(t)
		cmds := randomCommands(r, 150)
		do(t, a, []string{"FLUSHDB"})
		same.try(cmds)
		try(a, cmds)
		try(b, randomCommands(r, 150))
		if all, _ := differences(t, liveA, same.state(), quick()); len(all) != 0 {
			t.Fatalf("seed %d: Tile38 and the engine show the same data in two ways:\n%s%+v", seed, describe(all), all[0])
		}
		all, _ := differences(t, liveA, liveB, quick())
		if len(all) == 0 {
			t.Fatal("random states are equal")
		}
		for _, d := range all {
			do(t, b, d.Commands()...)
		}
		if all, _ := differences(t, liveA, liveB, quick()); len(all) != 0 {
			t.Fatalf("seed %d: the commands left:\n%s%q", seed, describe(all), all[0].Commands())
		}
	}
}

// TestScanWhileItMoves writes before every answer what shifts the pages, and wants
// exactly those objects that were there all the time, once each.
func TestScanWhileItMoves(t *testing.T) {
	for seed := range 3 {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		f := newFake(t)
		stay := map[string]bool{}
		for i := range 1000 {
			id := fmt.Sprintf("s:%d", i*7)
			stay[id] = true
			f.do(t, []string{"SET", "k", id, "POINT", "1", "2"})
		}
		f.before = func(f *fake, args []string) {
			if args[0] != "scan" {
				return
			}
			for range r.IntN(200) {
				id := fmt.Sprintf("%s:%d%s", []string{"s", "r", "t"}[r.IntN(3)], r.IntN(1000)*7, []string{"x", "y"}[r.IntN(2)])
				if r.IntN(2) == 0 {
					f.query([]string{"SET", "k", id, "STRING", "x"}, false)
				} else {
					f.query([]string{"DEL", "k", id}, false)
				}
			}
			if r.IntN(8) == 0 {
				f.query([]string{"PDEL", "k", fmt.Sprintf("s:%d*x", r.IntN(10))}, false)
			}
		}
		l := liveWith(t, LiveOptions{Options: live(t, f.addr).opt.Options, Page: 50, Rate: 1 << 30, NoExpiry: true})
		seen := 0
		last := ""
		for _, o := range scan(t, l, "k", "") {
			if o.ID <= last {
				t.Fatalf("seed %d: %q behind %q", seed, o.ID, last)
			}
			if last = o.ID; stay[o.ID] {
				seen++
			}
		}
		if seen != len(stay) {
			t.Fatalf("seed %d: %d of %d objects that were there all the time", seed, seen, len(stay))
		}
	}
}

// TestTraffic compares two servers that get the same writes, one a moment later:
// nothing differs but what does so for good.
func TestTraffic(t *testing.T) {
	a, b := newFake(t), newFake(t)
	for i := range 500 {
		a.do(t, []string{"SET", "k", fmt.Sprint(i), "POINT", "1", "2"})
		b.do(t, []string{"SET", "k", fmt.Sprint(i), "POINT", "1", "2"})
	}
	b.do(t, []string{"SET", "k", "ghost", "POINT", "1", "2"}, []string{"DEL", "k", "7"},
		[]string{"FSET", "k", "3", "odd", "1"})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	var written, taken atomic.Int64
	go func() {
		defer close(done)
		log := make(chan []string, 100) // how far b is behind
		for i := 0; ctx.Err() == nil; i++ {
			id := fmt.Sprint(i * 13 % 700)
			if id == "7" {
				continue // a SET would mend it
			}
			cmd := []string{"SET", "k", id, "POINT", fmt.Sprint(i % 90), "2"}
			if i%5 == 0 && i*13%700 >= 500 {
				cmd = []string{"DEL", "k", id}
			}
			a.try([][]string{cmd})
			written.Add(1)
			log <- cmd
			if len(log) == cap(log) {
				b.try([][]string{<-log})
				taken.Add(1)
				time.Sleep(50 * time.Microsecond)
			}
		}
		for len(log) > 0 {
			b.try([][]string{<-log})
		}
	}()
	size := func(n *atomic.Int64) func(context.Context) (int64, error) {
		return func(context.Context) (int64, error) { return n.Load(), nil }
	}
	o := Options{Pauses: []time.Duration{0, 0}, Level: LevelBy(size(&written), size(&taken), 20*time.Second)}
	for range 3 {
		all, _ := differences(t, live(t, a.addr), live(t, b.addr), o)
		if got, want := describe(all), "k/3 fields\nk/7 missing\nk/ghost extra\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
	stop()
	<-done
}
