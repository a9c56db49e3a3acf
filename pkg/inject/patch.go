package inject

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value,omitempty"`
}

// Patch returns the JSON patch that injects a pod, given as JSON, and nil when there
// is nothing to do.
func Patch(podJSON []byte, o Options) ([]byte, Report, error) {
	o.EnsureDefaults()
	o.Mark = false
	if err := o.Validate(); err != nil {
		return nil, Report{}, err
	}
	if len(podJSON) > o.MaxBytes {
		return nil, Report{}, fmt.Errorf("more than %d bytes", o.MaxBytes)
	}
	if !isJSON(podJSON) {
		return nil, Report{}, fmt.Errorf("the pod is no JSON object")
	}
	root, err := parse(podJSON)
	if err != nil {
		return nil, Report{}, err
	}
	before := root.Content[0]
	set(before, "kind", text("Pod")) // a request's object may leave it out
	after := clone(before)
	reports, changed := resource(after, o.one)
	if len(reports) != 1 {
		return nil, Report{}, fmt.Errorf("apiVersion %q is not a pod's", str(get(before, "apiVersion")))
	}
	if !changed {
		return nil, reports[0], nil
	}
	ops := []operation{}
	if err := difference(&ops, "", before, after); err != nil {
		return nil, Report{}, err
	}
	patch, err := json.Marshal(ops)
	return patch, reports[0], err
}

var pointer = strings.NewReplacer("~", "~0", "/", "~1")

// difference appends what makes b of a.
func difference(ops *[]operation, at string, a, b *yaml.Node) error {
	switch {
	case same(a, b):
		return nil
	case a.Kind == yaml.MappingNode && b.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(a.Content); i += 2 {
			key := a.Content[i].Value
			if get(b, key) == nil {
				*ops = append(*ops, operation{Op: "remove", Path: at + "/" + pointer.Replace(key)})
			}
		}
		for i := 0; i+1 < len(b.Content); i += 2 {
			key, value := b.Content[i].Value, b.Content[i+1]
			here := at + "/" + pointer.Replace(key)
			var err error
			if old := get(a, key); old != nil {
				err = difference(ops, here, old, value)
			} else {
				err = appendOp(ops, "add", here, value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	case a.Kind == yaml.SequenceNode && b.Kind == yaml.SequenceNode && len(a.Content) <= len(b.Content) && mappings(a):
		for i, item := range a.Content {
			if err := difference(ops, at+"/"+strconv.Itoa(i), item, b.Content[i]); err != nil {
				return err
			}
		}
		for _, item := range b.Content[len(a.Content):] {
			if err := appendOp(ops, "add", at+"/-", item); err != nil {
				return err
			}
		}
		return nil
	}
	return appendOp(ops, "replace", at, b)
}

// mappings: every item is one.
func mappings(list *yaml.Node) bool {
	return !slices.ContainsFunc(list.Content, func(n *yaml.Node) bool { return n.Kind != yaml.MappingNode })
}

func appendOp(ops *[]operation, op, at string, value *yaml.Node) error {
	var b bytes.Buffer
	if err := writeJSON(&b, value); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	*ops = append(*ops, operation{Op: op, Path: at, Value: b.Bytes()})
	return nil
}
