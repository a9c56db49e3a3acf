package inject

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds a document whose aliases are written out: a few lines can stand
// for gigabytes.
const maxNodes = 1 << 20

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// get is the value of a key, nil when there is none, or when m is no mapping.
func get(m *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		if m == nil || m.Kind != yaml.MappingNode {
			return nil
		}
		i := index(m, key)
		if i < 0 {
			return nil
		}
		m = m.Content[i+1]
	}
	return m
}

// index is where a key stands in a mapping's content, -1 when it is not there.
func index(m *yaml.Node, key string) int {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key && m.Content[i].Kind == yaml.ScalarNode {
			return i
		}
	}
	return -1
}

// set puts a value where the key's was, or at the end.
func set(m *yaml.Node, key string, value *yaml.Node) {
	if i := index(m, key); i >= 0 {
		m.Content[i+1] = value
		return
	}
	if m.Style&yaml.FlowStyle != 0 && len(m.Content) == 0 {
		m.Style &^= yaml.FlowStyle // "{}" that gets a content
	}
	m.Content = append(m.Content, text(key), value)
}

// drop removes a key.
func drop(m *yaml.Node, key string) {
	if i := index(m, key); i >= 0 {
		m.Content = slices.Delete(m.Content, i, i+2)
	}
}

// str is the text of a scalar, "" for everything else.
func str(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		return ""
	}
	return n.Value
}

// absent: there is nothing, or null.
func absent(n *yaml.Node) bool {
	return n == nil || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// mapping is the mapping under a key, made when it is not there; made says so.
func mapping(m *yaml.Node, key string) (value *yaml.Node, made bool, err error) {
	return child(m, key, yaml.MappingNode)
}

// sequence is the same for a list.
func sequence(m *yaml.Node, key string) (value *yaml.Node, made bool, err error) {
	return child(m, key, yaml.SequenceNode)
}

func child(m *yaml.Node, key string, kind yaml.Kind) (value *yaml.Node, made bool, err error) {
	value = get(m, key)
	if absent(value) {
		value = &yaml.Node{Kind: kind}
		set(m, key, value)
		return value, true, nil
	}
	if value.Kind != kind {
		return nil, false, fmt.Errorf("%s is not what Kubernetes wants there", key)
	}
	return value, false, nil
}

// items are those of a list, each a mapping.
func items(list *yaml.Node) []*yaml.Node {
	if list == nil || list.Kind != yaml.SequenceNode {
		return nil
	}
	var all []*yaml.Node
	for _, n := range list.Content {
		if n.Kind == yaml.MappingNode {
			all = append(all, n)
		}
	}
	return all
}

// named is the item whose name it is.
func named(list *yaml.Node, name string) *yaml.Node {
	for _, n := range items(list) {
		if str(get(n, "name")) == name {
			return n
		}
	}
	return nil
}

// strings of a list of scalars; ok is false for anything else.
func texts(list *yaml.Node) (all []string, ok bool) {
	if absent(list) {
		return nil, true
	}
	if list.Kind != yaml.SequenceNode {
		return nil, false
	}
	for _, n := range list.Content {
		if n.Kind != yaml.ScalarNode {
			return nil, false
		}
		all = append(all, n.Value)
	}
	return all, true
}

// pairs are the entries of a mapping of texts.
func pairs(m *yaml.Node) map[string]string {
	all := map[string]string{}
	if m == nil || m.Kind != yaml.MappingNode {
		return all
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		all[m.Content[i].Value] = str(m.Content[i+1])
	}
	return all
}

// text is a string, quoted unless it can be nothing else.
func text(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if !plain(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// plain: no reader of YAML, of whatever version, takes it for anything but a string.
func plain(s string) bool {
	if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") != "" {
		return false
	}
	for _, r := range s {
		if r > '~' || r <= ' ' || strings.ContainsRune(`:#,[]{}&*!|>'"%@`+"`", r) {
			return false
		}
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf":
		return false
	}
	first := s[0]
	return first >= 'a' && first <= 'z' || first >= 'A' && first <= 'Z' || first == '/' || strings.HasPrefix(s, "--")
}

func number(n int64) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(n)}
}

func boolean(b bool) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(b)}
}

// object is a mapping of alternating keys and values: strings, ints, bools, nodes,
// []string.
func object(pairs ...any) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i+1 < len(pairs); i += 2 {
		var value *yaml.Node
		switch v := pairs[i+1].(type) {
		case string:
			value = text(v)
		case int:
			value = number(int64(v))
		case int64:
			value = number(v)
		case bool:
			value = boolean(v)
		case []string:
			value = list()
			for _, s := range v {
				value.Content = append(value.Content, text(s))
			}
		case *yaml.Node:
			value = v
		}
		key, _ := pairs[i].(string)
		m.Content = append(m.Content, text(key), value)
	}
	return m
}

func list(nodes ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Content: nodes}
}

// clone copies a tree.
func clone(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = make([]*yaml.Node, 0, len(n.Content))
	for _, k := range n.Content {
		c.Content = append(c.Content, clone(k))
	}
	return &c
}

// expand writes out aliases and merges, so that a change is seen in one place only.
func expand(root *yaml.Node) (*yaml.Node, error) {
	left := maxNodes
	var walk func(n *yaml.Node, depth int) (*yaml.Node, error)
	walk = func(n *yaml.Node, depth int) (*yaml.Node, error) {
		if left--; left < 0 || depth > 1000 {
			return nil, errors.New("its aliases stand for too much")
		}
		if n.Kind == yaml.AliasNode {
			return walk(n.Alias, depth+1)
		}
		c := *n
		c.Anchor, c.Content = "", make([]*yaml.Node, 0, len(n.Content))
		for _, k := range n.Content {
			k, err := walk(k, depth+1)
			if err != nil {
				return nil, err
			}
			c.Content = append(c.Content, k)
		}
		return &c, merge(&c)
	}
	return walk(root, 0)
}

// merge writes out the keys "<<" of a mapping.
func merge(m *yaml.Node) error {
	if m.Kind != yaml.MappingNode {
		return nil
	}
	var own, from []*yaml.Node
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		switch {
		case key.ShortTag() != "!!merge":
			own = append(own, key, value)
		case value.Kind == yaml.MappingNode:
			from = append(from, value)
		case value.Kind == yaml.SequenceNode:
			from = append(from, value.Content...)
		default:
			return errors.New(`a key "<<" without a mapping`)
		}
	}
	if from == nil {
		return nil
	}
	m.Content = own
	for _, f := range from {
		if f.Kind != yaml.MappingNode {
			return errors.New(`a key "<<" without a mapping`)
		}
		for i := 0; i+1 < len(f.Content); i += 2 {
			if index(m, f.Content[i].Value) < 0 {
				m.Content = append(m.Content, clone(f.Content[i]), clone(f.Content[i+1]))
			}
		}
	}
	return nil
}

// aliased: the tree has an alias.
func aliased(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || slices.ContainsFunc(n.Content, aliased)
}

// same compares what two trees mean; comments, styles and places do not count.
func same(a, b *yaml.Node) bool {
	if a.Kind == yaml.AliasNode {
		a = a.Alias
	}
	if b.Kind == yaml.AliasNode {
		b = b.Alias
	}
	if a.Kind != b.Kind || len(a.Content) != len(b.Content) {
		return false
	}
	if a.Kind == yaml.ScalarNode && (a.ShortTag() != b.ShortTag() || a.Value != b.Value) {
		return false
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}
