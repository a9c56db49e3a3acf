package shrink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"evenkeel/internal/fsx"
)

// base is what is known of the last rewrite of a server's log.
type base struct {
	ID      string    `json:"id"`      // of the server
	Bytes   int64     `json:"bytes"`   // of the log right after it
	Objects int64     `json:"objects"` // then
	At      time.Time `json:"at"`
}

// loadBase reads the state file; one that is not there is the zero base.
func loadBase(fsys fsx.FS, path string) (base, error) {
	if path == "" {
		return base{}, nil
	}
	b, err := fsx.ReadFile(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return base{}, nil
	}
	if err != nil {
		return base{}, fmt.Errorf("state of the last rewrite: %w", err)
	}
	var s base
	if err := json.Unmarshal(b, &s); err != nil || s.Bytes < 0 || s.Objects < 0 {
		return base{}, fmt.Errorf("state of the last rewrite: %s is not one: %.64q", path, b)
	}
	return s, nil
}

// save writes the state file.
func (b base) save(fsys fsx.FS, path string) error {
	if path == "" {
		return nil
	}
	data, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("state of the last rewrite: %w", err)
	}
	if err := fsx.WriteFileAtomic(fsys, path, append(data, '\n')); err != nil {
		return fmt.Errorf("state of the last rewrite: %w", err)
	}
	return nil
}

// Bytes of a dump that an object takes beside its content: the words of a SET.
const dumpOverhead = 80

// live estimates how large the log would be after a rewrite: as many bytes an object
// as after the last one, or what a SET of the content takes.
func (b base) live(objects, content int64) int64 {
	if b.Objects > 0 && b.Bytes > 0 {
		return int64(float64(b.Bytes) / float64(b.Objects) * float64(objects))
	}
	return dumpOverhead*objects + 2*content
}
