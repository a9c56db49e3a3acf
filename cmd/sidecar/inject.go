package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"evenkeel/pkg/inject"
)

// exitRefused: all is written, and something was left as it was that should not be.
const exitRefused = 2

// injection is what `sidecar inject` and `sidecar uninject` are asked for.
type injection struct {
	options   inject.Options
	manual    bool
	runAsUser int64
	args      []string
	json      bool
}

// defaultImage is the one that the Dockerfile makes.
func defaultImage() string { return "ghcr.io/evenkeel/sidecar:" + version }

// flags are those of injection, wherever it is done.
func (c *injection) flags(f *pflag.FlagSet) {
	o := &c.options
	o.EnsureDefaults()
	f.StringVar(&o.Image, "image", defaultImage(), "image of the sidecar")
	f.StringVar(&o.PullPolicy, "image-pull-policy", o.PullPolicy, "when it is pulled: Always, IfNotPresent or Never")
	f.BoolVar(&o.Native, "native-sidecar", true, "the sidecar is an init container that stays, which needs Kubernetes 1.29; =false makes it one container among the others")
	f.BoolVar(&o.KeepPorts, "keep-ports", false, "the Tile38 keeps its port, command and probes, and the sidecar listens on 9861: clients come to it only when they or their Service are told")
	f.IntVar(&o.EnginePort, "engine-port", 0, "port of the Tile38 on 127.0.0.1; 0 is 9853, or its own with --keep-ports")
	f.IntVar(&o.ProbePort, "probe-port", o.ProbePort, "port of the sidecar's /readyz and /metrics")
	f.StringVar(&o.CPURequest, "cpu-request", o.CPURequest, "CPU that the sidecar asks for; 0 is none")
	f.StringVar(&o.MemoryRequest, "memory-request", o.MemoryRequest, "memory that the sidecar asks for; 0 is none")
	f.StringVar(&o.MemoryLimit, "memory-limit", o.MemoryLimit, "the sidecar's memory limit; 0 is none. A follower that has to be compared with its leader needs about as much as the Tile38")
	f.IntVar(&o.MaxBytes, "max-bytes", o.MaxBytes, "largest input, in bytes")
}

// podFlags are about one pod, and hence not for a webhook, which has the annotations.
func (c *injection) podFlags(f *pflag.FlagSet) {
	o := &c.options
	f.BoolVar(&c.manual, "manual", true, "write the sidecar into the manifest; =false labels the pods for the webhook and leaves the rest to it")
	f.StringVar(&o.Container, "container", "", "container that runs the Tile38; without, the one whose image is called tile38")
	f.StringVar(&o.Follow, "follow", "", "the Tile38 follows the leader's sidecar at HOST:PORT; without, it leads")
	f.StringVar(&o.LeadOnHost, "lead-on-host", "", "with --follow: the pod of this name leads")
	f.StringVar(&o.Password, "password-secret", "", "Secret with the Tile38's password, NAME or NAME/KEY (KEY is password without)")
	f.StringVar(&o.LeaderPassword, "leader-password-secret", "", "Secret with the leader's password, when it is another one")
	f.StringVar(&o.EngineDir, "engine-dir", "", "data directory of the Tile38; without, as its command says")
	f.Int64Var(&c.runAsUser, "run-as-user", -1, "user of the sidecar, who must be able to read the Tile38's files; -1 is the Tile38's own, as far as the manifest says")
	f.StringArrayVar(&c.args, "arg", nil, "one more flag of `sidecar run`, such as --arg=--max-connections=20000; may be given several times")
	f.BoolVar(&c.json, "json", false, "report as JSON")
}

func injectCommand() *cobra.Command {
	c := injection{}
	cmd := &cobra.Command{
		Use:   "inject FILE...",
		Short: "Put the sidecar into manifests of pods that run a Tile38",
		Long: `inject reads manifests (YAML or JSON, - is the standard input), puts a sidecar beside each
Tile38, and writes all of them to the standard output; what it did, and why not, goes to
the standard error:

  kubectl get deploy geo -o yaml | sidecar inject - | kubectl apply -f -

The sidecar takes the port that the Tile38 has, so Services and clients stay as they
are; the Tile38 listens on 127.0.0.1. Annotations of the pod override the flags:
evenkeel.io/follow: HOST:PORT for a follower, evenkeel.io/inject: disabled to be left
out; docs/INJECTION.md lists them. What is injected already passes as it is, and
uninject restores what was there.

Exit status: 0 done, 1 nothing is written, 2 something was left as it was because it
could not be understood.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			c.options.Mark = !c.manual
			c.options.Args = c.args
			if cmd.Flags().Changed("run-as-user") && c.runAsUser != -1 {
				c.options.RunAsUser = &c.runAsUser
			}
			if err := c.options.Validate(); err != nil {
				return err
			}
			stream, err := readManifests(cmd.InOrStdin(), files, c.options.MaxBytes)
			if err != nil {
				return err
			}
			out, reports, err := inject.Inject(stream, c.options)
			return c.finish(cmd, out, reports, err)
		},
	}
	c.flags(cmd.Flags())
	c.podFlags(cmd.Flags())
	return cmd
}

func uninjectCommand() *cobra.Command {
	c := injection{}
	cmd := &cobra.Command{
		Use:   "uninject FILE...",
		Short: "Take the sidecar out of manifests again",
		Long: `uninject takes out what inject, or the webhook, has put into manifests (YAML or JSON, - is the
standard input), restores what was there, and writes them to the standard output.

A Tile38 that followed through its sidecar still has the bridge's address as its
leader's: tell it FOLLOW once more.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			if c.options.MaxBytes < 1 {
				return fmt.Errorf("--max-bytes %d: want 1 or more", c.options.MaxBytes)
			}
			stream, err := readManifests(cmd.InOrStdin(), files, c.options.MaxBytes)
			if err != nil {
				return err
			}
			out, reports, err := inject.Restore(stream, c.options.MaxBytes)
			return c.finish(cmd, out, reports, err)
		},
	}
	cmd.Flags().BoolVar(&c.json, "json", false, "report as JSON")
	cmd.Flags().IntVar(&c.options.MaxBytes, "max-bytes", inject.DefaultMaxBytes, "largest input, in bytes")
	return cmd
}

// finish writes what came of it and says so.
func (c *injection) finish(cmd *cobra.Command, out []byte, reports []inject.Report, err error) error {
	if err != nil {
		return err
	}
	if _, err := cmd.OutOrStdout().Write(out); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := c.report(cmd.ErrOrStderr(), reports); err != nil {
		return err
	}
	for _, r := range reports {
		if r.Outcome == inject.Refused {
			return &exitError{code: exitRefused}
		}
	}
	return nil
}

func (c *injection) report(w io.Writer, reports []inject.Report) error {
	if c.json {
		if reports == nil {
			reports = []inject.Report{}
		}
		return json.NewEncoder(w).Encode(reports)
	}
	var b strings.Builder
	for _, r := range reports {
		fmt.Fprintf(&b, "%s %s: %s", strings.ToLower(r.Kind), r.Name, r.Outcome)
		if r.Why != "" {
			fmt.Fprintf(&b, ": %s", r.Why)
		}
		b.WriteByte('\n')
		for _, n := range r.Notes {
			fmt.Fprintf(&b, "  note: %s\n", n)
		}
	}
	if len(reports) == 0 {
		b.WriteString("no workload in it\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// readManifests makes one stream of files.
func readManifests(in io.Reader, files []string, maxBytes int) ([]byte, error) {
	var stream bytes.Buffer
	for _, name := range files {
		text, err := readBounded(in, name, maxBytes-stream.Len())
		if err != nil {
			return nil, err
		}
		if stream.Len() > 0 {
			if !bytes.HasSuffix(stream.Bytes(), []byte("\n")) {
				stream.WriteByte('\n')
			}
			if !bytes.HasPrefix(text, []byte("---")) {
				stream.WriteString("---\n")
			}
		}
		stream.Write(text)
	}
	return stream.Bytes(), nil
}

func readBounded(in io.Reader, name string, limit int) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, int64(limit)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case len(text) > limit:
		return nil, errors.New("more than --max-bytes of manifests")
	}
	return text, nil
}
