package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestChart: the chart of this repository says the same everywhere.
func TestChart(t *testing.T) {
	if err := run([]string{"-check", "-chart", "../../../deploy/helm"}, io.Discard); err != nil {
		t.Error(err)
	}
}

const readme = "# Chart\n\n" + tableBegin + "old\n" + tableEnd + "\nThe end.\n"

// chart is a chart with these values.
func chart(t *testing.T, values string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"values.yaml": values, "README.md": readme} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const good = `# Not about a value.

# == First
# -- How many,
# or more.
# @schema {minimum: 1}
count: 3
group:
  # -- A name | or another.
  name: ""
  # -- May be nothing.
  # @schema {type: [string, "null"]}
  none: null

# == Second

# -- Anything.
# @schema {additionalProperties: {type: string}}
labels: {a: "1"}
# -- On?
on: false
# -- Words.
# @schema {items: {type: string}}
words: [x]
`

func TestGenerate(t *testing.T) {
	dir := chart(t, good)
	check := []string{"-check", "-chart", dir}
	if err := run(check, io.Discard); err == nil || !strings.Contains(err.Error(), "README.md is not what") || !strings.Contains(err.Error(), "values.schema.json is not what") {
		t.Errorf("nothing was made yet: %v", err)
	}
	if err := run([]string{"-chart", dir}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := run(check, io.Discard); err != nil {
		t.Error(err)
	}
	want := "# Chart\n\n" + tableBegin + `
### First

| Value | Default | Meaning |
|---|---|---|
| ` + "`count` | `3`" + ` | How many, or more. |
| ` + "`group.name` | `\"\"`" + ` | A name \| or another. |
| ` + "`group.none` | `null`" + ` | May be nothing. |

### Second

| Value | Default | Meaning |
|---|---|---|
| ` + "`labels` | `{\"a\":\"1\"}`" + ` | Anything. |
| ` + "`on` | `false`" + ` | On? |
| ` + "`words` | `[\"x\"]`" + ` | Words. |

` + tableEnd + "\nThe end.\n"
	if got := read(t, dir, "README.md"); got != want {
		t.Errorf("README.md:\n%s\nwant:\n%s", got, want)
	}
	var schema struct {
		Additional *bool `json:"additionalProperties"`
		Properties struct {
			Count, Labels, Words map[string]any
			Group                struct {
				Additional *bool `json:"additionalProperties"`
				Properties map[string]map[string]any
			}
		}
	}
	if err := json.Unmarshal([]byte(read(t, dir, "values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	p := schema.Properties
	if schema.Additional == nil || *schema.Additional || p.Group.Additional == nil || *p.Group.Additional {
		t.Error("the schema is open")
	}
	if p.Count["type"] != "integer" || p.Count["minimum"] != 1.0 || p.Count["description"] != "How many, or more." ||
		p.Labels["type"] != "object" || p.Words["type"] != "array" || p.Group.Properties["name"]["type"] != "string" {
		t.Errorf("%+v", schema)
	}
}

func TestFaults(t *testing.T) {
	for values, want := range map[string]string{
		"a: 1\n":               `line 1: a: wants a comment`,
		"g:\n  a: 1\n  b: 2\n": "line 2: g.a: wants a comment that begins with \"# -- \"\nline 3: g.b",
		"# -- A.\na: null\n":   "line 2: a: the default does not tell the type",
		"# -- A.\na: []\n":     "line 2: a: what is in the list?",
		"# -- A.\na: {}\n":     "line 2: a: what is in the mapping?",
		"# -- A.\n# @schema {minimun: 1}\na: 1\n": `line 3: a: @schema has "minimun"`,
		"# -- A.\n# @schema {minimum\na: 1\n":     "line 3: a: @schema: yaml",
		"# -- A.\n\na: 1\n":                       "line 3: a: wants a comment",
		"- 1\n":                                   "want a mapping",
		"":                                        "want a mapping",
		"a: [\n":                                  "yaml: ",
	} {
		err := run([]string{"-chart", chart(t, values)}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", values, err, want)
		}
	}
	dir := chart(t, good)
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("# Chart\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"-chart", dir}, io.Discard); err == nil || !strings.Contains(err.Error(), "between which the table stands") {
		t.Errorf("no place for the table: %v", err)
	}
}
