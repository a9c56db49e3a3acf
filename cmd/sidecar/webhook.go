package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"evenkeel/pkg/admin"
	"evenkeel/pkg/kube/trust"
	"evenkeel/pkg/metrics"
	"evenkeel/pkg/tlsfile"
	"evenkeel/pkg/webhook"
)

// injector is what `sidecar webhook` is asked for.
type injector struct {
	injection
	listen, probeListen string
	files               tlsfile.Files
	rotate              webhook.RotateOptions
	store               trust.Options
	kubeconfig          string
	logLevel, logFormat string
}

func webhookCommand() *cobra.Command {
	c := injector{}
	cmd := &cobra.Command{
		Use:   "webhook [--cert-secret NAME --webhook-config NAME --cert-name NAME | --tls-cert FILE --tls-key FILE]",
		Short: "Inject the sidecar into pods as they are made, as a mutating admission webhook",
		Long: `webhook answers the API server's AdmissionReviews at POST /inject with the patch that
inject would make. Which pods it is asked about is its MutatingWebhookConfiguration's
matter; the chart makes one (injector.enabled). It never keeps a pod from being made.

Its certificate is in files (--tls-cert, --tls-key, such as those of cert-manager), which are read again
when they change, or it makes and renews one by itself, keeps it in the Secret
--cert-secret, which all replicas share, and writes its authority into the
configuration --webhook-config.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.validate(); err != nil {
				return err
			}
			return c.run(cmd.Context(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.listen, "listen", ":8443", "address for the API server")
	f.StringVar(&c.probeListen, "probe-listen", ":9850", "address for /livez, /readyz and /metrics")
	f.StringVar(&c.files.Cert, "tls-cert", "", "file with the certificate")
	f.StringVar(&c.files.Key, "tls-key", "", "file with its key")
	f.StringVar(&c.store.Secret, "cert-secret", "", "Secret for certificates of its own")
	f.StringVar(&c.store.Namespace, "namespace", os.Getenv("POD_NAMESPACE"), "the Secret's namespace; the environment variable POD_NAMESPACE does as well")
	f.StringVar(&c.store.Webhook, "webhook-config", "", "MutatingWebhookConfiguration that is told whom to trust")
	f.StringArrayVar(&c.rotate.Names, "cert-name", nil, "name that the API server calls the webhook by, SERVICE.NAMESPACE.svc; may be given several times")
	c.rotate.EnsureDefaults()
	f.DurationVar(&c.rotate.Leaf, "cert-validity", c.rotate.Leaf, "how long a certificate is valid; it is renewed when a third of that is left")
	f.DurationVar(&c.rotate.Authority, "ca-validity", c.rotate.Authority, "how long its authority is")
	f.DurationVar(&c.rotate.Every, "cert-check-interval", c.rotate.Every, "how often the certificates are looked at")
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "file that says how to reach the API server; without, as a pod does")
	f.StringVar(&c.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.logFormat, "log-format", "text", "text or json")
	c.flags(f)
	return cmd
}

// own: it makes its certificates by itself.
func (c *injector) own() bool { return c.files.Cert == "" && c.files.Key == "" }

// validate lists every fault of the flags.
func (c *injector) validate() error {
	faults := []error{c.options.Validate()}
	for _, a := range []struct{ flag, addr string }{{"--listen", c.listen}, {"--probe-listen", c.probeListen}} {
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			faults = append(faults, fmt.Errorf("%s %q: want HOST:PORT or :PORT: %w", a.flag, a.addr, err))
		}
	}
	log := config{logLevel: c.logLevel, logFormat: c.logFormat}
	if _, err := log.level(); err != nil {
		faults = append(faults, err)
	}
	if c.logFormat != "text" && c.logFormat != "json" {
		faults = append(faults, fmt.Errorf("--log-format %q: want text or json", c.logFormat))
	}
	if !c.own() {
		if err := c.files.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("--tls-cert, --tls-key: %w", err))
		}
		if c.store.Secret != "" || c.store.Webhook != "" || len(c.rotate.Names) > 0 {
			faults = append(faults, errors.New("--cert-secret, --webhook-config, --cert-name: the certificate is in --tls-cert; want one of the two"))
		}
		return errors.Join(faults...)
	}
	for _, f := range [][2]string{{"--cert-secret", c.store.Secret}, {"--namespace", c.store.Namespace}, {"--webhook-config", c.store.Webhook}} {
		if f[1] == "" {
			faults = append(faults, fmt.Errorf("%s is missing: want it, or --tls-cert and --tls-key", f[0]))
		}
	}
	if len(c.rotate.Names) == 0 {
		faults = append(faults, errors.New("--cert-name is missing: want SERVICE.NAMESPACE.svc"))
	}
	if c.rotate.Leaf <= 0 || c.rotate.Every <= 0 || c.rotate.Authority < 4*c.rotate.Leaf {
		faults = append(faults, fmt.Errorf("--cert-validity %s, --cert-check-interval %s: want more than 0, and --ca-validity %s at least four times the former",
			c.rotate.Leaf, c.rotate.Every, c.rotate.Authority))
	}
	return errors.Join(faults...)
}

// always is the readiness of a server whose certificate is in files.
type always struct{}

func (always) Ready() (bool, []string) { return true, nil }

// run serves until ctx ends or a part of it fails.
func (c *injector) run(ctx context.Context, errOut io.Writer) error {
	logger := newLogger(&config{logLevel: c.logLevel, logFormat: c.logFormat}, errOut)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var ready admin.Readiness = always{}
	var secure *tls.Config
	var rotator *webhook.Rotator
	var err error
	if c.own() {
		if rotator, err = c.rotator(logger); err != nil {
			return err
		}
		ready, secure = rotator, rotator.Config()
	} else if secure, err = tlsfile.Server(c.files, func(err error) { logger.Error("certificate not read; the one before stays", "err", err) }); err != nil {
		return fmt.Errorf("--tls-cert: %w", err)
	}
	ln, err := net.Listen("tcp", c.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	probe, err := net.Listen("tcp", c.probeListen)
	if err != nil {
		return errors.Join(fmt.Errorf("--probe-listen: %w", err), ln.Close())
	}
	injector := webhook.NewInjector(c.options, logger)
	numbers, err := injectorMetrics(injector, secure, rotator)
	if err != nil {
		return errors.Join(err, ln.Close(), probe.Close())
	}
	logger.Info("webhook", "version", version, "listen", reach(ln), "probes", reach(probe), "image", c.options.Image)
	var wg sync.WaitGroup
	ended := make(chan error, 3)
	part := func(f func() error) {
		wg.Go(func() {
			err := f()
			cancel() // one without the others is of no use
			if !errors.Is(err, context.Canceled) {
				ended <- err
			}
		})
	}
	part(func() error { return webhook.Serve(ctx, ln, secure, injector.Handler(), logger) })
	part(func() error {
		return admin.Serve(ctx, probe, admin.Probe(ready, numbers), admin.ServeOptions{Logger: logger})
	})
	if rotator != nil {
		part(func() error { return rotator.Run(ctx) })
	}
	wg.Wait()
	close(ended)
	for e := range ended {
		err = errors.Join(err, e)
	}
	return err
}

// injectorMetrics shows what the injector's parts report; rotator may be nil.
func injectorMetrics(i *webhook.Injector, secure *tls.Config, rotator *webhook.Rotator) (http.Handler, error) {
	from := metrics.WebhookSources{
		Reviews:     func() metrics.Reviews { return metrics.Reviews(i.Reviews()) },
		Certificate: func() metrics.Certificate { return shownCertificate(secure) },
	}
	if rotator != nil {
		from.Failing = rotator.Failing
	}
	return metrics.Webhook(from)
}

// rotator makes certificates, and keeps them in the cluster.
func (c *injector) rotator(logger *slog.Logger) (*webhook.Rotator, error) {
	config, err := trust.InCluster(c.kubeconfig)
	if err != nil {
		return nil, err
	}
	store, err := trust.New(config, c.store)
	if err != nil {
		return nil, err
	}
	o := c.rotate
	o.Store, o.Logger = store, logger
	return webhook.NewRotator(o)
}
