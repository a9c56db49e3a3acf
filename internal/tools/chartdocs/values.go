package main

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What comments begin with.
const (
	sectionMark     = "# == "
	descriptionMark = "# -- "
	schemaMark      = "# @schema "
)

// value is one value of the chart, or several with a common beginning of their
// names.
type value struct {
	path        string // with dots
	line        int
	section     string
	description string
	schema      map[string]any // keywords of the comment
	node        *yaml.Node
	children    []*value // in their order; none: a leaf
}

// name is the last part of the path.
func (v *value) name() string { return v.path[strings.LastIndexByte(v.path, '.')+1:] }

// parse reads values with their comments, and lists every fault.
func parse(text []byte) ([]*value, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	if len(document.Content) == 0 || document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("want a mapping")
	}
	r := &reader{lines: strings.Split(string(text), "\n")}
	values := r.mapping("", document.Content[0])
	return values, errors.Join(r.faults...)
}

type reader struct {
	lines  []string
	faults []error
}

func (r *reader) fault(v *value, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("line %d: %s: %w", v.line, v.path, fmt.Errorf(format, args...)))
}

// mapping reads what a mapping has.
func (r *reader) mapping(prefix string, m *yaml.Node) (values []*value) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, node := m.Content[i], m.Content[i+1]
		v := &value{path: prefix + key.Value, line: key.Line, section: r.section(key.Line), node: node}
		r.comment(v)
		_, open := v.schema["additionalProperties"]
		if node.Kind == yaml.MappingNode && len(node.Content) > 0 && !open {
			v.children = r.mapping(v.path+".", node)
		} else if v.description == "" {
			r.fault(v, "wants a comment that begins with %q", descriptionMark)
		}
		values = append(values, v)
	}
	return values
}

// comment reads the lines of comment right above a value.
func (r *reader) comment(v *value) {
	first := v.line - 1 // lines count from 1: the value's own
	for first > 0 && strings.HasPrefix(strings.TrimSpace(r.lines[first-1]), "#") {
		first--
	}
	var words []string
	for _, line := range r.lines[first : v.line-1] {
		line = strings.TrimSpace(line)
		description, begins := strings.CutPrefix(line, descriptionMark)
		schema, isSchema := strings.CutPrefix(line, schemaMark)
		switch {
		case isSchema:
			if err := yaml.Unmarshal([]byte(schema), &v.schema); err != nil {
				r.fault(v, "@schema: %w", err)
			}
		case begins:
			words = []string{description}
		case len(words) > 0:
			words = append(words, strings.TrimSpace(strings.TrimPrefix(line, "#")))
		}
	}
	v.description = strings.Join(words, " ")
}

// section is the last title above a line.
func (r *reader) section(line int) string {
	for i := line - 1; i > 0; i-- {
		if title, ok := strings.CutPrefix(r.lines[i-1], sectionMark); ok {
			return title
		}
	}
	return ""
}
