package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"evenkeel/pkg/compactor"
	"evenkeel/pkg/engine"
	"evenkeel/pkg/hooks"
	"evenkeel/pkg/leader"
	"evenkeel/pkg/proxy"
	"evenkeel/pkg/pubsub"
	"evenkeel/pkg/settings"
)

// config is what the flags of `run` say.
type config struct {
	listen, probeListen, adminListen string
	unixSocket, unixSocketMode       string
	http                             bool
	dataDir                          string
	follow                           string
	maxLag                           time.Duration
	maxHeld                          int64
	turns                            bool
	turnWait                         time.Duration
	segmentSize                      string
	maxPending                       string
	maxLabels                        int
	logLevel, logFormat              string
	drainTimeout                     time.Duration
	readSlice                        time.Duration
	compactCPU                       int

	forward    forwardConfig
	elect      electConfig
	tls        tlsConfig
	engineKind string
	tile38     tile38Config

	properties map[string]*string // flags that override CONFIG's values
	set        func(flag string) bool
	visit      func(func(*pflag.Flag)) // the flags that are set
	owner      map[string]string       // of flags that one engine alone has
	files      map[string]*string      // that hold passwords, by property
	leadOnHost string

	proxy  proxy.Options
	engine engine.Options
	hub    pubsub.Options
	hooks  hooks.Options

	maxScripts int
}

// propertyFlags are the properties of CONFIG that have a flag.
var propertyFlags = []struct{ name, usage string }{
	{settings.AppendFsync, "when the log is synced to disk: always, everysec or no (default everysec)"},
	{settings.ShrinkMinSize, "compact the log by itself from this size on: bytes, or kb, mb, gb; 0 is never (default 64mb)"},
	{settings.ShrinkGrowth, "… and once it has grown by this many percent since the last compaction (default 100)"},
	{settings.ShrinkCheck, "how often the log's size is looked at (default 10s)"},
	{settings.ShrinkCooldown, "rest between two compactions of its own accord (default 1m)"},
	{settings.CompactionRate, "how fast a compaction goes, within --compaction-cpu: adaptive, so that p99 stays, or bytes (kb, mb, gb) a second (default adaptive)"},
	{settings.ReplBacklogSize, "log that is kept behind the last compaction for followers that were away (default 64mb)"},
	{settings.MinReplicas, "acknowledge a write only when so many followers have it on their disks (default 0)"},
	{settings.MinReplicasTimeout, "… and answer an error when they have not for so long (default 1s)"},
	{settings.RequirePass, "password that clients must give with AUTH"},
	{settings.LeaderAuth, "password that a follower gives to its leader"},
	{settings.MaxMemory, "refuse SET and FSET while the heap is larger: bytes, or kb, mb, gb (default: no limit)"},
	{settings.AutoGC, "collect garbage every so many seconds; 0 is never (default 0)"},
	{settings.RESP3, "answer HELLO, and speak version 3 of RESP to clients that ask; Tile38 does not know it: yes or no (default no)"},
}

func (c *config) flags(f *pflag.FlagSet) {
	c.set, c.visit = f.Changed, f.Visit
	c.properties, c.owner = map[string]*string{}, map[string]string{}
	f.StringVar(&c.engineKind, "engine", engineEmbedded, "embedded, or tile38: a Tile38 in the same pod, which this sidecar looks after")
	f.StringVar(&c.listen, "listen", listenEmbedded, "address for clients (RESP, plain lines, Tile38's native protocol, HTTP, WebSocket); with --engine tile38 by default "+listenTile38)
	f.StringVar(&c.unixSocket, "unix-socket", "", "serve clients on a unix socket with this path, too")
	f.StringVar(&c.unixSocketMode, "unix-socket-mode", "0700", "permissions of the unix socket, octal")
	f.BoolVar(&c.http, "http-transport", true, "serve HTTP and WebSocket clients")
	f.StringVar(&c.probeListen, "probe-listen", ":9850", "address for /livez, /readyz and /metrics")
	f.StringVar(&c.adminListen, "admin-listen", "127.0.0.1:9849", "address for /status and /debug/pprof; keep it on loopback")
	f.StringVar(&c.dataDir, "data-dir", "./data", "directory of the log; one with a Tile38 appendonly.aof is adopted")
	f.StringVar(&c.follow, "follow", "", "follow the leader at HOST:PORT")
	f.StringVar(&c.leadOnHost, "lead-on-host", "", "with --follow: the host of this name leads, and follows nobody; so all pods of a set can have the same flags")
	f.Int64Var(&c.maxHeld, "max-follower-log", leader.DefaultMaxHeld, "log that a compaction keeps for one follower that is behind, beyond the backlog, in bytes; then that follower is disconnected; -1 for any amount")
	f.DurationVar(&c.turnWait, "compaction-turn-wait", 10*time.Minute, "how long a compaction waits for its turn; then it begins without")
	f.BoolVar(&c.turns, "compaction-turns", true, "one pod of a cluster at a time compacts: the leader gives the turns")
	f.DurationVar(&c.maxLag, "max-lag", 5*time.Second, "how far behind its leader a follower may be and still be ready")
	f.DurationVar(&c.drainTimeout, "drain-timeout", 10*time.Second, "how long a shutdown waits for commands under way")
	f.DurationVar(&c.readSlice, "read-slice", 500*time.Microsecond, "how long a search may hold up writers before it goes on with a snapshot")
	f.IntVar(&c.compactCPU, "compaction-cpu", 12, "share of one processor, in percent, that a compaction may take")
	f.StringVar(&c.segmentSize, "segment-size", "64mb", "size at which a new segment of the log is begun")
	f.StringVar(&c.maxPending, "max-pending", "64mb", "writes that are kept in memory while the disk does not take them")
	f.IntVar(&c.maxLabels, "metrics-collections", 100, "collections that get metrics of their own; the rest is added up; -1 for none")
	f.StringVar(&c.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.logFormat, "log-format", "text", "text or json")
	for _, p := range propertyFlags {
		c.properties[p.name] = f.String(p.name, "", p.usage)
	}
	c.passwordFlags(f)
	c.tls.flags(f)
	c.forward.flags(f)
	c.elect.flags(f)
	c.limitFlags(f)
	f.VisitAll(func(fl *pflag.Flag) {
		if !slices.Contains(sharedFlags, fl.Name) {
			c.owner[fl.Name] = engineEmbedded
		}
	})
	c.tile38Flags(f)
}

// limitFlags are the bounds on what a client may send and hold.
func (c *config) limitFlags(f *pflag.FlagSet) {
	c.proxy.EnsureDefaults()
	c.engine.EnsureDefaults()
	c.hub.EnsureDefaults()
	c.hooks.EnsureDefaults()
	p := &c.proxy
	f.IntVar(&p.Limits.MaxArgs, "max-args", p.Limits.MaxArgs, "largest number of arguments of a command")
	f.Int64Var(&p.Limits.MaxBulk, "max-bulk", p.Limits.MaxBulk, "largest argument, in bytes")
	f.Int64Var(&p.Limits.MaxInline, "max-inline", p.Limits.MaxInline, "longest plain-text command, in bytes")
	f.Int64Var(&p.Limits.MaxCommand, "max-command", p.Limits.MaxCommand, "largest command, in bytes")
	f.Int64Var(&p.Limits.MaxHeader, "max-http-header", p.Limits.MaxHeader, "largest head of an HTTP request, in bytes, without its first line; with --engine tile38: with it, and larger ones pass as they are to the Tile38 here")
	f.Int64Var(&p.Limits.MaxMessage, "max-websocket-message", p.Limits.MaxMessage, "largest message from a WebSocket client, in bytes")
	f.DurationVar(&p.HeaderTimeout, "http-header-timeout", p.HeaderTimeout, "close a connection that has not sent the whole head of its HTTP request for so long")
	f.IntVar(&p.MaxConns, "max-connections", p.MaxConns, "largest number of client connections")
	f.IntVar(&p.MaxPipeline, "max-pipeline", p.MaxPipeline, "commands of one pipeline that are carried out together")
	f.Int64Var(&p.MaxOutput, "max-output", p.MaxOutput, "largest reply, in bytes, that a connection may hold")
	f.DurationVar(&p.IdleTimeout, "idle-timeout", p.IdleTimeout, "close a connection that is idle for so long; 0 is never")
	f.DurationVar(&p.WriteTimeout, "write-timeout", p.WriteTimeout, "close a connection that takes no replies for so long")
	f.Int64Var(&c.hooks.MaxBytes, "hook-queue-size", c.hooks.MaxBytes, "messages that may wait for webhooks, in bytes; then the oldest of the hook that holds most are dropped")
	f.DurationVar(&c.hooks.MaxAge, "hook-queue-age", c.hooks.MaxAge, "how long a message may wait for its webhook; an older one is dropped")
	f.Int64Var(&c.hooks.MaxMessage, "max-hook-message", c.hooks.MaxMessage, "largest message for a webhook, in bytes")
	f.Int64Var(&c.hooks.MaxPending, "hook-max-pending", c.hooks.MaxPending, "messages for webhooks that are kept in memory while the disk does not take them, in bytes")
	f.Int64Var(&c.hooks.MaxMemory, "hook-memory", c.hooks.MaxMemory, "messages for webhooks that are kept in memory so that they need not be read again, in bytes")
	f.IntVar(&c.hooks.MaxSenders, "hook-senders", c.hooks.MaxSenders, "webhooks that are served at the same time")
	f.DurationVar(&c.hooks.Timeout, "hook-timeout", c.hooks.Timeout, "how long one attempt to deliver to a webhook may take")
	f.DurationVar(&c.hooks.RetryMax, "hook-retry-max", c.hooks.RetryMax, "longest pause between two attempts; it begins with 100 ms")
	f.DurationVar(&c.engine.Script.MaxTime, "script-timeout", c.engine.Script.MaxTime, "how long a script may run")
	f.Int64Var(&c.engine.Script.MaxMemory, "script-memory", c.engine.Script.MaxMemory, "memory that a script may allocate, in bytes")
	f.IntVar(&c.maxScripts, "max-scripts", 0, "scripts of EVALRO and EVALNA that may run at once, and searches with WHEREEVAL; others wait; 0 is four for each processor")
	f.Int64Var(&c.hub.MaxBytes, "max-backlog", c.hub.MaxBytes, "messages that may wait for one subscriber, live fence or monitor, in bytes; then it is disconnected")
	f.IntVar(&c.hub.MaxMessages, "max-backlog-messages", c.hub.MaxMessages, "the same, in messages")
	f.Int64Var(&c.hub.MaxTotal, "max-backlog-total", c.hub.MaxTotal, "the same for all of them together, in bytes; then the one that holds most is disconnected")
	f.Int64Var(&c.hub.MaxNames, "max-subscriptions", c.hub.MaxNames, "names of channels and patterns that one connection may be subscribed to, in bytes")
	f.IntVar(&c.engine.Limits.MaxJSONDepth, "max-json-depth", c.engine.Limits.MaxJSONDepth, "deepest nesting of JSON in an object or field")
	f.IntVar(&c.engine.Limits.MaxPoints, "max-points", c.engine.Limits.MaxPoints, "largest number of points of a geometry")
}

// validate lists every fault of the flags.
func (c *config) validate() error {
	c.hooks.Dir = filepath.Join(c.dataDir, "hooks")
	faults := append(c.role(), c.readPasswords()...)
	faults = append(append(faults, c.checkEngine()...), c.tls.check()...)
	faults = append(faults, c.forward.check()...)
	faults = append(faults, c.checkElect()...)
	if c.engineKind == engineTile38 && !c.set("listen") {
		c.listen = listenTile38
	}
	for _, a := range []struct{ flag, addr string }{
		{"--listen", c.listen}, {"--probe-listen", c.probeListen}, {"--admin-listen", c.adminListen},
	} {
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			faults = append(faults, fmt.Errorf("%s %q: want HOST:PORT or :PORT: %w", a.flag, a.addr, err))
		}
	}
	if c.follow != "" {
		if _, _, err := splitHostPort(c.follow); err != nil {
			faults = append(faults, fmt.Errorf("--follow %q: want HOST:PORT: %w", c.follow, err))
		}
	}
	if _, err := c.socketMode(); err != nil {
		faults = append(faults, err)
	}
	if _, err := c.level(); err != nil {
		faults = append(faults, err)
	}
	if c.logFormat != "text" && c.logFormat != "json" {
		faults = append(faults, fmt.Errorf("--log-format %q: want text or json", c.logFormat))
	}
	if c.turnWait <= 0 {
		faults = append(faults, fmt.Errorf("--compaction-turn-wait %s: want more than 0", c.turnWait))
	}
	if c.maxHeld == 0 {
		faults = append(faults, errors.New("--max-follower-log 0: want bytes, or -1 for any amount"))
	}
	if c.maxLag <= 0 {
		faults = append(faults, fmt.Errorf("--max-lag %s: want more than 0", c.maxLag))
	}
	if c.drainTimeout <= 0 {
		faults = append(faults, fmt.Errorf("--drain-timeout %s: want more than 0", c.drainTimeout))
	}
	if c.compactCPU < 1 || c.compactCPU > 100 {
		faults = append(faults, fmt.Errorf("--compaction-cpu %d: want 1 to 100 percent", c.compactCPU))
	}
	faults = append(faults, c.checkSizes()...)
	if !c.set("max-output") {
		c.proxy.MaxOutput = c.proxy.Limits.MaxBulk + 1<<20 // what can be set can be read back
	}
	if limits := c.checkLimits(); limits != nil {
		return errors.Join(append(faults, limits...)...)
	}
	return errors.Join(append(faults, c.proxy.Validate(), c.engine.Validate(), c.hub.Validate(), c.hooks.Validate())...)
}

// checkLimits lists the limits that are no limits, by their flags.
func (c *config) checkLimits() (faults []error) {
	p, e := &c.proxy, &c.engine.Limits
	for _, l := range []struct {
		flag  string
		value int64
	}{
		{"--max-args", int64(p.Limits.MaxArgs)}, {"--max-bulk", p.Limits.MaxBulk}, {"--max-inline", p.Limits.MaxInline},
		{"--max-command", p.Limits.MaxCommand}, {"--max-http-header", p.Limits.MaxHeader},
		{"--max-websocket-message", p.Limits.MaxMessage}, {"--max-connections", int64(p.MaxConns)}, {"--max-pipeline", int64(p.MaxPipeline)},
		{"--max-output", p.MaxOutput}, {"--max-json-depth", int64(e.MaxJSONDepth)}, {"--max-points", int64(e.MaxPoints)},
	} {
		if l.value < 1 {
			faults = append(faults, fmt.Errorf("%s %d: want 1 or more", l.flag, l.value))
		}
	}
	if p.HeaderTimeout <= 0 {
		faults = append(faults, fmt.Errorf("--http-header-timeout %s: want more than 0", p.HeaderTimeout))
	}
	if p.WriteTimeout <= 0 {
		faults = append(faults, fmt.Errorf("--write-timeout %s: want more than 0", p.WriteTimeout))
	}
	if p.IdleTimeout < 0 {
		faults = append(faults, fmt.Errorf("--idle-timeout %s: want 0 or more", p.IdleTimeout))
	}
	return faults
}

// checkSizes lists the faults of what is about the log, the metrics and CONFIG.
func (c *config) checkSizes() (faults []error) {
	for _, s := range []struct{ flag, size string }{{"--segment-size", c.segmentSize}, {"--max-pending", c.maxPending}} {
		if n, err := compactor.ParseSize(s.size); err != nil || n <= 0 {
			faults = append(faults, fmt.Errorf("%s %q: want a size above 0: bytes, or kb, mb, gb", s.flag, s.size))
		}
	}
	if c.dataDir == "" {
		faults = append(faults, errors.New(`--data-dir "": want a directory`))
	}
	if c.readSlice <= 0 {
		faults = append(faults, fmt.Errorf("--read-slice %s: want more than 0", c.readSlice))
	}
	if c.maxLabels < 1 && c.maxLabels != -1 {
		faults = append(faults, fmt.Errorf("--metrics-collections %d: want 1 or more, or -1 for none", c.maxLabels))
	}
	for _, p := range propertyFlags {
		if !c.given(p.name) {
			continue
		}
		if err := settings.Check(p.name, *c.properties[p.name]); err != nil {
			faults = append(faults, fmt.Errorf("--%s: %w", p.name, err))
		}
	}
	return faults
}

func (c *config) level() (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.logLevel)); err != nil {
		return 0, fmt.Errorf("--log-level %q: want debug, info, warn or error", c.logLevel)
	}
	return l, nil
}

// turnLimit is how long a compaction waits for its turn; below 0: not at all.
func (c *config) turnLimit() time.Duration {
	if !c.turns {
		return -1
	}
	return c.turnWait
}
