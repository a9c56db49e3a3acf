package metrics

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// WebhookSources report the numbers of the injector; each is called once a scrape.
type WebhookSources struct {
	Reviews     func() Reviews
	Certificate func() Certificate
	Failing     func() bool // did the last look after the certificates fail? nil: nobody looks after them
}

// Reviews are the requests of an admission webhook since it began, by outcome.
type Reviews struct {
	Injected  uint64 // pods that got a sidecar
	Skipped   uint64 // pods, and other objects, that need none
	Refused   uint64 // pods that were to have one and could not, or could not be read
	Malformed uint64 // requests that were no AdmissionReviews
}

// webhook shows an admission webhook. It is unchecked, like evenkeel.
type webhook struct {
	from             WebhookSources
	reviews, failing *prometheus.Desc
}

// Webhook serves the metrics of an injector, in a registry of their own.
func Webhook(from WebhookSources) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewBuildInfoCollector(),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCertificate(from.Certificate),
		&webhook{
			from: from,
			reviews: prometheus.NewDesc("evenkeel_webhook_reviews_total",
				"Requests of the API server, by what became of them.", []string{"outcome"}, nil),
			failing: prometheus.NewDesc("evenkeel_webhook_certificates_failing",
				"Whether the last look after the certificates, and after the API server's trust in them, failed.", nil, nil),
		},
	} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return handler(registry), nil
}

// Describe describes nothing: see evenkeel.
func (w *webhook) Describe(chan<- *prometheus.Desc) {}

// Collect asks the sources that there are.
func (w *webhook) Collect(ch chan<- prometheus.Metric) {
	out := sink(ch)
	if w.from.Reviews != nil {
		n := w.from.Reviews()
		out.counter(w.reviews, n.Injected, "injected")
		out.counter(w.reviews, n.Skipped, "skipped")
		out.counter(w.reviews, n.Refused, "refused")
		out.counter(w.reviews, n.Malformed, "malformed")
	}
	if w.from.Failing != nil {
		out.flag(w.failing, w.from.Failing())
	}
}
