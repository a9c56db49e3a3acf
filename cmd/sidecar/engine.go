package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/spf13/pflag"

	"evenkeel/pkg/compactor"
	"evenkeel/pkg/tile38"
)

// The engines.
const (
	engineEmbedded = "embedded"
	engineTile38   = "tile38"
)

// The listen address of clients: an engine in the same pod has Tile38's own.
const (
	listenEmbedded = ":9851"
	listenTile38   = ":9861"
)

// Values of --shared-connections.
const (
	maxShared  = 64
	sharedAuto = -1
	autoShared = 8 // the most that sharedAuto gives
)

// sharedConnections is --shared-connections as a number. A Tile38 serves a connection
// with one processor at a time, and so do we: with one for every processor neither is
// the limit. More of them gather fewer commands at once, which is what sharing is for:
// of two processors 1 gave 89 % of direct with 8 clients, 2 gave 76 %; with 64 clients
// that send 32 at once 1 gave 80 %, 2 gave 98 %.
func (t *tile38Config) sharedConnections() int {
	if t.shared == sharedAuto {
		return min(runtime.GOMAXPROCS(0), autoShared)
	}
	return t.shared
}

// tile38Config is what the flags say about an engine that is a Tile38 in the same
// pod.
type tile38Config struct {
	addr, dir        string
	announce         string
	passwordFile     string
	leaderPassFile   string
	bridge           bool
	promote          bool
	bridgeListen     string
	acceptEmpty      bool
	heartbeat        time.Duration
	heartbeatKey     string
	connectWait      time.Duration
	protectedMode    string
	maxPending       int
	shared           int
	maxUnsent        string
	maxUnavailable   int
	maxShrinks       int
	resetFollowers   bool
	shrinkTimeout    time.Duration
	verifyEvery      time.Duration
	verifyObjects    bool
	verifyRate       int
	memory           string
	memoryLimit      int64  // bytes of the engine's container; 0: unknown
	password, leader string // of the engine, of the leader
}

// tile38Flags are flags that mean something with --engine tile38 only.
func (c *config) tile38Flags(f *pflag.FlagSet) {
	t := &c.tile38
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.StringVar(&t.addr, "engine-addr", "127.0.0.1:9851", "address of the Tile38")
	own.StringVar(&t.dir, "engine-dir", "", "directory of the Tile38's appendonly.aof, if it can be read here; a follower needs it to be carried through its leader's compactions")
	own.StringVar(&t.announce, "announce", "", "with --follow, where the leader's sidecar reaches this one, HOST:PORT; without, the address that the way to the leader begins with, and the port of --listen")
	own.StringVar(&t.passwordFile, "engine-password-file", "", "file with the Tile38's password; the environment variable EVENKEEL_PASSWORD does as well")
	own.StringVar(&t.leaderPassFile, "leader-password-file", "", "file with the leader's password; without, it is the same, or EVENKEEL_LEADER_PASSWORD")
	own.BoolVar(&t.bridge, "bridge", true, "with --follow: the Tile38 follows this sidecar, which follows the leader; needs --engine-dir")
	own.BoolVar(&t.promote, "promote", true, "without --follow: a Tile38 that follows somebody is told to lead; with =false it is left alone, is not compacted, and the pod is not ready")
	own.StringVar(&t.bridgeListen, "bridge-listen", "127.0.0.1:0", "address that the Tile38 follows; keep it on loopback")
	own.BoolVar(&t.acceptEmpty, "accept-empty-leader", false, "follow a leader that has nothing, though the Tile38 here has something: it will be deleted")
	own.DurationVar(&t.heartbeat, "heartbeat-interval", time.Second, "how often a leader's sidecar writes into --heartbeat-key; 0 is never")
	own.StringVar(&t.heartbeatKey, "heartbeat-key", tile38.DefaultHeartbeatKey, "collection that is reserved for heartbeats")
	own.StringVar(&t.protectedMode, "protected-mode", "no", "yes: serve clients of this machine alone, as long as there is no --engine-password-file, no --tls-client-ca and no host in --listen: what the Tile38's own --protected-mode yes does no more, as all its clients come from here now")
	own.DurationVar(&t.connectWait, "engine-wait", 5*time.Second, "how long commands wait for a Tile38 that cannot be reached")
	own.IntVar(&t.maxPending, "max-pending-commands", 64<<10, "commands of one client that may be under way")
	own.IntVar(&t.shared, "shared-connections", sharedAuto, "connections to the Tile38 that clients share for small commands such as GET and SET, and as many for short searches, up to 64; 0 is none: each client has its own for everything; -1 is one for every processor")
	own.StringVar(&t.maxUnsent, "max-unsent-replies", "64mb", "replies from a shared connection that are kept for one client which does not take them; with more it is disconnected")
	own.IntVar(&t.maxUnavailable, "max-unavailable", 1, "followers that may be unready at the same time because of compactions")
	own.IntVar(&t.maxShrinks, "max-healing-shrinks", 2, "AOFSHRINKs more that there may be to heal followers which have no sidecar with a bridge; -1 is none")
	own.BoolVar(&t.resetFollowers, "reset-followers", false, "let a follower that no AOFSHRINK heals begin anew: it is empty until it has read the leader's log")
	own.DurationVar(&t.shrinkTimeout, "aofshrink-timeout", 30*time.Minute, "how long an AOFSHRINK of the Tile38 may take")
	own.DurationVar(&t.verifyEvery, "verify-interval", 10*time.Second, "how often leader and followers are compared by their counts")
	own.BoolVar(&t.verifyObjects, "verify-objects", true, "followers without a bridge: compare them with their leader object by object after each healing, before they are ready again, and once after a start")
	own.IntVar(&t.verifyRate, "verify-rate", 0, "of that, read so many objects per second of each server at most; 0 pauses after each page for as long as it took")
	own.StringVar(&t.memory, "engine-memory-limit", "", "memory limit of the Tile38's container, for metrics and alerts: bytes, or kb, mb, gb; without, the environment variable EVENKEEL_ENGINE_MEMORY_LIMIT (a resourceFieldRef), or unknown")
	own.VisitAll(func(fl *pflag.Flag) {
		f.AddFlag(fl)
		c.owner[fl.Name] = engineTile38
	})
}

// sharedFlags mean the same whatever the engine is. What is neither here nor among
// tile38Flags is about the embedded one.
var sharedFlags = []string{
	"engine", "listen", "unix-socket", "unix-socket-mode", "probe-listen", "admin-listen", "data-dir", "follow", "lead-on-host", "max-lag", "drain-timeout",
	"tls-cert", "tls-key", "tls-client-ca", "leader-tls", "leader-tls-ca", "leader-tls-name",
	"write-forwarding", "read-from", "read-your-writes-timeout", "write-forwarding-timeout",
	"log-level", "log-format", "max-connections", "idle-timeout", "write-timeout", "http-header-timeout", "max-http-header",
	"aofshrink-min-size", "aofshrink-growth", "aofshrink-check-interval", "aofshrink-cooldown", "compaction-turns", "compaction-turn-wait",
}

// checkEngine lists what is wrong with the engine, and flags that mean nothing
// with it.
func (c *config) checkEngine() (faults []error) {
	if c.engineKind != engineEmbedded && c.engineKind != engineTile38 {
		return []error{fmt.Errorf("--engine %q: want %s or %s", c.engineKind, engineEmbedded, engineTile38)}
	}
	c.visit(func(f *pflag.Flag) {
		if owner, ok := c.owner[f.Name]; ok && owner != c.engineKind {
			faults = append(faults, fmt.Errorf("--%s means nothing with --engine %s", f.Name, c.engineKind))
		}
	})
	if c.engineKind == engineTile38 {
		faults = append(faults, c.tile38.check(c.follow)...)
		if c.tls.leader && !c.tile38.bridge {
			faults = append(faults, errors.New("--leader-tls: a Tile38 that follows by itself speaks no TLS: leave --bridge on"))
		}
	}
	return faults
}

func (t *tile38Config) check(follow string) (faults []error) {
	if _, _, err := splitHostPort(t.addr); err != nil {
		faults = append(faults, fmt.Errorf("--engine-addr %q: want HOST:PORT: %w", t.addr, err))
	}
	if _, _, err := net.SplitHostPort(t.bridgeListen); err != nil {
		faults = append(faults, fmt.Errorf("--bridge-listen %q: want HOST:PORT: %w", t.bridgeListen, err))
	}
	if t.announce != "" {
		if _, _, err := splitHostPort(t.announce); err != nil {
			faults = append(faults, fmt.Errorf("--announce %q: want HOST:PORT: %w", t.announce, err))
		}
	}
	if t.protectedMode != "yes" && t.protectedMode != "no" {
		faults = append(faults, fmt.Errorf("--protected-mode %q: want yes or no", t.protectedMode))
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"--engine-wait", t.connectWait}, {"--aofshrink-timeout", t.shrinkTimeout}, {"--verify-interval", t.verifyEvery}} {
		if d.value <= 0 {
			faults = append(faults, fmt.Errorf("%s %s: want more than 0", d.flag, d.value))
		}
	}
	if t.heartbeat < 0 {
		faults = append(faults, fmt.Errorf("--heartbeat-interval %s: want 0 or more", t.heartbeat))
	}
	if t.verifyRate < 0 {
		faults = append(faults, fmt.Errorf("--verify-rate %d: want 0 or more", t.verifyRate))
	}
	if t.heartbeatKey == "" {
		faults = append(faults, errors.New(`--heartbeat-key "": want a name`))
	}
	if t.maxPending < 1 {
		faults = append(faults, fmt.Errorf("--max-pending-commands %d: want 1 or more", t.maxPending))
	}
	if t.shared < sharedAuto || t.shared > maxShared {
		faults = append(faults, fmt.Errorf("--shared-connections %d: want 0 to %d, or %d for one for every processor", t.shared, maxShared, sharedAuto))
	}
	if n, err := compactor.ParseSize(t.maxUnsent); err != nil || n <= 0 {
		faults = append(faults, fmt.Errorf("--max-unsent-replies %q: want a size above 0: bytes, or kb, mb, gb", t.maxUnsent))
	}
	if t.maxShrinks < -1 || t.maxShrinks == 0 {
		faults = append(faults, fmt.Errorf("--max-healing-shrinks %d: want 1 or more, or -1 for none", t.maxShrinks))
	}
	if t.maxUnavailable < 1 {
		faults = append(faults, fmt.Errorf("--max-unavailable %d: want 1 or more", t.maxUnavailable))
	}
	if follow != "" && !t.promote {
		faults = append(faults, errors.New("--promote=false: with --follow it is never told to lead; want one of the two"))
	}
	if follow != "" && t.bridge && t.dir == "" {
		faults = append(faults, errors.New("--engine-dir: a follower needs the directory of the Tile38's appendonly.aof, so that it is carried through its leader's compactions; share the volume, or take --bridge=false"))
	}
	faults = append(faults, t.readMemoryLimit()...)
	return append(faults, t.passwords()...)
}

// readMemoryLimit takes the flag, or the environment: only Kubernetes knows the limit
// of another container, and tells it there.
func (t *tile38Config) readMemoryLimit() (faults []error) {
	text := cmp.Or(t.memory, os.Getenv("EVENKEEL_ENGINE_MEMORY_LIMIT"))
	if text == "" {
		return nil
	}
	n, err := compactor.ParseSize(text)
	if err != nil || n <= 0 {
		return []error{fmt.Errorf("--engine-memory-limit %q: want a size above 0: bytes, or kb, mb, gb", text)}
	}
	t.memoryLimit = n
	return nil
}

// passwords reads them, from files or the environment.
func (t *tile38Config) passwords() (faults []error) {
	for _, p := range []struct {
		to              *string
		flag, file, env string
	}{
		{&t.password, "--engine-password-file", t.passwordFile, "EVENKEEL_PASSWORD"},
		{&t.leader, "--leader-password-file", t.leaderPassFile, "EVENKEEL_LEADER_PASSWORD"},
	} {
		var err error
		if *p.to, err = secret(p.file, p.env); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", p.flag, err))
		}
	}
	if t.leader == "" {
		t.leader = t.password
	}
	return faults
}
