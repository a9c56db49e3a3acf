package lint

const module = "evenkeel"

// Limits of files and functions, in lines.
const (
	maxFileLines     = 500
	maxFunctionLines = 100
)

// floors says how high each package stands. Numbers between two floors order
// packages of one floor that build on each other.
func floors() map[string]float64 {
	return map[string]float64{
		"internal/fsx":         0,
		"internal/clock":       0,
		"internal/epoll":       0,
		"internal/load":        0, // makes requests of a server, and measures
		"pkg/resp":             0,
		"pkg/tlsfile":          0,
		"internal/fsx/fsxtest": 0.5,

		"pkg/engine/field":      1.0,
		"pkg/engine/glob":       1.0,
		"pkg/engine/reply":      1.0,
		"pkg/engine/collection": 1.1,
		"pkg/engine/command":    1.2,
		"pkg/engine/area":       1.3,
		"pkg/engine/filter":     1.3,
		"pkg/engine/mvt":        1.3,
		"pkg/engine/script/lua": 1.0,
		"pkg/engine/script":     1.3,
		"pkg/engine/hook":       1.45,
		"pkg/engine/fence":      1.46,
		"pkg/engine/relate":     1.4,
		"pkg/engine/keys":       1.4,
		"pkg/engine/search":     1.4,
		"pkg/engine/dump":       1.45,
		"pkg/engine":            1.5,
		"pkg/engine/shadow":     1.6, // an engine beside the one that serves
		"pkg/aof":               1.0,

		"pkg/store":         2,
		"pkg/compactor":     2,
		"pkg/replication":   1.5, // words and steps of the protocol: the store cuts its state into the ranges of a resync
		"pkg/tile38":        2,
		"pkg/tile38/local":  2.6, // looks after the Tile38 of the pod
		"pkg/tile38/verify": 2.1, // over its connections
		"pkg/tile38/shrink": 2.6, // a target of the compactor
		"pkg/hooks":         2,
		"pkg/pubsub":        2,
		"pkg/aoftool":       2.4, // looks at a directory with what floors 1 and 2 have
		"pkg/settings":      2.5, // reads and writes the options of the packages of floors 1 and 2

		"pkg/leader":         3,
		"pkg/follower":       3,
		"pkg/follower/stock": 3.1, // tells the same events
		"pkg/proxy":          3,
		"pkg/upstream":       3.1, // another engine behind pkg/proxy
		"pkg/forward":        3.2, // finds the ends of replies as pkg/upstream does
		"pkg/tile38/bridge":  3.1, // tries again as pkg/follower does
		"pkg/kube":           3,
		"pkg/kube/trust":     3.1, // keeps what pkg/webhook makes
		"pkg/admin":          3,
		"pkg/inject":         0,   // manifests to manifests
		"pkg/webhook":        3,   // pkg/inject as an admission webhook
		"pkg/node":           3.5, // the embedded node: sessions and server commands over store, leader, follower

		"pkg/replication/reptest":  3.5, // leaders and followers for tests
		"pkg/spike":                3,   // measures two servers around a compaction
		"internal/testkit":         2.5, // a Tile38 leader and follower for tests
		"internal/testkit/kubeapi": 0.1, // an API server for tests
		"internal/testkit/certs":   0,   // certificates for tests
		"internal/testkit/history": 0,   // what clients were told, checked

		"pkg/metrics":  4,
		"pkg/timeline": 4,

		"cmd/sidecar":               5,
		"cmd/bench":                 5,
		"internal/tools/tally":      5,
		"internal/tools/chartdocs":  5, // schema and table of the chart's values
		"internal/tools/dashboards": 5, // the Grafana dashboards
		"internal/promexpr":         4, // what asks for the metrics: dashboards and rules, for tests
		"internal/lint":             5,
		"test/e2e":                  6, // the built binary, from outside
		"test/cluster":              6, // the chart on a real Kubernetes cluster
		"test/resync":               6,

		"test/rig":         5.9, // pods in one process, a network and random commands for them
		"test/metamorphic": 6,   // the same commands under other options
		"test/crash":       6,   // power fails at every operation on the disk
		"test/simulation":  6,   // leader and followers in virtual time
	}
}

// ban is something that packages must not do, and why. Packages and imports
// are names, or prefixes that end in "/...", which name the package too.
type ban struct {
	in      []string // packages that it holds for
	except  []string // packages of those that it does not hold for
	imports []string // import paths
	but     []string // beginnings of names in those imports that are harmless, such as os.O_
	calls   []string // functions of packages, such as time.Now
	goStmt  bool     // go statements
	why     string
}

func bans() []ban {
	everywhere := []string{"pkg/...", "internal/...", "cmd/..."}
	programs := []string{"cmd/...", "internal/tools/..."}
	clocks := []string{"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.AfterFunc",
		"time.NewTimer", "time.NewTicker", "time.Tick"}
	disk := []string{"os", "syscall", "golang.org/x/sys/...", "io/ioutil"}
	return []ban{
		{in: []string{"pkg/engine/..."},
			// net/url reads text.
			imports: append([]string{"net", "net/http/...", "net/netip", "net/rpc/...", "net/smtp", "net/textproto", "os/...", "io/fs", "log/...", "math/rand/...", "crypto/rand"}, disk...),
			why:     "the engine touches memory only, so that the same log leads to the same state everywhere"},
		{in: []string{"pkg/engine/..."}, calls: clocks,
			why: "the engine has no clock: the time of a command is the time of its batch in the log"},
		{in: []string{"pkg/engine/..."}, goStmt: true,
			why: "the engine starts no goroutine: the store alone decides what runs beside what"},
		{in: []string{"pkg/engine/..."}, imports: []string{module + "/pkg/aof/...", module + "/pkg/resp/...", module + "/internal/..."},
			why: "the engine knows of no log, wire or disk"},
		{in: []string{"pkg/aof/..."}, imports: []string{module + "/pkg/engine/..."},
			why: "payloads are opaque to the log"},
		{in: []string{"pkg/aof/...", "pkg/aoftool/...", "pkg/store/...", "pkg/compactor/...", "pkg/hooks/...", "pkg/settings/..."}, imports: disk,
			but: []string{"os.O_", "os.Err", "os.FileMode", "os.FileInfo", "os.DirEntry", "syscall.E"},
			why: "the disk is reached through internal/fsx alone, so that crash tests see every write"},
		{in: []string{"pkg/inject"}, imports: append([]string{"net/http/...", module + "/..."}, disk...),
			why: "text to text, so that the webhook and the command do the same, and any manifest is a test"},
		{in: []string{"pkg/inject"}, calls: clocks, goStmt: true,
			why: "the same manifest is injected the same way, always"},
		{in: []string{"pkg/replication", "pkg/compactor"}, imports: append([]string{"net/..."}, disk...),
			why: "it decides; connections and files are other packages' matter"},
		{in: []string{"pkg/replication", "pkg/compactor"}, calls: clocks,
			why: "time is passed in, so that tests need not wait for it"},
		{in: []string{"pkg/replication"}, goStmt: true,
			why: "the protocol is a step function"},
		{in: []string{"pkg/aof/...", "pkg/store/..."}, imports: []string{"net/..."},
			why: "the log and the store have no network"},
		{in: everywhere, except: []string{"pkg/metrics", "internal/promexpr", "cmd/..."}, imports: []string{"github.com/prometheus/..."},
			why: "metrics adapt from outside: report numbers by Stats or a callback"},
		{in: everywhere, except: programs, imports: []string{"github.com/spf13/..."},
			why: "flags are cmd's matter: take an Options struct"},
		{in: everywhere, except: []string{"cmd/...", "pkg/tile38/...", "pkg/hooks/..."}, imports: []string{"github.com/redis/..."},
			why: "the server speaks RESP itself; a client is for the CLI, Tile38 and endpoints"},
		{in: everywhere, except: []string{"pkg/kube/...", "internal/testkit/kubeapi"}, imports: []string{"k8s.io/..."},
			why: "Kubernetes is pkg/kube's matter"},
		{in: everywhere, except: programs, calls: []string{"os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln"},
			why: "only programs exit: return an error"},
		// pkg/engine/field keeps all fields of an object in one block; pkg/resp hands
		// large arguments over without a copy.
		{in: everywhere, except: []string{"pkg/engine/field", "pkg/resp"}, imports: []string{"unsafe"},
			why: "nothing is worth it without a measured reason; write it down in internal/lint/table.go then"},
	}
}
