package inject

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parse reads one document; nil when there is none in it.
func parse(doc []byte) (root *yaml.Node, err error) {
	var n yaml.Node
	if err := yaml.Unmarshal(doc, &n); err != nil {
		return nil, err
	}
	if n.Kind != yaml.DocumentNode || len(n.Content) != 1 {
		return nil, nil
	}
	return &n, nil
}

// encode writes a document as the original was written.
func encode(doc *yaml.Node, original []byte) ([]byte, error) {
	if isJSON(original) {
		var b bytes.Buffer
		if err := writeJSON(&b, doc.Content[0]); err != nil {
			return nil, err
		}
		var out bytes.Buffer
		if err := json.Indent(&out, b.Bytes(), "", "    "); err != nil {
			return nil, err
		}
		return append(out.Bytes(), '\n'), nil
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	step, compact := indents(doc)
	enc.SetIndent(step)
	if compact {
		enc.CompactSeqIndent()
	}
	if err := errors.Join(enc.Encode(doc), enc.Close()); err != nil {
		return nil, err
	}
	again, err := parse(b.Bytes())
	if err != nil || again == nil || !same(doc, again) {
		return nil, errors.New("it cannot be written as YAML so that it means the same; give it as JSON (kubectl get -o json)")
	}
	return b.Bytes(), nil
}

func isJSON(doc []byte) bool {
	t := bytes.TrimSpace(doc)
	return len(t) > 0 && t[0] == '{' && json.Valid(t)
}

// indents finds out how a document indents mappings, and whether lists stand at the
// column of their key.
func indents(root *yaml.Node) (step int, compact bool) {
	var found, decided bool
	step = 2
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle == 0 {
			for i := 0; i+1 < len(n.Content); i += 2 {
				key, value := n.Content[i], n.Content[i+1]
				if value.Style&yaml.FlowStyle != 0 || value.Column == 0 || value.Line == key.Line {
					continue
				}
				by := value.Column - key.Column
				switch {
				case value.Kind == yaml.SequenceNode && !decided:
					compact, decided = by == 0, true
				case value.Kind == yaml.MappingNode && !found && by >= 2 && by <= 8:
					step, found = by, true
				}
			}
		}
		for _, c := range n.Content {
			walk(c)
		}
	}
	walk(root)
	return step, compact
}

// writeJSON writes a tree, in its order.
func writeJSON(b *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.AliasNode:
		return errors.New("an alias has no JSON")
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := quote(b, n.Content[i].Value); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := writeJSON(b, n.Content[i+1]); err != nil {
				return err
			}
		}
		b.WriteByte('}')
		return nil
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, c); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	}
	return scalarJSON(b, n)
}

func scalarJSON(b *bytes.Buffer, n *yaml.Node) error {
	switch n.ShortTag() {
	case "!!null":
		b.WriteString("null")
	case "!!bool":
		b.WriteString(strings.ToLower(n.Value))
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			b.WriteString(n.Value)
			return nil
		}
		var v any
		if err := n.Decode(&v); err != nil {
			return err
		}
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("%s: %w", n.Value, err)
		}
		b.Write(text)
	default:
		return quote(b, n.Value)
	}
	return nil
}

// quote writes a string; <, > and & as they are.
func quote(b *bytes.Buffer, s string) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the line's end
	return nil
}

// fromJSON reads a tree that will be written as YAML, or as JSON.
func fromJSON(text []byte) (*yaml.Node, error) {
	doc, err := parse(text)
	if err != nil || doc == nil {
		return nil, fmt.Errorf("no JSON: %w", err)
	}
	n := doc.Content[0]
	restyle(n)
	return n, nil
}

// restyle takes the styles of JSON out.
func restyle(n *yaml.Node) {
	n.Line, n.Column = 0, 0
	n.Style &^= yaml.FlowStyle
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		*n = *text(n.Value)
	}
	for _, c := range n.Content {
		restyle(c)
	}
}
