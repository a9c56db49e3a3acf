package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/settings"
)

func runCommand() *cobra.Command {
	var c config
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve the embedded engine as a leader, or with --follow as a follower",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.validate(); err != nil {
				return err
			}
			return run(cmd.Context(), &c, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.flags(cmd.Flags())
	return cmd
}

// run serves until ctx ends, then shuts down in order.
func run(ctx context.Context, c *config, out, errOut io.Writer) (err error) {
	logger := newLogger(c, errOut)
	ls, err := listen(c)
	if err != nil {
		return err
	}
	defer ls.close()

	// From here on the work goes on until we end it, whatever happens to ctx.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	s := &shell{cfg: c, logger: logger, listeners: ls, failed: make(chan error, maxParts)}
	if s.dial, err = s.leaderDial(); err != nil {
		return err
	}
	if err := s.secure(); err != nil {
		return err
	}
	service := newService(s)
	s.startHTTP(service, service.actions()...)
	defer s.stopHTTP()
	defer func() { err = errors.Join(err, service.close()) }()
	if err := service.load(ctx, errOut); err != nil {
		return err
	}
	if err := service.assemble(); err != nil {
		return err
	}
	service.serve(work)
	s.gate.open()
	service.banner(out)
	select {
	case <-ctx.Done():
		logger.Info("shutting down", "bound", c.drainTimeout)
	case err = <-s.failed:
		logger.Error("a part has failed; shutting down", "err", err)
	}
	return errors.Join(err, service.shutdown(stopWork))
}

// newService returns the engine that the flags ask for.
func newService(s *shell) service {
	if s.cfg.engineKind == engineTile38 {
		return &external{shell: s}
	}
	return &embedded{shell: s}
}

func newLogger(c *config, w io.Writer) *slog.Logger {
	level, _ := c.level()
	o := &slog.HandlerOptions{Level: level}
	if c.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// listeners are bound before anything else happens, so that a wrong or taken
// address costs nothing.
type listeners struct {
	client, probe, admin net.Listener
	unix                 net.Listener // nil without --unix-socket
}

// clients are the listeners for clients.
func (ls *listeners) clients() []net.Listener {
	if ls.unix == nil {
		return []net.Listener{ls.client}
	}
	return []net.Listener{ls.client, ls.unix}
}

func listen(c *config) (*listeners, error) {
	ls := &listeners{}
	for _, l := range []struct {
		to         *net.Listener
		flag, addr string
	}{
		{&ls.client, "--listen", c.listen},
		{&ls.probe, "--probe-listen", c.probeListen},
		{&ls.admin, "--admin-listen", c.adminListen},
	} {
		var err error
		if *l.to, err = net.Listen("tcp", l.addr); err != nil {
			ls.close()
			return nil, fmt.Errorf("%s: %w; choose another address with %s", l.flag, err, l.flag)
		}
	}
	if c.unixSocket == "" {
		return ls, nil
	}
	mode, err := c.socketMode()
	if err == nil {
		ls.unix, err = listenUnix(c.unixSocket, mode)
	}
	if err != nil {
		ls.close()
		return nil, err
	}
	return ls, nil
}

func (ls *listeners) close() {
	for _, l := range []net.Listener{ls.client, ls.unix, ls.probe, ls.admin} {
		if l != nil {
			_ = l.Close() // the servers have closed most of them already
		}
	}
}

func splitHostPort(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, fmt.Errorf("%q: want a host and a port from 1 to 65535", addr)
	}
	return host, int(n), nil
}

// loadProgress shows a person how far the load is; a program reads /readyz.
func loadProgress(w io.Writer, g *gate) func(done, total int64) {
	b := newBar(w, "loading")
	return func(done, total int64) {
		if total == 0 {
			return
		}
		g.close(fmt.Sprintf("loading: %d %% of %d MiB", done*100/total, total>>20))
		b.update(done, total)
		if done >= total {
			b.clear()
		}
	}
}

// override puts the values of flags in the place of the settings file's.
func (c *config) override(s *settings.Settings) error {
	for _, p := range propertyFlags {
		if !c.given(p.name) {
			continue
		}
		if err := s.Set(p.name, *c.properties[p.name]); err != nil {
			return fmt.Errorf("--%s: %w", p.name, err)
		}
	}
	return nil
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS) // #nosec G115 -- descriptors are small
	return err == nil
}

var _ fsx.FS = fsx.OS{}
