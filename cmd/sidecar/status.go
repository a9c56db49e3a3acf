package main

import (
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/hooks"
	"evenkeel/pkg/kube"
	"evenkeel/pkg/leader"
	"evenkeel/pkg/node"
	"evenkeel/pkg/pubsub"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/store"
)

// report is what /status answers.
type report struct {
	Version   string                `json:"version"`
	ServerID  string                `json:"server_id,omitempty"`
	Started   time.Time             `json:"started"`
	Ready     bool                  `json:"ready"`
	NotReady  []string              `json:"not_ready,omitempty"`
	DataDir   string                `json:"data_dir"`
	Epoch     string                `json:"epoch,omitempty"`
	Offset    int64                 `json:"offset"`
	Digest    string                `json:"digest,omitempty"`
	Log       *logReport            `json:"log,omitempty"`
	Data      *store.Stats          `json:"data,omitempty"`
	Election  *kube.Stats           `json:"election,omitempty"`
	Follower  *replication.Status   `json:"follower,omitempty"`
	Followers []leader.FollowerStat `json:"followers,omitempty"`
	Upstream  *node.ForwardStats    `json:"upstream,omitempty"` // to the leader
	Compactor any                   `json:"compactor,omitempty"`
	Listeners *listenerReport       `json:"listeners,omitempty"`
	Hooks     *hookReport           `json:"hooks,omitempty"`
}

// listenerReport is subscribers, live fences and monitors in /status.
type listenerReport struct {
	Connections  int    `json:"connections"`
	Channels     int    `json:"channels"` // that somebody listens to
	Patterns     int    `json:"patterns"`
	WaitingBytes int64  `json:"waiting_bytes"`
	Published    uint64 `json:"published"`
	Delivered    uint64 `json:"delivered"`
	Slow         uint64 `json:"slow"` // disconnected because too much waited for them
}

func reportListeners(st pubsub.Stats) *listenerReport {
	return &listenerReport{
		Connections: st.Listeners, Channels: st.Channels, Patterns: st.Patterns, WaitingBytes: st.Waiting,
		Published: st.Published, Delivered: st.Delivered, Slow: st.Slow,
	}
}

// hookReport is the queue of webhooks' messages in /status.
type hookReport struct {
	Writable      bool              `json:"writable"`
	Waiting       int64             `json:"waiting"`
	WaitingBytes  int64             `json:"waiting_bytes"`
	OldestSeconds float64           `json:"oldest_seconds"`
	Retrying      int               `json:"retrying"` // hooks whose last attempt failed
	Unsupported   map[string]int64  `json:"unsupported,omitempty"`
	DiskBytes     int64             `json:"disk_bytes"`
	Delivered     map[string]uint64 `json:"delivered,omitempty"` // by kind of endpoint
	Failed        map[string]uint64 `json:"failed_attempts,omitempty"`
	Dropped       map[string]uint64 `json:"dropped,omitempty"` // by reason
}

func reportHooks(st hooks.Stats) *hookReport {
	return &hookReport{
		Writable: st.Writable, Waiting: st.Waiting, WaitingBytes: st.Bytes, OldestSeconds: st.Oldest.Seconds(),
		Retrying: st.Retrying, Unsupported: st.Unsupported, DiskBytes: st.Disk,
		Delivered: st.Delivered, Failed: st.Failed, Dropped: st.Dropped,
	}
}

// logReport is the log in /status; sizes are bytes.
type logReport struct {
	Writable     bool    `json:"writable"`
	Failure      string  `json:"failure,omitempty"`
	Appendfsync  string  `json:"appendfsync"`
	OldestOffset int64   `json:"oldest_offset"` // from which a follower could continue
	BaseOffset   int64   `json:"base_offset"`
	SyncedOffset int64   `json:"synced_offset"`
	BaseBytes    int64   `json:"base_bytes"`
	SinceBytes   int64   `json:"since_base_bytes"`
	BacklogBytes int64   `json:"backlog_bytes"`
	TempBytes    int64   `json:"temporary_bytes"`
	CommandBytes int64   `json:"command_bytes"`
	PendingBytes int64   `json:"pending_bytes"`
	Segments     int     `json:"segments"`
	Readers      int     `json:"readers"`
	Batches      int64   `json:"batches"`
	Flushes      int64   `json:"flushes"`
	Syncs        int64   `json:"syncs"`
	SyncSeconds  float64 `json:"sync_seconds"`
}

func reportLog(st aof.Stats) *logReport {
	r := &logReport{
		Writable: st.Writable, Appendfsync: st.Policy.String(),
		OldestOffset: st.First, BaseOffset: st.Base.Offset, SyncedOffset: st.Synced,
		BaseBytes: st.BaseBytes, SinceBytes: st.SinceBytes, BacklogBytes: st.BacklogBytes, TempBytes: st.TempBytes,
		CommandBytes: st.PayloadBytes, PendingBytes: st.PendingBytes,
		Segments: st.Segments, Readers: st.Tails,
		Batches: st.Batches, Flushes: st.Flushes, Syncs: st.Syncs, SyncSeconds: st.SyncTime.Seconds(),
	}
	if st.Failure != nil {
		r.Failure = st.Failure.Error()
	}
	return r
}

// Status tells what the process is and does. While the log is loaded, most of
// it is not known.
func (s *embedded) Status() any {
	st := report{Version: version, Started: s.started, DataDir: s.cfg.dataDir}
	st.Ready, st.NotReady = s.gate.Ready()
	if !s.gate.assembled() {
		return st
	}
	st.ServerID = s.settings.ServerID()
	pos := s.log.Position()
	digest, mark := s.store.Digest()
	st.Epoch, st.Offset, st.Digest = pos.Epoch, mark.Offset, digest.String()
	data := s.store.Stats()
	st.Log, st.Data = reportLog(s.log.Stats()), &data
	st.Follower, st.Followers = s.node.FollowerStatus(), s.leader.Followers()
	st.Upstream, st.Election = s.node.Forwarding(), s.reportElection()
	st.Compactor = s.compactor.Stats()
	st.Listeners, st.Hooks = reportListeners(s.hub.Stats()), reportHooks(s.hooks.Stats())
	return st
}

// lagDuration turns seconds, below 0 for unknown, into a duration.
func lagDuration(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second))
}
