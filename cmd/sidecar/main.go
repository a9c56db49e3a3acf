// Command sidecar runs Evenkeel: a geospatial engine with a level head, or the
// companion of one, in a pod. See `sidecar --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the build: -ldflags "-X main.version=…".
var version = "dev"

func main() {
	os.Exit(status())
}

// status runs the command line and returns the exit status.
func status() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return conclude(root().ExecuteContext(ctx), os.Stderr)
}

// conclude says what went wrong and returns the exit status.
func conclude(err error, w io.Writer) int {
	exit, coded := errors.AsType[*exitError](err)
	switch {
	case coded && exit.err == nil: // everything is said
		return exit.code
	case err == nil || !coded && errors.Is(err, context.Canceled):
		return 0
	}
	fmt.Fprintln(w, "sidecar:", err)
	if coded {
		return exit.code
	}
	return 1
}

// exitError ends the program with a status of its own.
type exitError struct {
	code int
	err  error // nil: there is nothing more to say
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sidecar",
		Short: "A Tile38-compatible leader or follower whose memory and latency stay level",
		Long: `sidecar serves a Tile38-compatible geospatial engine (leader or follower),
keeps its log small without a pause, and tells how it fares.

  sidecar run                          a leader on :9851, data in ./data
  sidecar run --follow HOST:9851       a follower of it
  sidecar compact --wait HOST:9851     compact it and its followers, one after the other
  sidecar aof verify DIR               is the log in DIR whole?
  sidecar spike --leader HOST:9851     what does a compaction do to latency and memory?
  sidecar verify --leader A:9851 --follower B:9851
                                       do two running servers hold the same?
  sidecar check --leader HOST:9851 --read HOST:9851
                                       do writes and reads work?
  kubectl get deploy geo -o yaml | sidecar inject - | kubectl apply -f -
                                       put a sidecar beside a Tile38 that you have`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(runCommand(), compactCommand(), aofCommand(), spikeCommand(), verifyCommand(), checkCommand(), engineConfigCommand(),
		promoteCommand(), handoverCommand(), injectCommand(), uninjectCommand(), webhookCommand())
	return cmd
}
