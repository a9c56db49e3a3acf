package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"evenkeel/pkg/tile38"
	"evenkeel/pkg/tile38/verify"
	"evenkeel/pkg/tlsfile"
)

// The exit statuses of `sidecar verify`.
const (
	exitDiffers     = 1
	exitNotCompared = 2
)

// repairRounds is how often `sidecar verify --repair` mends what it finds.
const repairRounds = 2

// verification is what `sidecar verify` is asked for.
type verification struct {
	leader, follower                 string
	leaderAuthFile, followerAuthFile string
	keys, exclude                    []string
	repair, json, noExpiry           bool
	maxReport, rate, page            int
	tolerance, settle, timeout       time.Duration
	shown                            tlsfile.Files
	leaderTLS, followerTLS           *peerTLS
}

func verifyCommand() *cobra.Command {
	v := &verification{}
	cmd := &cobra.Command{
		Use:   "verify --leader HOST:PORT --follower HOST:PORT",
		Short: "Compare what two running servers hold, object by object, and mend the follower",
		Long: `Compares all objects, fields, times to live, hooks and channels of two running
servers: Tile38 or sidecars, in any combination. Nothing is stopped. What differs is
looked at again on both sides until it is sure that neither traffic nor a follower
that is a little behind (--settle) makes it so.

--repair mends the follower. A server that follows takes no writes, so what it lacks
is written once more into its leader's log, each object by a script that makes sure
that it still is what it was; objects that only the follower has are made and deleted
on the leader. Fences notice those commands. Nothing else changes on the leader, but
that times to live move by half a second at most and a BOUNDS becomes the polygon that
answers show. A server that follows nobody is written to itself. Then all is compared
once more.

Passwords come from files, or from the environment variables EVENKEEL_LEADER_PASSWORD
and EVENKEEL_FOLLOWER_PASSWORD, or EVENKEEL_PASSWORD for both.

Exit status:
  0  they hold the same (with --repair: now)
  1  they differ
  2  they could not be compared: a wrong flag, a server that does not answer`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return notCompared(v.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitNotCompared, err} })
	f := cmd.Flags()
	f.StringVar(&v.leader, "leader", "", "the server whose data are right, HOST:PORT")
	f.StringVar(&v.follower, "follower", "", "the server that should hold the same, HOST:PORT")
	f.StringVar(&v.leaderAuthFile, "leader-auth-file", "", "file with the leader's password")
	f.StringVar(&v.followerAuthFile, "follower-auth-file", "", "file with the follower's password")
	f.StringArrayVar(&v.keys, "key", nil, "pattern of the names of collections; may be given several times (default all)")
	f.StringArrayVar(&v.exclude, "exclude", []string{tile38.DefaultHeartbeatKey}, "name of a collection that is left out; may be given several times")
	f.BoolVar(&v.repair, "repair", false, "mend the follower, and compare again")
	f.IntVar(&v.maxReport, "max-report", 100, "name so many differences, and count the others; 0 is all")
	f.BoolVar(&v.json, "json", false, "write one JSON object a line: the differences, then a summary")
	f.IntVar(&v.rate, "rate", 0, "read so many objects per second of each server at most; 0 pauses after each page for as long as it took")
	f.IntVar(&v.page, "page", 250, "read so many objects at once at most; a server does nothing else meanwhile")
	f.DurationVar(&v.tolerance, "tolerance", 2*time.Second, "by how much times to live may differ")
	f.DurationVar(&v.settle, "settle", 2*time.Second, "how long what differs is watched: more than the follower is behind")
	f.BoolVar(&v.noExpiry, "no-expiry", false, "leave times to live out: they are most of the time it takes")
	f.DurationVar(&v.timeout, "timeout", 30*time.Second, "how long to wait for a server's answer")
	v.leaderTLS, v.followerTLS = peersFlags(f, &v.shown)
	return cmd
}

// notCompared gives errors their exit status.
func notCompared(err error) error {
	if _, coded := errors.AsType[*exitError](err); coded || err == nil {
		return err
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	return &exitError{exitNotCompared, err}
}

// validate lists all that is wrong with the flags.
func (v *verification) validate() error {
	var errs []error
	for _, a := range []struct{ flag, addr string }{{"--leader", v.leader}, {"--follower", v.follower}} {
		if a.addr == "" {
			errs = append(errs, fmt.Errorf("%s is missing: want HOST:PORT", a.flag))
		} else if _, _, err := splitHostPort(a.addr); err != nil {
			errs = append(errs, fmt.Errorf("%s %q: want HOST:PORT: %w", a.flag, a.addr, err))
		}
	}
	for _, n := range []struct {
		flag     string
		v, least int
	}{{"--max-report", v.maxReport, 0}, {"--rate", v.rate, 0}, {"--page", v.page, 1}} {
		if n.v < n.least {
			errs = append(errs, fmt.Errorf("%s %d: want %d or more", n.flag, n.v, n.least))
		}
	}
	for _, d := range []struct {
		flag string
		v    time.Duration
	}{{"--tolerance", v.tolerance}, {"--settle", v.settle}, {"--timeout", v.timeout}} {
		if d.v < time.Millisecond {
			errs = append(errs, fmt.Errorf("%s %s: want 1ms or more", d.flag, d.v))
		}
	}
	return errors.Join(errs...)
}

// source reaches one of the servers.
func (v *verification) source(addr, authFile, env string, p *peerTLS) (*verify.LiveSource, error) {
	auth, err := secret(authFile, env, "EVENKEEL_PASSWORD")
	if err != nil {
		return nil, err
	}
	dial, err := p.dialer()
	if err != nil {
		return nil, err
	}
	return verify.Live(verify.LiveOptions{
		Options: tile38.Options{Addr: addr, Auth: auth, Timeout: v.timeout, Dial: dial},
		Page:    v.page, Rate: v.rate, NoExpiry: v.noExpiry,
	})
}

func (v *verification) run(ctx context.Context, out, errOut io.Writer) error {
	if err := v.validate(); err != nil {
		return err
	}
	leader, err := v.source(v.leader, v.leaderAuthFile, "EVENKEEL_LEADER_PASSWORD", v.leaderTLS)
	if err != nil {
		return err
	}
	defer leader.Close()
	follower, err := v.source(v.follower, v.followerAuthFile, "EVENKEEL_FOLLOWER_PASSWORD", v.followerTLS)
	if err != nil {
		return err
	}
	defer follower.Close()
	r := &verifyRun{v: v, leader: leader, follower: follower, bar: newBar(errOut, "verify")}
	r.bar.text = countText
	r.say = &verifyText{out: out, bar: r.bar}
	if v.json {
		r.say = newVerifyJSON(out)
	}
	defer r.bar.clear()
	return r.rounds(ctx)
}

// verifyOutput tells what was found.
type verifyOutput interface {
	begin(name, addr string, s tile38.Server) error
	difference(d verify.Difference) error
	more(n int64) error // differences that are not named
	summary(s verify.Summary, bytes int64) error
	repaired(mended, passed int64, through bool) error
}

// verifyRun is a comparison of two servers, and what follows from it.
type verifyRun struct {
	v                *verification
	leader, follower *verify.LiveSource
	bar              *bar
	say              verifyOutput
	total            int64 // objects
}

// rounds compares, mends and compares again.
func (r *verifyRun) rounds(ctx context.Context) error {
	if err := r.introduce(ctx); err != nil {
		return err
	}
	for round := 1; ; round++ {
		var repairer *verify.Repairer
		var err error
		if r.v.repair && round <= repairRounds {
			if repairer, err = verify.NewRepairer(ctx, r.leader, r.follower); err != nil {
				return err
			}
		}
		sum, err := r.compare(ctx, repairer)
		switch {
		case err != nil:
			return err
		case sum.Equal():
			return nil
		case repairer == nil:
			return &exitError{code: exitDiffers}
		}
		mended, passed := repairer.Mended()
		if err := r.say.repaired(mended, passed, repairer.Through()); err != nil {
			return err
		}
		if err := r.arrived(ctx); err != nil {
			return err
		}
	}
}

// introduce asks both servers who they are.
func (r *verifyRun) introduce(ctx context.Context) error {
	for _, s := range []struct {
		name, addr string
		src        *verify.LiveSource
	}{{"leader", r.v.leader, r.leader}, {"follower", r.v.follower, r.follower}} {
		srv, err := s.src.Server(ctx)
		if err != nil {
			return err
		}
		r.total = max(r.total, srv.Counts.Objects)
		if err := r.say.begin(s.name, s.addr, srv); err != nil {
			return err
		}
	}
	return nil
}

// compare compares once; what differs is told, and mended if there is a repairer.
func (r *verifyRun) compare(ctx context.Context, repairer *verify.Repairer) (verify.Summary, error) {
	before := r.leader.Bytes() + r.follower.Bytes()
	var told, untold int64
	sum, err := verify.Compare(ctx, r.leader, r.follower, verify.Options{
		Keys: r.v.keys, Exclude: r.v.exclude, Tolerance: r.v.tolerance,
		Pauses:   []time.Duration{r.v.settle / 20, r.v.settle / 5, r.v.settle * 3 / 4},
		Level:    verify.LevelBy(r.leader.LogSize, r.follower.LogSize, r.v.settle),
		Progress: func(n int64) { r.bar.update(n, max(r.total, 1)) },
	}, func(d verify.Difference) error {
		if told++; r.v.maxReport > 0 && told > int64(r.v.maxReport) {
			untold++
		} else if err := r.say.difference(d); err != nil {
			return err
		}
		if repairer == nil {
			return nil
		}
		return repairer.Add(ctx, d)
	})
	r.bar.clear()
	if err == nil && repairer != nil {
		err = repairer.Flush(ctx)
	}
	if err == nil && untold > 0 {
		err = r.say.more(untold)
	}
	if err == nil {
		err = r.say.summary(sum, r.leader.Bytes()+r.follower.Bytes()-before)
	}
	return sum, err
}

// arrived waits until nothing comes to the follower any more, for 15 s at most:
// with other traffic that is never so.
func (r *verifyRun) arrived(ctx context.Context) error {
	const pause, quiet, most = 200 * time.Millisecond, 5, 75
	size, same := int64(-1), 0
	for range most {
		srv, err := r.follower.Server(ctx)
		if err != nil {
			return err
		}
		if same++; srv.AOFSize != size {
			size, same = srv.AOFSize, 0
		}
		if same == quiet {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
