package node

import (
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"evenkeel/pkg/compactor"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/settings"
	"evenkeel/pkg/store"
)

// serverStats is SERVER [EXT].
func (c *call) serverStats() error {
	ext := false
	for _, a := range c.args[1:] {
		if !strings.EqualFold(a, "ext") {
			return reply.InvalidArgument(a)
		}
		ext = true
	}
	counts := c.node.opt.Store.Stats
	if c.counts != nil {
		counts = c.counts
	}
	m := c.node.basicStats(counts())
	if ext {
		m = c.node.extStats(counts())
	}
	names := slices.Sorted(maps.Keys(m))
	if !c.out.JSON {
		c.out.Array(2 * len(names))
		for _, name := range names {
			c.out.Bulk(name)
			c.out.Bulk(fmt.Sprint(m[name]))
		}
		return nil
	}
	c.out.OK()
	c.out.Member("stats")
	c.object(m, names)
	return nil
}

// object appends a flat JSON object.
func (c *call) object(m map[string]any, names []string) {
	c.out.Buf = append(c.out.Buf, '{')
	for i, name := range names {
		if i > 0 {
			c.out.Buf = append(c.out.Buf, ',')
		}
		c.out.String(name)
		c.out.Buf = append(c.out.Buf, ':')
		switch v := m[name].(type) {
		case string:
			c.out.String(v)
		case float64:
			c.out.Buf = strconv.AppendFloat(c.out.Buf, v, 'f', -1, 64)
		default:
			c.out.Buf = fmt.Append(c.out.Buf, v)
		}
	}
	c.out.Buf = append(c.out.Buf, '}')
}

// basicStats are the members of SERVER.
func (n *Node) basicStats(st store.Stats) map[string]any {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	maxHeap, _ := settings.Bytes(n.opt.Settings.Get(settings.MaxMemory))
	avg := 0
	if st.Points > 0 {
		avg = int(mem.HeapAlloc) / st.Points
	}
	m := map[string]any{
		"aof_size":        n.fileSize(),
		"avg_item_size":   avg,
		"cpus":            runtime.NumCPU(),
		"heap_released":   mem.HeapReleased,
		"heap_size":       mem.HeapAlloc,
		"http_transport":  !n.opt.NoHTTP,
		"id":              n.opt.Settings.ServerID(),
		"in_memory_size":  st.ContentBytes,
		"max_heap_size":   maxHeap,
		"mem_alloc":       mem.Alloc,
		"num_collections": st.Collections,
		"num_hooks":       st.Hooks + st.Channels,
		"num_objects":     st.Objects,
		"num_points":      st.Points,
		"num_strings":     st.Texts,
		"pending_events":  n.opt.Hooks.Stats().Waiting,
		"pid":             os.Getpid(),
		"pointer_size":    strconv.IntSize / 8,
		"read_only":       n.opt.Settings.ReadOnly(),
		"threads":         threads(),
		"version":         TileVersion,
	}
	if f := n.role.status(); f != nil {
		m["following"] = f.Leader
		m["caught_up"] = f.CaughtUp
		m["caught_up_once"] = n.role.caughtUpOnce()
	}
	return m
}

func threads() int {
	if p := runtimeThreads(); p > 0 {
		return p
	}
	return 1
}

// extStats are the members of SERVER EXT.
func (n *Node) extStats(st store.Stats) map[string]any {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	m := map[string]any{
		"alloc_bytes":          mem.Alloc,
		"alloc_bytes_total":    mem.TotalAlloc,
		"buck_hash_sys_bytes":  mem.BuckHashSys,
		"frees_total":          mem.Frees,
		"gc_cpu_fraction":      mem.GCCPUFraction,
		"gc_sys_bytes":         mem.GCSys,
		"go_goroutines":        runtime.NumGoroutine(),
		"go_threads":           threads(),
		"go_version":           runtime.Version(),
		"heap_alloc_bytes":     mem.HeapAlloc,
		"heap_idle_bytes":      mem.HeapIdle,
		"heap_inuse_bytes":     mem.HeapInuse,
		"heap_objects":         mem.HeapObjects,
		"heap_released_bytes":  mem.HeapReleased,
		"heap_sys_bytes":       mem.HeapSys,
		"last_gc_time_seconds": float64(mem.LastGC) / 1e9,
		"lookups_total":        mem.Lookups,
		"mallocs_total":        mem.Mallocs,
		"mcache_inuse_bytes":   mem.MCacheInuse,
		"mcache_sys_bytes":     mem.MCacheSys,
		"mspan_inuse_bytes":    mem.MSpanInuse,
		"mspan_sys_bytes":      mem.MSpanSys,
		"next_gc_bytes":        mem.NextGC,
		"other_sys_bytes":      mem.OtherSys,
		"stack_inuse_bytes":    mem.StackInuse,
		"stack_sys_bytes":      mem.StackSys,
		"sys_bytes":            mem.Sys,
		"sys_cpus":             runtime.NumCPU(),
	}
	n.tileStats(m, st)
	return m
}

// tileStats adds what SERVER EXT says beside the runtime's numbers.
func (n *Node) tileStats(m map[string]any, st store.Stats) {
	basic := n.basicStats(st)
	for _, name := range []string{
		"aof_size", "http_transport", "id", "in_memory_size", "max_heap_size", "num_collections",
		"num_hooks", "num_objects", "num_points", "num_strings", "pid", "pointer_size", "read_only", "version",
	} {
		m["tile38_"+name] = basic[name]
	}
	comp := n.opt.Compactor.Stats()
	m["tile38_aof_current_rewrite_time_sec"] = n.rewriteSeconds()
	m["tile38_aof_enabled"] = true
	m["tile38_aof_last_rewrite_time_sec"] = lastRewrite(comp)
	m["tile38_aof_rewrite_in_progress"] = comp.Running
	m["tile38_avg_point_size"] = basic["avg_item_size"]
	m["tile38_cluster_enabled"] = false
	m["tile38_connected_clients"] = n.server.Stats().Current
	m["tile38_connected_slaves"] = len(n.opt.Leader.Followers())
	m["tile38_expired_keys"] = st.Expired
	m["tile38_num_hook_groups"] = 0
	m["tile38_num_object_groups"] = 0
	m["tile38_total_commands_processed"] = n.commands.Load()
	m["tile38_total_connections_received"] = n.server.Stats().Total
	m["tile38_total_messages_sent"] = 0
	m["tile38_type"] = "leader"
	if n.role.status() != nil {
		m["tile38_type"] = "follower"
	}
	m["tile38_uptime_in_seconds"] = time.Since(n.started).Seconds()
}

// rewriteSeconds is how long the compaction that runs has been running.
func (n *Node) rewriteSeconds() int {
	st := n.opt.Compactor.Stats()
	if !st.Running {
		return 0
	}
	return int(time.Since(st.Started).Seconds())
}

// lastRewrite is how long the last compaction took, in seconds.
func lastRewrite(st compactor.Stats) int {
	if st.Last == nil {
		return 0
	}
	return int(st.Last.Duration.Seconds())
}

// section is one part of INFO: lines of "name:value".
type section struct {
	name, title string
	lines       func(n *Node, add func(name string, value any))
}

var infoSections = []section{
	{"server", "Server", func(n *Node, add func(string, any)) {
		add("tile38_version", TileVersion)
		add("redis_version", TileVersion)
		add("uptime_in_seconds", int(time.Since(n.started).Seconds()))
	}},
	{"clients", "Clients", func(n *Node, add func(string, any)) {
		add("connected_clients", n.server.Stats().Current)
	}},
	{"memory", "Memory", func(_ *Node, add func(string, any)) {
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		add("used_memory", mem.Alloc)
	}},
	{"persistence", "Persistence", func(n *Node, add func(string, any)) {
		c := n.opt.Compactor.Stats()
		add("aof_enabled", 1)
		add("aof_rewrite_in_progress", boolInt(c.Running))
		add("aof_last_rewrite_time_sec", lastRewrite(c))
		add("aof_current_rewrite_time_sec", n.rewriteSeconds())
	}},
	{"stats", "Stats", func(n *Node, add func(string, any)) {
		add("total_connections_received", n.server.Stats().Total)
		add("total_commands_processed", n.commands.Load())
		add("total_messages_sent", 0)
		add("expired_keys", n.opt.Store.Stats().Expired)
	}},
	{"replication", "Replication", (*Node).infoReplication},
	{"cpu", "CPU", func(_ *Node, add func(string, any)) {
		self, children := usage(syscall.RUSAGE_SELF), usage(syscall.RUSAGE_CHILDREN)
		add("used_cpu_sys", self.sys)
		add("used_cpu_user", self.user)
		add("used_cpu_sys_children", children.sys)
		add("used_cpu_user_children", children.user)
	}},
	{"cluster", "Cluster", func(_ *Node, add func(string, any)) { add("cluster_enabled", 0) }},
	{"keyspace", "", nil}, // empty, as Tile38's, down to its missing title
}

// seconds is shown with two digits in RESP.
type seconds float64

func (s seconds) String() string { return strconv.FormatFloat(float64(s), 'f', 2, 64) }

type cpuTime struct{ user, sys seconds }

func usage(who int) cpuTime {
	var ru syscall.Rusage
	if syscall.Getrusage(who, &ru) != nil {
		return cpuTime{}
	}
	sec := func(t syscall.Timeval) seconds { return seconds(float64(t.Sec) + float64(t.Usec)/1e6) }
	return cpuTime{user: sec(ru.Utime), sys: sec(ru.Stime)}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// info is INFO [section …].
func (c *call) info() error {
	asked := map[string]bool{}
	for _, a := range c.args[1:] {
		asked[strings.ToLower(a)] = true
	}
	all := len(asked) == 0 || asked["all"] || asked["default"]
	values := map[string]any{}
	var text []byte
	for _, s := range infoSections {
		if !all && !asked[s.name] {
			continue
		}
		if len(text) > 0 {
			text = append(text, "\r\n"...)
		}
		if s.lines == nil {
			continue
		}
		text = append(text, "# "+s.title+"\r\n"...)
		s.lines(c.node, func(name string, value any) {
			text = fmt.Appendf(text, "%s:%v\r\n", name, value)
			if sec, ok := value.(seconds); ok {
				value = float64(sec)
			}
			values[name] = value
		})
	}
	if !c.out.JSON {
		c.out.Bulk(string(text))
		return nil
	}
	c.out.OK()
	c.out.Member("info")
	c.object(values, slices.Sorted(maps.Keys(values)))
	return nil
}

// gc is GC: collect garbage and give memory back to the system, now.
func (c *call) gc() error {
	select {
	case c.node.collect <- struct{}{}:
	default: // one is asked for already
	}
	c.out.OK() // as Tile38: the answer does not wait
	return nil
}

// collectGarbage does what GC and autogc ask for, until ctx ends.
func (n *Node) collectGarbage(ctx context.Context) {
	changed := make(chan time.Duration, 1)
	n.opt.Settings.Watch(settings.AutoGC, func(value string) {
		secs, _ := strconv.ParseUint(value, 10, 32) // the settings have checked it
		select {
		case <-changed: // nobody has seen it yet
		default:
		}
		changed <- time.Duration(secs) * time.Second
	})
	tick := time.NewTicker(time.Hour)
	tick.Stop()
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case every := <-changed:
			tick.Stop()
			if every > 0 {
				tick.Reset(every)
			}
		case <-n.collect:
			debug.FreeOSMemory()
		case <-tick.C:
			debug.FreeOSMemory()
		}
	}
}

// healthz is HEALTHZ: fit to be asked. The probe listener's /readyz knows more.
func (c *call) healthz() error {
	if len(c.args) != 1 {
		return reply.ErrNumArgs
	}
	c.out.OK()
	return nil
}
