package metrics

import (
	"cmp"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// rest is the label under which collections without a label are summed.
const rest = "__other__"

// maxLabelBytes is the longest collection name that becomes a label.
const maxLabelBytes = 128

// tile38 shows Tile38's metrics, in its types: its gauges named _total too.
type tile38 struct {
	opts     Options
	commands *commands

	aofSize, avgItem, duration                      *prometheus.Desc
	colObjects, colPoints, colStrings, colWeight    *prometheus.Desc
	collections, clients, received, expired         *prometheus.Desc
	heap, hooks, inMemory, maxHeap, released        *prometheus.Desc
	messages, cpus, pid, pointer, replication, info *prometheus.Desc
	started                                         *prometheus.Desc

	mu      sync.Mutex         // guards what follows
	windows map[string]*window // by command
	labels  map[string]bool    // collections that have a label
}

func newTile38(o Options, cs *commands) *tile38 {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tile38_"+name, help, labels, nil)
	}
	return &tile38{
		opts: o, commands: cs,
		windows: make(map[string]*window), labels: make(map[string]bool),

		aofSize:     d("aof_size_bytes", "Size of the log: base and segments."),
		avgItem:     d("avg_item_size_bytes", "Heap size divided by the number of points."),
		duration:    d("cmd_duration_seconds", "Duration of commands; quantiles of the last 5 to 10 minutes.", "cmd"),
		colObjects:  d("collection_objects", "Total number of objects per collection", "col"),
		colPoints:   d("collection_points", "Total number of points per collection", "col"),
		colStrings:  d("collection_strings", "Total number of strings per collection", "col"),
		colWeight:   d("collection_weight_bytes", "Total weight of collection in bytes", "col"),
		collections: d("collections", "Total number of collections"),
		clients:     d("connected_clients", "Open client connections."),
		received:    d("connections_received_total", "Client connections accepted."),
		expired:     d("expired_keys_total", "Objects deleted because their time to live ran out."),
		heap:        d("heap_size_bytes", "Size of the objects on the heap."),
		hooks:       d("hooks", "Hooks and channels."),
		inMemory:    d("in_memory_size_bytes", "Total weight of all collections."),
		maxHeap:     d("memory_max_heap_size_bytes", "maxmemory; 0 means no limit."),
		released:    d("memory_reap_released_bytes", "Heap memory given back to the system."),
		messages:    d("messages_sent_total", "Messages sent to subscribers, fences and hooks."),
		cpus:        d("num_cpus", "Logical CPUs."),
		pid:         d("pid", "Process id."),
		pointer:     d("pointer_size_bytes", "Size of a pointer."),
		replication: d("replication_info", "Replication info", "caught_up", "caught_up_once", "following", "role"),
		info:        d("server_info", "Server info", "id", "version"),
		started:     d("start_time_seconds", "When the server started."),
	}
}

// Describe describes nothing: which metrics there are depends on the sources.
func (t *tile38) Describe(chan<- *prometheus.Desc) {}

// Collect asks the sources that there are.
func (t *tile38) Collect(ch chan<- prometheus.Metric) {
	t.mu.Lock()
	defer t.mu.Unlock()
	out, from := sink(ch), t.opts.Sources
	t.collectCommands(out)
	heap, released := heapBytes()
	out.gauge(t.heap, float64(heap))
	out.gauge(t.released, float64(released))
	out.gauge(t.cpus, float64(runtime.NumCPU()))
	out.gauge(t.pid, float64(os.Getpid()))
	out.gauge(t.pointer, strconv.IntSize/8)
	if from.Log != nil {
		out.gauge(t.aofSize, float64(from.Log().CommandBytes))
	}
	if from.Data != nil {
		t.collectData(out, from.Data(), heap)
	}
	if from.Collections != nil {
		t.collectCollections(out)
	}
	if from.Connections != nil {
		c := from.Connections()
		out.gauge(t.clients, float64(c.Open))
		out.gauge(t.received, float64(c.Accepted))
	}
	if from.Replication != nil {
		t.collectReplication(out, from.Replication())
	}
	if from.Server != nil {
		s := from.Server()
		out.gauge(t.info, 1, text(s.ID), text(s.Version))
		out.gauge(t.started, float64(s.Started.UnixMilli())/1e3)
		out.gauge(t.maxHeap, float64(s.MaxHeapBytes))
	}
}

func (t *tile38) collectCommands(out sink) {
	now := t.opts.Now()
	for _, c := range t.commands.sorted {
		counts, total := c.read()
		if total == 0 {
			continue
		}
		w := t.windows[c.name]
		if w == nil {
			w = &window{}
			t.windows[c.name] = w
		}
		quantiles := c.scale.quantiles(w.recent(now, counts))
		out <- prometheus.MustNewConstSummary(t.duration, total, float64(c.nanos.Load())/1e9, quantiles, c.name)
	}
}

func (t *tile38) collectData(out sink, d Data, heap uint64) {
	out.gauge(t.collections, float64(d.Collections))
	out.gauge(t.hooks, float64(d.Hooks))
	out.gauge(t.inMemory, float64(d.WeightBytes))
	out.gauge(t.expired, float64(d.Expired))
	out.gauge(t.messages, float64(d.Messages))
	average := 0.0
	if d.Points > 0 {
		average = float64(heap) / float64(d.Points)
	}
	out.gauge(t.avgItem, average)
}

// collectReplication fills the labels as Tile38 does: a leader leaves three of
// them empty.
func (t *tile38) collectReplication(out sink, r Replication) {
	if !r.Follower {
		out.gauge(t.replication, 1, "", "", "", "leader")
		return
	}
	out.gauge(t.replication, 1, strconv.FormatBool(r.CaughtUp), strconv.FormatBool(r.CaughtUpOnce), text(r.Following), "follower")
}

// collectCollections shows the collections that have a label and the sum of
// the others.
func (t *tile38) collectCollections(out sink) {
	var all []Collection
	for c := range t.opts.Sources.Collections {
		all = append(all, c)
	}
	t.admit(all)
	others, some := Collection{Name: rest}, false
	for _, c := range all {
		if t.labels[c.Name] {
			t.collection(out, c)
			continue
		}
		some = true
		others.Objects += c.Objects
		others.Points += c.Points
		others.Strings += c.Strings
		others.WeightBytes += c.WeightBytes
	}
	if some {
		t.collection(out, others)
	}
}

func (t *tile38) collection(out sink, c Collection) {
	out.gauge(t.colObjects, float64(c.Objects), c.Name)
	out.gauge(t.colPoints, float64(c.Points), c.Name)
	out.gauge(t.colStrings, float64(c.Strings), c.Name)
	out.gauge(t.colWeight, float64(c.WeightBytes), c.Name)
}

// admit decides which collections have a label: those that had one and still
// exist, so that series do not come and go, then the largest.
func (t *tile38) admit(all []Collection) {
	kept := make(map[string]bool, len(t.labels))
	var waiting []Collection
	for _, c := range all {
		switch {
		case t.labels[c.Name]:
			kept[c.Name] = true
		case c.Name != rest && len(c.Name) <= maxLabelBytes && utf8.ValidString(c.Name):
			waiting = append(waiting, c)
		}
	}
	t.labels = kept
	free := max(t.opts.MaxCollectionLabels-len(kept), 0)
	if len(waiting) > free {
		slices.SortFunc(waiting, func(a, b Collection) int {
			return cmp.Or(cmp.Compare(b.WeightBytes, a.WeightBytes), cmp.Compare(a.Name, b.Name))
		})
		waiting = waiting[:free]
	}
	for _, c := range waiting {
		t.labels[c.Name] = true
	}
}
