package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"evenkeel/internal/load"
	"evenkeel/pkg/spike"
	"evenkeel/pkg/tlsfile"
)

// spiking is what `sidecar spike` is asked for.
type spiking struct {
	o    spike.Options
	json bool
	page string

	shown                  tlsfile.Files
	leaderTLS, followerTLS *peerTLS
}

func spikeCommand() *cobra.Command {
	var s spiking
	cmd := &cobra.Command{
		Use:   "spike --leader HOST:PORT [--follower HOST:PORT]",
		Short: "Measure what AOFSHRINK does to the latency and memory of a leader and its follower",
		Long: `spike writes points into a collection of its own, sends requests at a fixed rate
to a leader and a follower, lets the leader compact in the middle (AOFSHRINK), and
shows p99, memory and log of both before, during and after: as a table, with
--html as a page with pictures, with --json as values. Any Tile38 will do.

It puts load on both servers and has the leader rewrite its whole log: do not
measure what people depend on at that moment. The collection must not exist; it
is dropped at the end.

Passwords, if wanted, are taken from the environment variables EVENKEEL_PASSWORD
and, if the follower has another, EVENKEEL_FOLLOWER_PASSWORD.`,
		Example: "  sidecar spike --leader 127.0.0.1:9851 --follower 127.0.0.1:9852 --html spike.html",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	s.o.EnsureDefaults()
	f := cmd.Flags()
	f.StringVar(&s.o.Leader.Addr, "leader", "", "the leader, HOST:PORT")
	f.StringVar(&s.o.Follower.Addr, "follower", "", "its follower, HOST:PORT; without, only the leader is measured")
	f.StringVar(&s.o.Key, "key", s.o.Key, "collection that is written and dropped")
	f.IntVar(&s.o.Points, "points", s.o.Points, "objects that are written before")
	f.IntVar(&s.o.Rounds, "rounds", s.o.Rounds, "… each so often, so that the log has something to compact")
	f.IntVar(&s.o.Rate, "rate", s.o.Rate, "requests a second of each operation")
	f.DurationVar(&s.o.Phase, "phase", s.o.Phase, "how long is measured before the compaction, and after")
	f.DurationVar(&s.o.Limit, "limit", s.o.Limit, "how long the compaction may take, and the follower until it is level")
	s.leaderTLS, s.followerTLS = peersFlags(f, &s.shown)
	f.BoolVar(&s.o.Keep, "keep", false, "leave the collection there")
	f.BoolVar(&s.json, "json", false, "write everything as JSON")
	f.StringVar(&s.page, "html", "", "write a page with pictures to this file")
	return cmd
}

func (s *spiking) run(ctx context.Context, out, errOut io.Writer) error {
	for _, a := range []struct {
		flag   string
		server *load.Server
		env    string
		tls    *peerTLS
	}{{"--leader", &s.o.Leader, "EVENKEEL_PASSWORD", s.leaderTLS}, {"--follower", &s.o.Follower, "EVENKEEL_FOLLOWER_PASSWORD", s.followerTLS}} {
		if a.server.Addr == "" && a.flag != "--leader" {
			continue
		}
		if _, _, err := splitHostPort(a.server.Addr); err != nil {
			return fmt.Errorf("%s %q: want HOST:PORT: %w", a.flag, a.server.Addr, err)
		}
		var err error
		if a.server.Auth, err = secret("", a.env, "EVENKEEL_PASSWORD"); err != nil {
			return err
		}
		if a.server.Dial, err = a.tls.dialer(); err != nil {
			return err
		}
	}
	if err := s.o.Validate(); err != nil {
		return err
	}
	var page *os.File
	if s.page != "" { // now, rather than after minutes of measuring
		var err error
		if page, err = os.Create(s.page); err != nil {
			return fmt.Errorf("--html: %w", err)
		}
		defer func() { _ = page.Close() }()
	}
	said, done := stages(errOut)
	s.o.Progress = said
	r, err := spike.Run(ctx, s.o)
	done()
	if err != nil {
		return fmt.Errorf("spike: %w", err)
	}
	if page != nil {
		if err := errors.Join(r.WritePage(page), page.Close()); err != nil {
			return fmt.Errorf("--html: %w", err)
		}
	}
	if s.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	return r.WriteTable(out)
}

// stages shows how far the current stage is: on a terminal in one line, elsewhere
// a line when a stage begins. Any goroutine may call said; done takes the line off
// the screen.
func stages(w io.Writer) (said func(stage string, done, total int64), done func()) {
	f, _ := w.(*os.File)
	terminal := f != nil && isTerminal(f)
	var mu sync.Mutex // guards what follows
	var current string
	var last time.Time
	said = func(stage string, n, total int64) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case !terminal && stage != current:
			fmt.Fprintln(w, stage)
		case !terminal, stage == current && time.Since(last) < 100*time.Millisecond:
		case total > 0:
			fmt.Fprintf(w, "\r%s: %d %%\x1b[K", stage, n*100/total)
		default:
			fmt.Fprintf(w, "\r%s: %d s\x1b[K", stage, int64(time.Duration(n).Seconds()))
		}
		if current != stage || time.Since(last) >= 100*time.Millisecond {
			current, last = stage, time.Now()
		}
	}
	return said, func() {
		if terminal {
			fmt.Fprint(w, "\r\x1b[K")
		}
	}
}
