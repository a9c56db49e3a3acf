package inject

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// recordVersion is that of the annotation's format.
const recordVersion = 1

// record is what was there, as AnnotationInjected keeps it.
type record struct {
	Version   int                        `json:"version"`
	Container string                     `json:"container"`        // that was changed
	Was       map[string]json.RawMessage `json:"was,omitempty"`    // its fields that are other now
	Absent    []string                   `json:"absent,omitempty"` // its fields that were not there
	Where     string                     `json:"where"`            // the list that the sidecar is in
	// Annotations that were added, beside this one.
	Annotations []string `json:"annotations,omitempty"`
	// What was made for the sidecar, to be removed when it is empty.
	MadeList        bool `json:"made_list,omitempty"`
	MadeVolumes     bool `json:"made_volumes,omitempty"`
	MadeAnnotations bool `json:"made_annotations,omitempty"`
	MadeMeta        bool `json:"made_metadata,omitempty"`
}

// remember notes the fields of a container that have changed.
func (r *record) remember(before, after *yaml.Node) error {
	r.Version = recordVersion
	r.Was = map[string]json.RawMessage{}
	for _, key := range []string{"command", "args", "ports", "startupProbe", "livenessProbe", "readinessProbe"} {
		was, is := get(before, key), get(after, key)
		switch {
		case was == nil && is == nil, was != nil && is != nil && same(was, is):
		case was == nil:
			r.Absent = append(r.Absent, key)
		default:
			var b bytes.Buffer
			if err := writeJSON(&b, was); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			r.Was[key] = b.Bytes()
		}
	}
	return nil
}

func (r *record) text() (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return "", err
	}
	return string(bytes.TrimSpace(b.Bytes())), nil
}

// restore takes out what was injected, from the metadata and spec of a pod.
func restore(holder *yaml.Node) error {
	meta, spec := get(holder, "metadata"), get(holder, "spec")
	annotations := get(meta, "annotations")
	if str(get(annotations, annotationMarked)) != "" {
		return unmark(holder)
	}
	value := str(get(annotations, AnnotationInjected))
	if value == "" {
		return skip("it is not injected")
	}
	var r record
	if err := json.Unmarshal([]byte(value), &r); err != nil {
		return fmt.Errorf("annotation %s: %w", AnnotationInjected, err)
	}
	if r.Version != recordVersion {
		return fmt.Errorf("annotation %s: version %d is not known here; take the sidecar's version that wrote it", AnnotationInjected, r.Version)
	}
	if r.Where != "containers" && r.Where != "initContainers" {
		return fmt.Errorf("annotation %s: where %q is no list of containers", AnnotationInjected, r.Where)
	}
	c := named(get(spec, "containers"), r.Container)
	if c == nil {
		return fmt.Errorf("container %s, which was changed, is not there any more", r.Container)
	}
	if err := r.undo(c); err != nil {
		return err
	}
	removeNamed(spec, r.Where, r.MadeList)
	removeNamed(spec, "volumes", r.MadeVolumes)
	for _, key := range append(r.Annotations, AnnotationInjected) {
		drop(annotations, key)
	}
	prune(meta, "annotations", r.MadeAnnotations)
	prune(holder, "metadata", r.MadeMeta)
	return nil
}

// undo gives a container its fields back.
func (r *record) undo(c *yaml.Node) error {
	for _, key := range r.Absent {
		drop(c, key)
	}
	var faults []error
	for _, key := range sorted(r.Was) {
		n, err := fromJSON(r.Was[key])
		if err != nil {
			faults = append(faults, fmt.Errorf("annotation %s, %s: %w", AnnotationInjected, key, err))
			continue
		}
		set(c, key, n)
	}
	return errors.Join(faults...)
}

// removeNamed takes the sidecar's item out of a list.
func removeNamed(m *yaml.Node, key string, made bool) {
	list := get(m, key)
	if list == nil || list.Kind != yaml.SequenceNode {
		return
	}
	list.Content = slices.DeleteFunc(list.Content, func(n *yaml.Node) bool { return str(get(n, "name")) == sidecarName })
	prune(m, key, made)
}

// prune removes what was made and has become empty.
func prune(m *yaml.Node, key string, made bool) {
	if n := get(m, key); made && n != nil && len(n.Content) == 0 {
		drop(m, key)
	}
}

// unmark takes the label for the webhook off.
func unmark(holder *yaml.Node) error {
	meta := get(holder, "metadata")
	drop(get(meta, "annotations"), annotationMarked)
	prune(meta, "annotations", true)
	if labels := get(meta, "labels"); labels != nil && labels.Kind == yaml.MappingNode {
		drop(labels, AnnotationInject)
		prune(meta, "labels", true)
	}
	prune(holder, "metadata", true)
	return nil
}
