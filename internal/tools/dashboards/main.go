package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("out", "deploy/helm/dashboards", "folder that the dashboards are written to")
	flag.Parse()
	if err := write(*out); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

// boards are all dashboards, by the name of their file.
func boards() map[string]board {
	return map[string]board{
		"evenkeel-overview.json":   overview(),
		"evenkeel-compaction.json": compaction(),
		"evenkeel-hooks.json":      hooks(),
	}
}

// write makes the files of dir.
func write(dir string) error {
	for name, b := range boards() {
		text, err := render(b)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// render returns the file of a dashboard.
func render(b board) ([]byte, error) {
	built, err := b.build()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // expressions have < and >
	enc.SetIndent("", "  ")
	err = enc.Encode(built)
	return text.Bytes(), err
}
