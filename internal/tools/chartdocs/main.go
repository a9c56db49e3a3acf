package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "chartdocs:", err)
		os.Exit(1)
	}
}

func run(args []string, errOut io.Writer) error {
	fs := flag.NewFlagSet("chartdocs", flag.ContinueOnError)
	fs.SetOutput(errOut)
	chart := fs.String("chart", "deploy/helm", "`folder` of the chart")
	check := fs.Bool("check", false, "write nothing, and fail if something would change")
	if err := fs.Parse(args); err != nil {
		return err
	}
	files, err := generate(*chart)
	if err != nil {
		return err
	}
	var faults []error
	for _, f := range files {
		old, err := os.ReadFile(f.path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err // names the file
		}
		switch {
		case bytes.Equal(old, f.text):
		case *check:
			faults = append(faults, fmt.Errorf("%s is not what values.yaml says: run `make chart`", f.path))
		default:
			if err := os.WriteFile(f.path, f.text, 0o644); err != nil { //nolint:gosec // everybody may read it
				return err
			}
		}
	}
	return errors.Join(faults...)
}

// file is something generated.
type file struct {
	path string
	text []byte
}

// generate makes the files of a chart; it writes nothing.
func generate(chart string) ([]file, error) {
	path := filepath.Join(chart, "values.yaml")
	text, err := os.ReadFile(path) //nolint:gosec // the user names it
	if err != nil {
		return nil, err
	}
	values, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	schema, err := schemaFile(values)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	readme := filepath.Join(chart, "README.md")
	old, err := os.ReadFile(readme) //nolint:gosec // the user names it
	if err != nil {
		return nil, err
	}
	table, err := insert(old, tables(values))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", readme, err)
	}
	return []file{{filepath.Join(chart, "values.schema.json"), schema}, {readme, table}}, nil
}
