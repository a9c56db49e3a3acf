package settings

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/compactor"
)

// Names of the properties that other packages ask for.
const (
	MaxMemory       = "maxmemory"
	AutoGC          = "autogc"
	KeepAlive       = "keepalive"
	ProtectedMode   = "protected-mode"
	RequirePass     = "requirepass"
	LeaderAuth      = "leaderauth"
	LogConfig       = "logconfig"
	ReplicaPriority = "replica-priority"
	AnnounceIP      = "replica_announce_ip"
	AnnouncePort    = "replica_announce_port"

	RESP3           = "resp3"
	AppendFsync     = "appendfsync"
	ShrinkMinSize   = "aofshrink-min-size"
	ShrinkGrowth    = "aofshrink-growth"
	ShrinkCheck     = "aofshrink-check-interval"
	ShrinkCooldown  = "aofshrink-cooldown"
	CompactionRate  = "compaction-rate"
	ReplBacklogSize = "repl-backlog-size"

	MinReplicas        = "min-replicas-to-write"
	MinReplicasTimeout = "min-replicas-timeout"
)

// Property is one entry of CONFIG.
type Property struct {
	Name    string
	Default string
	own     bool // Evenkeel's, not Tile38's
	form    form // in the file
	// check returns the value as it is kept, or says what is wrong with it.
	check func(value string) (string, error)
	// show returns the value as CONFIG GET shows it; nil: as it is kept.
	show func(value string) string
}

// form is the JSON type that Tile38 gives a value in the file.
type form uint8

const (
	formText form = iota
	formNumber
	formObject // when the text is JSON
)

var properties = []*Property{
	{Name: MaxMemory, check: checkMemory, show: showMemory},
	{Name: AutoGC, Default: "0", check: checkAutoGC},
	{Name: KeepAlive, Default: "300", check: checkKeepAlive},
	{Name: ProtectedMode, Default: "yes", check: checkYesNo(ProtectedMode)},
	{Name: RequirePass, check: anything},
	{Name: LeaderAuth, check: anything},
	{Name: LogConfig, form: formObject, check: anything},
	{Name: ReplicaPriority, form: formNumber, check: checkUint(ReplicaPriority)},
	{Name: AnnounceIP, check: anything},
	{Name: AnnouncePort, Default: "0", check: checkAnnouncePort},
	{Name: RESP3, Default: "no", own: true, check: checkYesNo(RESP3)},
	{Name: AppendFsync, Default: "everysec", own: true, check: checkFsync},
	{Name: ShrinkMinSize, Default: "64mb", own: true, check: checkSize(ShrinkMinSize)},
	{Name: ShrinkGrowth, Default: "100", own: true, check: checkUint(ShrinkGrowth)},
	{Name: ShrinkCheck, Default: "10s", own: true, check: checkDuration(ShrinkCheck, 100*time.Millisecond)},
	{Name: ShrinkCooldown, Default: "1m0s", own: true, check: checkDuration(ShrinkCooldown, time.Millisecond)},
	{Name: CompactionRate, Default: "adaptive", own: true, check: checkRate},
	{Name: ReplBacklogSize, Default: "64mb", own: true, check: checkSize(ReplBacklogSize)},
	{Name: MinReplicas, Default: "0", own: true, check: checkUint(MinReplicas)},
	{Name: MinReplicasTimeout, Default: "1s", own: true, check: checkDuration(MinReplicasTimeout, time.Millisecond)},
}

func find(name string) *Property {
	for _, p := range properties {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func invalid(name, value string) error {
	return fmt.Errorf("Invalid argument '%s' for CONFIG SET '%s'", value, name) //nolint:staticcheck // the text that clients know
}

func anything(value string) (string, error) { return value, nil }

// Bytes is the number of bytes that maxmemory names; 0 is no limit.
func Bytes(value string) (int64, bool) {
	if value == "" {
		return 0, true
	}
	shift := 0
	low := strings.ToLower(value)
	for unit, s := range map[string]int{"kb": 10, "mb": 20, "gb": 30} {
		if strings.HasSuffix(low, unit) {
			low, shift = low[:len(low)-2], s
			break
		}
	}
	n, err := strconv.ParseUint(low, 10, 63)
	if err != nil || n > 1<<62>>shift {
		return 0, false
	}
	return int64(n) << shift, true
}

// checkMemory keeps the number of bytes; showMemory makes it readable.
func checkMemory(value string) (string, error) {
	n, ok := Bytes(value)
	switch {
	case !ok:
		return "", invalid(MaxMemory, value)
	case n == 0:
		return "", nil
	}
	return strconv.FormatInt(n, 10), nil
}

// showMemory shows bytes in the largest unit of which there is one, rounded
// down, as Tile38 does.
func showMemory(value string) string {
	n, _ := strconv.ParseInt(value, 10, 64)
	switch {
	case n == 0:
		return ""
	case n >= 1<<30:
		return strconv.FormatInt(n>>30, 10) + "gb"
	case n >= 1<<20:
		return strconv.FormatInt(n>>20, 10) + "mb"
	case n >= 1<<10:
		return strconv.FormatInt(n>>10, 10) + "kb"
	}
	return value
}

func checkAutoGC(value string) (string, error) {
	if value == "" {
		return "0", nil
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return "", err // in its own words, as in Tile38
	}
	return strconv.FormatUint(n, 10), nil
}

func checkKeepAlive(value string) (string, error) {
	if value == "" {
		return "300", nil
	}
	return checkUint(KeepAlive)(value)
}

func checkAnnouncePort(value string) (string, error) {
	if value == "" {
		return "0", nil
	}
	if _, err := strconv.ParseUint(value, 10, 16); err != nil {
		return "", invalid(AnnouncePort, value)
	}
	return value, nil
}

func checkUint(name string) func(string) (string, error) {
	return func(value string) (string, error) {
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return "", invalid(name, value)
		}
		return strconv.FormatUint(n, 10), nil
	}
}

func checkYesNo(name string) func(string) (string, error) {
	return func(value string) (string, error) {
		switch low := strings.ToLower(value); low {
		case "yes", "no":
			return low, nil
		}
		return "", invalid(name, value)
	}
}

func checkFsync(value string) (string, error) {
	p, err := aof.ParseFsyncPolicy(strings.ToLower(value))
	if err != nil {
		return "", invalid(AppendFsync, value)
	}
	return p.String(), nil
}

// Duration reads a number of seconds, or a duration with units such as 90s or
// 1m30s.
func Duration(value string) (time.Duration, bool) {
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(n) * time.Second, true
	}
	d, err := time.ParseDuration(value)
	return d, err == nil
}

func checkDuration(name string, least time.Duration) func(string) (string, error) {
	return func(value string) (string, error) {
		d, ok := Duration(value)
		if !ok || d < least {
			return "", invalid(name, value)
		}
		return d.String(), nil
	}
}

func checkSize(name string) func(string) (string, error) {
	return func(value string) (string, error) {
		n, err := compactor.ParseSize(value)
		if err != nil {
			return "", invalid(name, value)
		}
		return compactor.FormatSize(n), nil
	}
}

func checkRate(value string) (string, error) {
	n, err := compactor.ParseRate(value)
	if err != nil {
		return "", invalid(CompactionRate, value)
	}
	return compactor.FormatRate(n), nil
}
