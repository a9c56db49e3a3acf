package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Certificate is what a listener shows to its clients.
type Certificate struct {
	NotBefore, NotAfter time.Time // both zero: there is none
}

// certificate shows how long one is valid. It is unchecked, like evenkeel.
type certificate struct {
	from                func() Certificate
	notBefore, notAfter *prometheus.Desc
}

func newCertificate(from func() Certificate) *certificate {
	d := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("evenkeel_certificate_"+name+"_timestamp_seconds", help, nil, nil)
	}
	return &certificate{
		from:      from,
		notBefore: d("not_before", "From when on the certificate is valid that is shown to clients; missing without TLS."),
		notAfter:  d("not_after", "Until when the certificate is valid that is shown to clients; missing without TLS."),
	}
}

// Describe describes nothing: see evenkeel.
func (c *certificate) Describe(chan<- *prometheus.Desc) {}

// Collect asks the source if there is one.
func (c *certificate) Collect(ch chan<- prometheus.Metric) {
	if c.from == nil {
		return
	}
	if now := c.from(); !now.NotAfter.IsZero() {
		out := sink(ch)
		out.gauge(c.notBefore, float64(now.NotBefore.Unix()))
		out.gauge(c.notAfter, float64(now.NotAfter.Unix()))
	}
}
