package upstream

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/pkg/proxy"
)

// searchFor is a search.
func searchFor(id string) string { return array("NEARBY", "k", id) }

// lanesUp has each client search until the connections for that are there and it is
// on one of them.
func (f *fixture) lanesUp(clients ...*peer) {
	f.t.Helper()
	f.eventually("shared searches", func() bool {
		for _, c := range clients {
			c.ask("NEARBY", "k", "x")
		}
		for _, n := range f.b.sharing.all[0].lanes {
			if !n.up.Load() {
				return false
			}
		}
		return f.b.Stats().Guests == int64(len(clients))
	})
}

// unhurried lets searches take as long as they like.
func (f *fixture) unhurried() {
	l := f.b.sharing.all[0]
	l.ask(func() { l.long, l.usual = time.Hour, time.Hour })
}

// Many clients search and write by turns: over few connections, and each in its order.
func TestSharesSearches(t *testing.T) {
	engine := newMimic(t)
	f := startSharing(t, Options{Engine: engine.addr}, proxy.Options{})
	f.unhurried()
	var clients []*peer
	for range 20 {
		clients = append(clients, f.guest())
	}
	f.lanesUp(clients...)
	before := f.b.Stats()
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			for n := range 200 {
				c.ask("NEARBY", "k", fmt.Sprintf("%d.%d:%d", i, n, 10*n))
				if n%3 == 0 {
					c.ask("SET", "k", "id", "STRING", "x")
				}
			}
		})
	}
	wg.Wait()
	if s := f.b.Stats(); s.Guests != 20 || s.Dials != before.Dials || s.Moved != 0 {
		t.Errorf("%+v, before %+v", s, before)
	}
	// What is sent at once is answered in its order, wherever.
	c := clients[0]
	var in, out strings.Builder
	for n := range 50 {
		for _, args := range [][]string{{"NEARBY", "k", fmt.Sprintf("%d:500", n)}, {"GET", "k", fmt.Sprintf("%d:50", n)}} {
			in.WriteString(array(args...))
			out.WriteString(answerOf(args))
		}
	}
	c.send(in.String())
	c.want(out.String())
}

// searchScript is a pod whose searches the test answers: on e, for a and b.
func searchScript(t *testing.T, o Options) (f *fixture, engine *script, e, a, b *peer) {
	t.Helper()
	engine = newScript(t)
	o.Engine = engine.addr
	f = startSharing(t, o, proxy.Options{})
	engine.next()
	n := f.b.sharing.all[0].lanes[laneSearches]
	n.call()
	f.eventually("a connection for searches", n.up.Load)
	e, a, b = engine.next(), f.guest(), f.guest()
	return f, engine, e, a, b
}

// A search that takes long holds up those behind it only for a moment: they get their
// own connections, and what was to come for them is dropped.
func TestLongSearch(t *testing.T) {
	var seen atomic.Int64
	f, engine, e, a, b := searchScript(t, Options{Observe: func(string, time.Duration, bool) { seen.Add(1) }})
	a.send(searchFor("a"))
	e.want(searchFor("a"))
	b.send(searchFor("b"))
	own := engine.next()
	own.want(searchFor("b"))
	own.send("$1\r\nb\r\n")
	b.want("$1\r\nb\r\n")
	e.want(searchFor("b")) // in vain
	if s := f.b.Stats(); s.Moved != 1 || s.Guests != 1 {
		t.Errorf("%+v", s)
	}
	e.send("$1\r\na\r\n$1\r\nc\r\n")
	a.want("$1\r\na\r\n")
	f.eventually("the long one goes, too", func() bool { return f.b.Stats().Guests == 0 })
	a.send(searchFor("a"))
	engine.next().want(searchFor("a"))
	if s := f.Stats(); s.Commands != 3 || seen.Load() != 2 {
		t.Errorf("%d answers were observed; %+v", seen.Load(), s)
	}
	if s := f.b.Stats(); s.Lost != 0 || s.Kept != 0 {
		t.Errorf("%+v", s)
	}
}

// A client that sends nothing more behind its search gets its answer.
func TestLongSearchHalfClosed(t *testing.T) {
	_, engine, e, a, b := searchScript(t, Options{})
	a.send(searchFor("a"))
	e.want(searchFor("a"))
	b.send(searchFor("b"))
	b.closeWrite()
	own := engine.next()
	own.want(searchFor("b"))
	own.send("$1\r\nb\r\n")
	_ = own.Close()
	b.wantEnd("$1\r\nb\r\n")
	e.send("$1\r\na\r\n")
	a.want("$1\r\na\r\n")
}

// An engine that is lost: who was searching is told, whose search had not been sent
// never learns of it.
func TestSearchLost(t *testing.T) {
	f, engine, e, a, b := searchScript(t, Options{})
	f.unhurried()
	clients := []*peer{a, b}
	for len(clients) <= searchWindow {
		clients = append(clients, f.guest())
	}
	for i, c := range clients {
		c.send(searchFor("s"))
		if i < searchWindow {
			e.want(searchFor("s"))
		} else {
			f.eventually("it waits", func() bool { return f.Stats().Commands == int64(i+1) })
		}
	}
	e.send("$1\r\na\r\n$1\r") // the next one is sent, too
	a.want("$1\r\na\r\n")
	e.want(searchFor("s"))
	a.send(searchFor("s")) // waits
	f.eventually("it waits", func() bool { return f.Stats().Commands == int64(len(clients)+1) })
	_ = e.Close()
	clients[1].wantEnd("$1\r")
	for _, c := range clients[2:] {
		c.wantEnd("-ERR engine " + engine.addr + ": connection closed: the command may or may not have run\r\n")
	}
	own := engine.next()
	own.want(searchFor("s"))
	own.send("$1\r\na\r\n")
	a.want("$1\r\na\r\n")
	if s := f.b.Stats(); s.Lost != 1 || s.LostCommands != searchWindow || s.Moved != 1 {
		t.Errorf("%+v", s)
	}
}

// Searches that are moved all the time: everybody gets the own answers, each once.
func TestSearchesRandom(t *testing.T) {
	engine := newMimic(t)
	f := startSharing(t, Options{Engine: engine.addr}, proxy.Options{})
	l := f.b.sharing.all[0]
	l.ask(func() { l.long, l.usual, l.rest = 3*time.Millisecond, time.Hour, time.Millisecond })
	engine.slow.Store(int64(time.Millisecond))
	const clients, moves = 12, 20
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for round := 0; round < 3 || f.b.Stats().Moved < moves && round < 100; round++ {
				c := dial(t, f.addr) // who has had a long search is not let in again soon
				for n := range 50 {
					c.ask("GET", "k", fmt.Sprintf("%d.%d.%d:100", i, round, n))
					c.ask("NEARBY", "k", fmt.Sprintf("%d.%d.%d:3000", i, round, n))
				}
				_ = c.Close()
			}
		})
	}
	wg.Wait()
	if s := f.b.Stats(); s.Moved < moves || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}

// Searches that keep an engine busy are for connections of their own, where its
// processors can share them.
func TestUsualSearch(t *testing.T) {
	engine := newMimic(t)
	f := startSharing(t, Options{Engine: engine.addr}, proxy.Options{})
	clients := []*peer{f.guest(), f.guest(), f.guest(), f.guest()}
	f.lanesUp(clients...)
	engine.slow.Store(int64(2 * usualSearch))
	f.eventually("nothing is shared", func() bool {
		for _, c := range clients {
			c.ask("NEARBY", "k", "x")
		}
		return f.b.Stats().Guests == 0
	})
	if s := f.b.Stats(); s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}
