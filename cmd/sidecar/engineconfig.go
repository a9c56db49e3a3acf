package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"evenkeel/internal/fsx"
)

// engineConfig is what `sidecar engine-config` is asked for.
type engineConfig struct {
	dir, passwordFile string
}

func engineConfigCommand() *cobra.Command {
	c := engineConfig{}
	cmd := &cobra.Command{
		Use:   "engine-config --engine-dir DIR --engine-password-file FILE",
		Short: "Give a Tile38 its password before it starts",
		Long: `engine-config writes the password in the file into DIR/config, where a Tile38 with
the data directory DIR looks when it starts; what else is there stays. A Tile38 takes no
password from flags, files or the environment, and one that is told with CONFIG SET
is open until then. While a Tile38 runs on DIR its own CONFIG REWRITE would undo this.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return c.run(fsx.OS{}) },
	}
	f := cmd.Flags()
	f.StringVar(&c.dir, "engine-dir", "", "data directory of the Tile38")
	f.StringVar(&c.passwordFile, "engine-password-file", "", "file with the password; the environment variable EVENKEEL_PASSWORD does as well")
	return cmd
}

func (c *engineConfig) run(fsys fsx.FS) error {
	if c.dir == "" {
		return errors.New("--engine-dir is missing: want the data directory of the Tile38")
	}
	password, err := secret(c.passwordFile, "EVENKEEL_PASSWORD")
	if err != nil {
		return fmt.Errorf("--engine-password-file: %w", err)
	}
	if password == "" {
		return errors.New("--engine-password-file: there is no password, neither there nor in EVENKEEL_PASSWORD")
	}
	path := filepath.Join(c.dir, "config")
	values := map[string]any{}
	old, err := fsx.ReadFile(fsys, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read %s: %w", path, err)
	default:
		if err := json.Unmarshal(old, &values); err != nil {
			return fmt.Errorf("%s is not the JSON object that a Tile38 writes: %w", path, err)
		}
	}
	if values["requirepass"] == any(password) && values["leaderauth"] == any(password) {
		return nil
	}
	// A follower gives its leader's password, which is the same here.
	values["requirepass"], values["leaderauth"] = password, password
	text, err := json.MarshalIndent(values, "", "\t")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if err := fsx.WriteFileAtomic(fsys, path, append(text, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
