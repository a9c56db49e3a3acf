package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"evenkeel/internal/promexpr"
)

// committed is where the dashboards are.
const committed = "../../../deploy/helm/dashboards"

// TestDrift: the committed files are what the program writes, and there are no
// others.
func TestDrift(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(committed, "*"))
	if err != nil {
		t.Fatal(err)
	}
	made := t.TempDir()
	if err := write(made); err != nil {
		t.Fatal(err)
	}
	if len(files) != len(boards()) {
		t.Errorf("%d files, want %d: make dashboards", len(files), len(boards()))
	}
	for name := range boards() {
		want, err := os.ReadFile(filepath.Join(made, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(committed, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what internal/tools/dashboards writes (%v): make dashboards", name, err)
		}
	}
	if err := write(filepath.Join(made, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// TestStrict: every word of the committed files is one that Grafana's schema knows.
func TestStrict(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	for name := range boards() {
		text, err := os.ReadFile(filepath.Join(committed, name))
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard.Dashboard //nolint:staticcheck // what is written
		if err := d.UnmarshalJSONStrict(text); some(err) {
			t.Errorf("%s: %v", name, err)
		}
		var wrong dashboard.Dashboard //nolint:staticcheck // what is written
		if err := wrong.UnmarshalJSONStrict(bytes.Replace(text, []byte(`"gridPos"`), []byte(`"gridpos"`), 1)); !some(err) {
			t.Error("an unknown word passes")
		}
	}
}

// some tells whether there is an error: the SDK returns an empty list for none.
func some(err error) bool {
	var list cog.BuildErrors
	return err != nil && (!errors.As(err, &list) || len(list) > 0)
}

// TestWaits: the alert on latency leaves out the same commands.
func TestWaits(t *testing.T) {
	rules, err := os.ReadFile("../../../deploy/helm/rules/evenkeel.yaml")
	if err != nil || strings.Count(string(rules), `command!~"`+waits+`"`) != 1 {
		t.Errorf("deploy/helm/rules/evenkeel.yaml does not leave out %s, %v", waits, err)
	}
}

// TestPanels: panels are whole, lie beside each other, and ask what can be asked.
func TestPanels(t *testing.T) {
	ds, err := promexpr.Dashboards(committed)
	if err != nil {
		t.Fatal(err)
	}
	uids := map[string]bool{}
	for _, d := range ds {
		for _, f := range d.Faults() {
			t.Error(f)
		}
		if uids[d.UID] || d.UID == "" {
			t.Errorf("%s: uid %q", d.File, d.UID)
		}
		uids[d.UID] = true
		exprs := d.Exprs()
		if len(exprs) < len(d.Panels) {
			t.Errorf("%s: %d expressions of %d panels", d.File, len(exprs), len(d.Panels))
		}
		for _, e := range exprs {
			if _, err := e.Selectors(); err != nil {
				t.Error(err)
			}
		}
	}
}
