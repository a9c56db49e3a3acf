package metrics

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options are what Metrics is made of.
type Options struct {
	Sources        Sources
	Commands       []string // names of all commands, in lower case; the rest counts as "other"
	FollowerStates []string // all values of Replication.State
	Conditions     []string // all values of Replication.Condition

	// MaxCollectionLabels is how many collections have a series of their own;
	// 0: 100, below 0: none.
	MaxCollectionLabels int

	Now  func() time.Time // nil: time.Now
	Root fs.FS            // where proc and sys are; nil: "/"
}

// EnsureDefaults fills in what is missing and has a default.
func (o *Options) EnsureDefaults() {
	if o.MaxCollectionLabels == 0 {
		o.MaxCollectionLabels = 100
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Root == nil {
		o.Root = os.DirFS("/")
	}
}

// maxCommands bounds the label values of commands.
const maxCommands = 500

// Validate lists every fault of the options.
func (o Options) Validate() error {
	var faults []error
	if len(o.Commands) > maxCommands {
		faults = append(faults, fmt.Errorf("%d commands are more than %d", len(o.Commands), maxCommands))
	}
	for _, name := range o.Commands {
		if name == "" || len(name) > 64 {
			faults = append(faults, fmt.Errorf("command name %.70q: want 1 to 64 bytes", name))
		}
	}
	if len(o.FollowerStates) > 50 {
		faults = append(faults, fmt.Errorf("%d follower states are more than 50", len(o.FollowerStates)))
	}
	if len(o.Conditions) > 50 {
		faults = append(faults, fmt.Errorf("%d conditions are more than 50", len(o.Conditions)))
	}
	return errors.Join(faults...)
}

// Metrics counts and shows. It is safe for concurrent use.
type Metrics struct {
	commands *commands
	registry *prometheus.Registry

	compactions    *prometheus.CounterVec
	compactionTime *prometheus.HistogramVec
	compactBefore  prometheus.Gauge
	compactAfter   prometheus.Gauge
	compactEnd     prometheus.Gauge
	compactRemoved prometheus.Counter
	fsyncTime      prometheus.Histogram
	fsyncErrors    prometheus.Counter
	renewals       prometheus.Histogram // nil: the role is not elected
}

// gcMetrics are what the runtime tells about the garbage collector beyond
// client_golang's default set.
var gcMetrics = collectors.GoRuntimeMetricsRule{
	Matcher: regexp.MustCompile(`^(/sched/pauses/total/gc:seconds|/cpu/classes/gc/total:cpu-seconds|/gc/cycles/total:gc-cycles|/gc/heap/live:bytes)$`),
}

// New makes the metrics and a registry of their own.
func New(o Options) (*Metrics, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	o.FollowerStates = slices.Compact(slices.Sorted(slices.Values(o.FollowerStates)))
	o.Conditions = slices.Compact(slices.Sorted(slices.Values(o.Conditions)))
	m := &Metrics{commands: newCommands(o.Commands), registry: prometheus.NewRegistry()}
	m.makeEvents()
	all := []prometheus.Collector{
		collectors.NewBuildInfoCollector(),
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(gcMetrics)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.compactions, m.compactionTime, m.compactBefore, m.compactAfter, m.compactEnd, m.compactRemoved,
		m.fsyncTime, m.fsyncErrors,
		newEvenkeel(o, m.commands),
		newTile38(o, m.commands),
		newExternal(o),
		newElection(o),
		newCertificate(o.Sources.Certificate),
	}
	if o.Sources.Election != nil {
		m.renewals = prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "evenkeel_lease_renew_seconds", Help: "Duration of requests that renewed the Lease.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 12)})
		all = append(all, m.renewals)
	}
	for _, c := range all {
		if err := m.registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return m, nil
}

// makeEvents makes the metrics that are told of events, not read from sources.
func (m *Metrics) makeEvents() {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m.compactions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "evenkeel_compactions_total", Help: "Compactions of the log, by how they ended."}, []string{"result"})
	m.compactionTime = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "evenkeel_compaction_duration_seconds", Help: "Duration of compactions of the log, by how they ended.",
		Buckets: prometheus.ExponentialBuckets(0.1, 2, 14)}, []string{"result"})
	for _, r := range compactionResults {
		m.compactions.WithLabelValues(r)
		m.compactionTime.WithLabelValues(r)
	}
	m.compactBefore = gauge("evenkeel_compaction_last_before_bytes", "Size of the log before the last compaction that succeeded.")
	m.compactAfter = gauge("evenkeel_compaction_last_after_bytes", "Size of the log after the last compaction that succeeded.")
	m.compactEnd = gauge("evenkeel_compaction_last_end_timestamp_seconds", "When the last compaction that succeeded ended; 0 when none has.")
	m.compactRemoved = counter("evenkeel_compaction_removed_bytes_total", "Bytes by which compactions made the log smaller.")
	m.fsyncTime = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "evenkeel_log_fsync_duration_seconds", Help: "Duration of syncing the log to disk.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16)})
	m.fsyncErrors = counter("evenkeel_log_fsync_errors_total", "Failed syncs of the log to disk.")
}

// compactionResults are the label values of a compaction's result.
var compactionResults = [...]string{"ok", "failed", "cancelled"}

// Observe counts one execution of a command, by its name in lower case.
func (m *Metrics) Observe(name string, d time.Duration, failed bool) {
	m.commands.find(name).Observe(d, failed)
}

// Command is the counter of a command, for a caller that keeps it.
func (m *Metrics) Command(name string) *Command { return m.commands.find(name) }

// CompactionDone tells of a compaction that ended.
type CompactionDone struct {
	Result      string // ok, failed or cancelled; the rest counts as other
	End         time.Time
	Duration    time.Duration
	BytesBefore int64
	BytesAfter  int64
}

// ObserveCompaction counts a compaction that ended.
func (m *Metrics) ObserveCompaction(c CompactionDone) {
	result := Other
	if slices.Contains(compactionResults[:], c.Result) {
		result = c.Result
	}
	m.compactions.WithLabelValues(result).Inc()
	m.compactionTime.WithLabelValues(result).Observe(c.Duration.Seconds())
	if result != "ok" {
		return
	}
	m.compactBefore.Set(float64(c.BytesBefore))
	m.compactAfter.Set(float64(c.BytesAfter))
	m.compactEnd.Set(float64(c.End.UnixMilli()) / 1e3)
	m.compactRemoved.Add(float64(max(c.BytesBefore-c.BytesAfter, 0)))
}

// ObserveFsync counts one sync of the log.
func (m *Metrics) ObserveFsync(d time.Duration, err error) {
	m.fsyncTime.Observe(d.Seconds())
	if err != nil {
		m.fsyncErrors.Inc()
	}
}

// Handler serves the metrics. What cannot be gathered is left out and the rest
// is served; a few scrapes may run at a time, more are turned away.
func (m *Metrics) Handler() http.Handler { return handler(m.registry) }

func handler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		Registry:            r,
		MaxRequestsInFlight: 4,
	})
}
