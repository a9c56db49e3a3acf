package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// The table stands between these lines.
const (
	tableBegin = "<!-- values: written by `make chart` -->\n"
	tableEnd   = "<!-- end of values -->\n"
)

// tables has a table for each section.
func tables(values []*value) []byte {
	var b bytes.Buffer
	section := "\x00"
	for _, v := range leaves(values) {
		if v.section != section {
			section = v.section
			fmt.Fprintf(&b, "\n### %s\n\n| Value | Default | Meaning |\n|---|---|---|\n", section)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.path, inDefault(v), escape(v.description))
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func leaves(values []*value) (all []*value) {
	for _, v := range values {
		if v.children == nil {
			all = append(all, v)
		}
		all = append(all, leaves(v.children)...)
	}
	return all
}

// inDefault is the default as JSON.
func inDefault(v *value) string {
	var value any
	if err := v.node.Decode(&value); err != nil {
		return "" // it was decoded before
	}
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return "`" + escape(string(text)) + "`"
}

func escape(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

// insert puts the tables in their place.
func insert(readme, tables []byte) ([]byte, error) {
	before, rest, begins := bytes.Cut(readme, []byte(tableBegin))
	_, after, ends := bytes.Cut(rest, []byte(tableEnd))
	if !begins || !ends {
		return nil, fmt.Errorf("want the lines %q and %q, between which the table stands", strings.TrimSpace(tableBegin), strings.TrimSpace(tableEnd))
	}
	return bytes.Join([][]byte{before, []byte(tableBegin), tables, []byte(tableEnd), after}, nil), nil
}
