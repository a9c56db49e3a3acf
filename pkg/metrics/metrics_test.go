package metrics

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// scrape serves the metrics once and returns values by name with labels, and
// types by name.
func scrape(t *testing.T, m *Metrics) (values map[string]float64, types map[string]string) {
	t.Helper()
	return read(t, m.Handler())
}

func read(t *testing.T, h http.Handler) (values map[string]float64, types map[string]string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("status %d, %v:\n%s", w.Code, err, body)
	}
	values, types = map[string]float64{}, map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(string(body)))
	for lines.Scan() {
		line := lines.Text()
		if f := strings.Fields(line); strings.HasPrefix(line, "# TYPE ") {
			types[f[2]] = f[3]
			continue
		} else if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		values[line[:i]] = v
	}
	return values, types
}

func expect(t *testing.T, values map[string]float64, want map[string]float64) {
	t.Helper()
	for name, v := range want {
		if got, there := values[name]; !there || got != v {
			t.Errorf("%s = %v (there: %v), want %v", name, got, there, v)
		}
	}
}

func fullSources() Sources {
	return Sources{
		Ready: func() bool { return true },
		Log: func() Log {
			return Log{Files: []LogFiles{{"base", 1, 100}, {"segment", 2, 50}}, Bytes: 150, CommandBytes: 140, Offset: 9000, SyncedOffset: 8000, Writable: true}
		},
		Disk: func() Disk { return Disk{FreeBytes: 1 << 30, SizeBytes: 1 << 31} },
		Replication: func() Replication {
			return Replication{Follower: true, State: "streaming", Following: "10.0.0.1:9851", CaughtUp: true, CaughtUpOnce: true,
				LagBytes: 12, Lag: 1500 * time.Millisecond, DigestEqual: true, Received: 77, Reconnects: 2, Continued: 3, RangeResyncs: 5, FullResyncs: 1, Divergences: 4, Condition: "fine",
				Leading: Leading{Followers: 1, MaxLagBytes: 5, Sent: 99, Conditions: map[string]int{"fine": 1}}}
		},
		Compaction: func() Compaction {
			return Compaction{Running: true, Failures: 2, Cause: "size", SharePercent: 12.5, RateBytes: 7, Written: 99, LogBytes: 150, ThresholdBytes: 300}
		},
		Connections: func() Connections {
			return Connections{Open: 3, Accepted: 10, Rejected: []Rejected{{"limit", 4}}, Transports: []Transport{{"http", 6}}}
		},
		Messages: func() Messages { return Messages{Listeners: 2, Waiting: 77, Published: 20, Delivered: 30, Slow: 1} },
		Hooks: func() Hooks {
			return Hooks{Queued: 3, QueuedBytes: 333, MaxBytes: 4000, MaxAge: time.Minute, Oldest: 1500 * time.Millisecond, Delivered: 9, Failed: 4, Dropped: []Rejected{{"age", 5}}}
		},
		Data: func() Data {
			return Data{Objects: 5, Points: 4, Strings: 1, WeightBytes: 86, Collections: 2, Hooks: 1, Expired: 6, Messages: 8}
		},
		Collections: slices.Values([]Collection{{"fleet", 4, 4, 0, 80}, {"names", 1, 0, 1, 6}}),
		Leads:       func() bool { return true },
		Election: func() Election {
			return Election{Transitions: 3, FenceRemaining: 1500 * time.Millisecond, Failsafe: true}
		},
		Server: func() Server {
			return Server{ID: "abc", Version: "1.2.3", Build: "v9", Started: noon, MaxHeapBytes: 1 << 20}
		},
	}
}

func fullOptions() Options {
	return Options{
		Sources: fullSources(), Commands: []string{"get", "set"}, FollowerStates: []string{"connecting", "streaming"}, Conditions: []string{"fine", "diverged"},
		Now: func() time.Time { return noon },
		Root: fstest.MapFS{
			"proc/self/statm":                  {Data: []byte("1000 10 5 1 0 1 0\n")},
			"proc/self/cgroup":                 {Data: []byte("0::/pod\n")},
			"sys/fs/cgroup/pod/memory.current": {Data: []byte("5000\n")},
			"sys/fs/cgroup/pod/memory.max":     {Data: []byte("9000\n")},
			"sys/fs/cgroup/pod/memory.stat":    {Data: []byte("anon 1\ninactive_file 2000\n")},
		},
	}
}

func mustNew(t testing.TB, o Options) *Metrics {
	t.Helper()
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestValues(t *testing.T) {
	m := mustNew(t, fullOptions())
	m.Observe("get", 10*time.Microsecond, false)
	m.Observe("get", 10*time.Microsecond+1, true)
	m.Observe("bogus", time.Minute, true)
	m.Command("set").Observe(-time.Second, false)
	m.ObserveCompaction(CompactionDone{Result: "ok", End: noon, Duration: time.Second, BytesBefore: 100, BytesAfter: 30})
	m.ObserveCompaction(CompactionDone{Result: "failed", End: noon, BytesBefore: 1})
	m.ObserveCompaction(CompactionDone{Result: "exploded"})
	m.ObserveRenewal(3 * time.Millisecond)
	m.ObserveFsync(time.Millisecond, nil)
	m.ObserveFsync(time.Millisecond, errors.New("no"))
	values, _ := scrape(t, m)
	expect(t, values, map[string]float64{
		`evenkeel_command_duration_seconds_bucket{command="get",le="1e-05"}`:  1,
		`evenkeel_command_duration_seconds_bucket{command="get",le="2e-05"}`:  2,
		`evenkeel_command_duration_seconds_bucket{command="other",le="10"}`:   0,
		`evenkeel_command_duration_seconds_bucket{command="other",le="+Inf"}`: 1,
		`evenkeel_command_duration_seconds_bucket{command="set",le="1e-05"}`:  1,
		`evenkeel_command_duration_seconds_sum{command="set"}`:                0,
		`evenkeel_command_duration_seconds_sum{command="other"}`:              60,
		`evenkeel_command_errors_total{command="get"}`:                        1,
		`evenkeel_compactions_total{result="ok"}`:                             1,
		`evenkeel_compactions_total{result="failed"}`:                         1,
		`evenkeel_compactions_total{result="cancelled"}`:                      0,
		`evenkeel_compactions_total{result="other"}`:                          1,
		`evenkeel_compaction_duration_seconds_count{result="ok"}`:             1,
		`evenkeel_compaction_last_before_bytes`:                               100,
		`evenkeel_compaction_last_after_bytes`:                                30,
		`evenkeel_compaction_removed_bytes_total`:                             70,
		`evenkeel_compaction_last_end_timestamp_seconds`:                      float64(noon.Unix()),
		`evenkeel_compaction_running`:                                         1,
		`evenkeel_compaction_decision{cause="size"}`:                          1,
		`evenkeel_compaction_share_ratio`:                                     0.125,
		`evenkeel_compaction_rate_limit_bytes`:                                7,
		`evenkeel_compaction_written_bytes_total`:                             99,
		`evenkeel_log_fsync_duration_seconds_count`:                           2,
		`evenkeel_log_fsync_errors_total`:                                     1,
		`evenkeel_memory_cgroup_usage_bytes`:                                  5000,
		`evenkeel_memory_cgroup_working_set_bytes`:                            3000,
		`evenkeel_memory_cgroup_limit_bytes`:                                  9000,
		`evenkeel_ready`:                                                      1,
		`evenkeel_leader`:                                                     1,
		`evenkeel_election_transitions_total`:                                 3,
		`evenkeel_fence_remaining_seconds`:                                    1.5,
		`evenkeel_lease_failsafe`:                                             1,
		`evenkeel_lease_renew_seconds_count`:                                  1,
		`evenkeel_log_bytes{kind="segment"}`:                                  50,
		`evenkeel_log_files{kind="segment"}`:                                  2,
		`evenkeel_log_offset_bytes`:                                           9000,
		`evenkeel_log_writable`:                                               1,
		`evenkeel_log_disk_free_bytes`:                                        1 << 30,
		`evenkeel_log_disk_size_bytes`:                                        1 << 31,
		`evenkeel_compaction_log_bytes`:                                       150,
		`evenkeel_compaction_threshold_bytes`:                                 300,
		`evenkeel_follower_condition{condition="fine"}`:                       1,
		`evenkeel_follower_condition{condition="diverged"}`:                   0,
		`evenkeel_replication_followers_condition{condition="fine"}`:          1,
		`evenkeel_replication_followers_condition{condition="diverged"}`:      0,
		`evenkeel_hook_queue_limit_bytes`:                                     4000,
		`evenkeel_hook_queue_limit_seconds`:                                   60,
		`evenkeel_follower_state{state="streaming"}`:                          1,
		`evenkeel_follower_state{state="connecting"}`:                         0,
		`evenkeel_replication_lag_bytes`:                                      12,
		`evenkeel_replication_lag_seconds`:                                    1.5,
		`evenkeel_replication_digest_equal`:                                   1,
		`evenkeel_replication_resyncs_total{kind="full"}`:                     1,
		`evenkeel_replication_resyncs_total{kind="ranges"}`:                   5,
		`evenkeel_connections`:                                                3,
		`evenkeel_connections_rejected_total{reason="limit"}`:                 4,
		`evenkeel_listeners`:                                                  2,
		`evenkeel_listeners_waiting_bytes`:                                    77,
		`evenkeel_listeners_slow_total`:                                       1,
		`evenkeel_messages_published_total`:                                   20,
		`evenkeel_messages_delivered_total`:                                   30,
		`evenkeel_hook_queue_messages`:                                        3,
		`evenkeel_hook_queue_bytes`:                                           333,
		`evenkeel_hook_queue_oldest_seconds`:                                  1.5,
		`evenkeel_hook_messages_delivered_total`:                              9,
		`evenkeel_hook_attempts_failed_total`:                                 4,
		`evenkeel_hook_messages_dropped_total{reason="age"}`:                  5,
		`evenkeel_connections_transport_total{transport="http"}`:              6,
		`evenkeel_expired_objects_total`:                                      6,
		`tile38_aof_size_bytes`:                                               140,
		`tile38_collection_points{col="fleet"}`:                               4,
		`tile38_collection_strings{col="names"}`:                              1,
		`tile38_connections_received_total`:                                   10,
		`tile38_cmd_duration_seconds_count{cmd="get"}`:                        2,
		`tile38_expired_keys_total`:                                           6,
		`tile38_messages_sent_total`:                                          8,
		`tile38_memory_max_heap_size_bytes`:                                   1 << 20,
		`tile38_server_info{id="abc",version="1.2.3"}`:                        1,
		`tile38_start_time_seconds`:                                           float64(noon.Unix()),
		`tile38_replication_info{caught_up="true",caught_up_once="true",following="10.0.0.1:9851",role="follower"}`: 1,
	})
}

func TestLeaderHasNoFollowerMetrics(t *testing.T) {
	o := fullOptions()
	o.Sources.Replication = func() Replication { return Replication{Leading: Leading{Followers: 2}} }
	values, _ := scrape(t, mustNew(t, o))
	expect(t, values, map[string]float64{
		`evenkeel_replication_followers`: 2,
		`tile38_replication_info{caught_up="",caught_up_once="",following="",role="leader"}`: 1,
	})
	for name := range values {
		if strings.HasPrefix(name, "evenkeel_replication_lag") || strings.HasPrefix(name, "evenkeel_follower_state") {
			t.Errorf("a leader shows %s", name)
		}
	}
}

func TestUnknownIsLeftOut(t *testing.T) {
	o := fullOptions()
	o.Root = fstest.MapFS{}
	o.Sources = Sources{
		Replication: func() Replication {
			return Replication{Follower: true, State: "dreaming", LagBytes: -1, Lag: -1, Following: "\xff"}
		},
		Disk: func() Disk { return Disk{FreeBytes: -1, SizeBytes: -1} },
		// Without a cause nobody has looked at the log, without a threshold it is never compacted.
		Compaction: func() Compaction { return Compaction{LogBytes: 5, ThresholdBytes: 7} },
	}
	values, _ := scrape(t, mustNew(t, o))
	for name := range values {
		for _, absent := range []string{"evenkeel_memory_cgroup", "evenkeel_memory_resident", "evenkeel_replication_lag", "tile38_aof", "evenkeel_log_bytes", "evenkeel_log_disk", "evenkeel_compaction_log_bytes", "evenkeel_compaction_threshold",
			"evenkeel_follower_condition", "evenkeel_replication_followers_condition"} {
			if strings.HasPrefix(name, absent) {
				t.Errorf("%s is shown", name)
			}
		}
	}
	expect(t, values, map[string]float64{`evenkeel_follower_state{state="other"}`: 1})
}

// recorded is the list of Tile38 1.37.0's metrics: name, type, labels.
const recorded = `
tile38_aof_size_bytes gauge
tile38_avg_item_size_bytes gauge
tile38_cmd_duration_seconds summary cmd,quantile
tile38_collection_objects gauge col
tile38_collection_points gauge col
tile38_collection_strings gauge col
tile38_collection_weight_bytes gauge col
tile38_collections gauge
tile38_connected_clients gauge
tile38_connections_received_total gauge
tile38_expired_keys_total gauge
tile38_heap_size_bytes gauge
tile38_hooks gauge
tile38_in_memory_size_bytes gauge
tile38_memory_max_heap_size_bytes gauge
tile38_memory_reap_released_bytes gauge
tile38_messages_sent_total gauge
tile38_num_cpus gauge
tile38_pid gauge
tile38_pointer_size_bytes gauge
tile38_replication_info gauge caught_up,caught_up_once,following,role
tile38_server_info gauge id,version
tile38_start_time_seconds gauge
go_build_info gauge checksum,path,version
go_gc_duration_seconds summary quantile
go_gc_gogc_percent gauge
go_gc_gomemlimit_bytes gauge
go_goroutines gauge
go_info gauge version
go_memstats_alloc_bytes gauge
go_memstats_alloc_bytes_total counter
go_memstats_heap_alloc_bytes gauge
go_memstats_heap_inuse_bytes gauge
go_memstats_next_gc_bytes gauge
go_memstats_sys_bytes gauge
go_sched_gomaxprocs_threads gauge
go_threads gauge
process_cpu_seconds_total counter
process_max_fds gauge
process_network_receive_bytes_total counter
process_open_fds gauge
process_resident_memory_bytes gauge
process_start_time_seconds gauge
process_virtual_memory_bytes gauge
`

func TestTile38Names(t *testing.T) {
	m := mustNew(t, fullOptions())
	m.Observe("get", time.Millisecond, false)
	values, types := scrape(t, m)
	ours := map[string]bool{}
	for line := range strings.Lines(strings.TrimSpace(recorded)) {
		f := strings.Fields(line)
		ours[f[0]] = true
		if types[f[0]] != f[1] {
			t.Errorf("%s is a %q, want a %s", f[0], types[f[0]], f[1])
		}
		want := ""
		if len(f) > 2 {
			want = f[2]
		}
		if got := labelsOf(values, f[0]); got != want {
			t.Errorf("%s has the labels %q, want %q", f[0], got, want)
		}
	}
	for name := range types {
		if strings.HasPrefix(name, "tile38_") && !ours[name] {
			t.Errorf("Tile38 has no %s", name)
		}
	}
}

// labelsOf lists the label names of one metric, sorted.
func labelsOf(values map[string]float64, name string) string {
	for series := range values {
		labels, found := strings.CutPrefix(series, name+"{")
		if !found {
			continue
		}
		names := map[string]bool{}
		for part := range strings.SplitSeq(strings.TrimSuffix(labels, "}"), `",`) {
			names[strings.SplitN(part, "=", 2)[0]] = true
		}
		return strings.Join(slices.Sorted(maps.Keys(names)), ",")
	}
	return ""
}

func TestCollectionLabelsAreBounded(t *testing.T) {
	var now []Collection
	o := Options{MaxCollectionLabels: 2, Sources: Sources{Collections: func(yield func(Collection) bool) {
		for _, c := range now {
			if !yield(c) {
				return
			}
		}
	}}}
	m := mustNew(t, o)
	col := func(name string, weight int64) Collection {
		return Collection{Name: name, Objects: 1, WeightBytes: weight}
	}
	steps := []struct {
		name string
		now  []Collection
		want map[string]float64 // objects by label
	}{
		{"room for all", []Collection{col("a", 1), col("b", 2)}, map[string]float64{"a": 1, "b": 1}},
		{"later ones are summed, though larger", []Collection{col("a", 1), col("b", 2), col("c", 3), col("d", 4)}, map[string]float64{"a": 1, "b": 1, rest: 2}},
		{"a free place goes to the largest", []Collection{col("b", 2), col("c", 3), col("d", 4)}, map[string]float64{"b": 1, "d": 1, rest: 1}},
		{"names that cannot be labels", []Collection{col("\xff", 9), col(rest, 9), col(strings.Repeat("x", 129), 9), col("b", 1)}, map[string]float64{"b": 1, rest: 3}},
		{"none", nil, map[string]float64{}},
	}
	for _, s := range steps {
		now = s.now
		values, _ := scrape(t, m)
		got := map[string]float64{}
		for series, v := range values {
			if label, found := strings.CutPrefix(series, `tile38_collection_objects{col="`); found {
				got[strings.TrimSuffix(label, `"}`)] = v
			}
		}
		if !maps.Equal(got, s.want) {
			t.Errorf("%s: %v, want %v", s.name, got, s.want)
		}
	}
}

func TestValidate(t *testing.T) {
	_, err := New(Options{Commands: append(make([]string, 501), strings.Repeat("x", 65))})
	if err == nil || !strings.Contains(err.Error(), "502 commands") || !strings.Contains(err.Error(), "1 to 64 bytes") {
		t.Errorf("error %v, want both faults", err)
	}
}

// TestExternal: an engine in another process, and one that does not answer.
func TestExternal(t *testing.T) {
	e := Engine{Up: true, MemoryBytes: 100, HeapBytes: 50, LogBytes: 7, FileBytes: 5, MemoryLimit: 400}
	m, err := New(Options{Sources: Sources{
		Engine:      func() Engine { return e },
		Comparisons: func() Comparisons { return Comparisons{Compared: 12, Failed: 13, Differing: 14, Objects: 15} },
		Upstream: func() Upstream {
			return Upstream{Connections: 3, Dialled: 9, DialFailures: 2, Refused: 4, Lost: 5, LostCommands: 6, Forwarded: 10, LeaderReads: 11, OwnWriteWaits: 8, OwnWriteMisses: 1, SharedClients: 12, SlowClients: 13, MovedSearches: 16}
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	values, _ := scrape(t, m)
	expect(t, values, map[string]float64{
		"evenkeel_engine_up": 1, "evenkeel_engine_memory_bytes": 100, "evenkeel_engine_heap_bytes": 50, "evenkeel_engine_log_bytes": 7,
		"evenkeel_engine_log_file_bytes": 5, "evenkeel_engine_memory_limit_bytes": 400,
		"evenkeel_upstream_connections": 3, `evenkeel_upstream_dials_total{result="ok"}`: 9, `evenkeel_upstream_dials_total{result="failed"}`: 2,
		"evenkeel_upstream_commands_refused_total": 4, "evenkeel_upstream_connections_lost_total": 5, "evenkeel_upstream_commands_lost_total": 6,
		"evenkeel_upstream_moved_searches_total": 16, "evenkeel_upstream_shared_clients": 12, "evenkeel_upstream_slow_clients_total": 13,
		"evenkeel_upstream_forwarded_writes_total": 10, "evenkeel_upstream_leader_reads_total": 11,
		`evenkeel_upstream_own_write_waits_total{result="ok"}`: 7, `evenkeel_upstream_own_write_waits_total{result="timeout"}`: 1,
		`evenkeel_follower_comparisons_total{result="ok"}`: 12, `evenkeel_follower_comparisons_total{result="failed"}`: 13,
		"evenkeel_followers_differing": 14, "evenkeel_follower_different_objects": 15,
	})
	if v, there := values["evenkeel_upstream_clients_waiting"]; there {
		t.Errorf("%v clients wait for a leader, which is not known", v)
	}
	own, err := New(Options{Sources: Sources{Upstream: func() Upstream { return Upstream{Forwarded: 1, Retried: 2, Waiting: 3, Here: 4} }}})
	if err != nil {
		t.Fatal(err)
	}
	shown, _ := scrape(t, own)
	expect(t, shown, map[string]float64{
		"evenkeel_upstream_forwarded_writes_total": 1, "evenkeel_upstream_commands_retried_total": 2,
		"evenkeel_upstream_clients_waiting": 3, "evenkeel_upstream_commands_here_total": 4,
	})
	e = Engine{MemoryBytes: -1, HeapBytes: -1, LogBytes: -1, FileBytes: -1}
	values, _ = scrape(t, m)
	expect(t, values, map[string]float64{"evenkeel_engine_up": 0})
	for _, name := range []string{"evenkeel_engine_memory_bytes", "evenkeel_engine_log_file_bytes", "evenkeel_engine_memory_limit_bytes"} {
		if v, there := values[name]; there {
			t.Errorf("%s %v of an engine that does not answer", name, v)
		}
	}
}

// TestCertificate: how long a certificate is valid is told when there is one.
func TestCertificate(t *testing.T) {
	var c Certificate
	m, err := New(Options{Sources: Sources{Certificate: func() Certificate { return c }}})
	if err != nil {
		t.Fatal(err)
	}
	if values, _ := scrape(t, m); values["evenkeel_certificate_not_after_timestamp_seconds"] != 0 {
		t.Error("the end of no certificate")
	}
	c = Certificate{NotBefore: time.Unix(1000, 0), NotAfter: time.Unix(2000, 0)}
	values, _ := scrape(t, m)
	expect(t, values, map[string]float64{"evenkeel_certificate_not_before_timestamp_seconds": 1000, "evenkeel_certificate_not_after_timestamp_seconds": 2000})
}

// TestWebhook: an injector's metrics, and none of an engine.
func TestWebhook(t *testing.T) {
	from := WebhookSources{
		Reviews:     func() Reviews { return Reviews{Injected: 1, Skipped: 2, Refused: 3, Malformed: 4} },
		Certificate: func() Certificate { return Certificate{NotBefore: time.Unix(5, 0), NotAfter: time.Unix(6, 0)} },
		Failing:     func() bool { return true },
	}
	h, err := Webhook(from)
	if err != nil {
		t.Fatal(err)
	}
	values, types := read(t, h)
	expect(t, values, map[string]float64{
		`evenkeel_webhook_reviews_total{outcome="injected"}`: 1, `evenkeel_webhook_reviews_total{outcome="skipped"}`: 2,
		`evenkeel_webhook_reviews_total{outcome="refused"}`: 3, `evenkeel_webhook_reviews_total{outcome="malformed"}`: 4,
		"evenkeel_certificate_not_before_timestamp_seconds": 5, "evenkeel_certificate_not_after_timestamp_seconds": 6,
		"evenkeel_webhook_certificates_failing": 1,
	})
	if types["evenkeel_webhook_reviews_total"] != "counter" || types["evenkeel_webhook_certificates_failing"] != "gauge" {
		t.Errorf("types %v", types)
	}
	from.Failing = nil
	if h, err = Webhook(from); err != nil {
		t.Fatal(err)
	}
	values, _ = read(t, h)
	for name := range values {
		if strings.HasPrefix(name, "tile38_") || strings.HasPrefix(name, "evenkeel_compaction") || name == "evenkeel_webhook_certificates_failing" {
			t.Errorf("%s of an injector with a certificate in files", name)
		}
	}
}
