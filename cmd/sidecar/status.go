package main

import (
	"time"

	"evenkeel/pkg/leader"
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
	Log       any                   `json:"log,omitempty"`
	Data      *store.Stats          `json:"data,omitempty"`
	Follower  *replication.Status   `json:"follower,omitempty"`
	Followers []leader.FollowerStat `json:"followers,omitempty"`
	Compactor any                   `json:"compactor,omitempty"`
}

// Status tells what the process is and does. While the log is loaded, most of
// it is not known.
func (s *sidecar) Status() any {
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
	st.Log, st.Data = s.log.Stats(), &data
	st.Follower, st.Followers = s.node.FollowerStatus(), s.leader.Followers()
	st.Compactor = s.compactor.Stats()
	return st
}

// lagDuration turns seconds, below 0 for unknown, into a duration.
func lagDuration(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second))
}
