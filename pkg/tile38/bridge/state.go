package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"evenkeel/internal/fsx"
)

// saved is what outlives the sidecar: whose history the follower's file ends with.
// Where in it is told by the file itself, so it is written when that changes only.
type saved struct {
	// LeaderID is the leader whose commands the end of the follower's file is.
	LeaderID string `json:"leader_id"`
	// Whole says that the follower's data is what these commands lead to: no
	// difference was being brought in.
	Whole bool `json:"whole"`
}

func load(fsys fsx.FS, path string) (saved, error) {
	var s saved
	b, err := fsx.ReadFile(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return saved{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// save takes note of s, on the disk before it returns.
func (b *Bridge) save(s saved) error {
	if s == b.saved {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := fsx.WriteFileAtomic(b.opt.FS, b.opt.StateFile, append(data, '\n')); err != nil {
		return err
	}
	b.saved = s
	return nil
}
