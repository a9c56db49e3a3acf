package inject

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Outcome is what became of an object.
type Outcome string

// The outcomes. Of an object that is no workload nothing is said.
const (
	Injected Outcome = "injected"
	Marked   Outcome = "marked"
	Restored Outcome = "restored"
	Skipped  Outcome = "skipped"
	Refused  Outcome = "refused" // it is as it was; Why says what to do
)

// Report is what became of one object.
type Report struct {
	Kind      string   `json:"kind"`
	Name      string   `json:"name"`
	Namespace string   `json:"namespace,omitempty"`
	Outcome   Outcome  `json:"outcome"`
	Why       string   `json:"why,omitempty"`
	Notes     []string `json:"notes,omitempty"`
}

// Inject puts the sidecar into every workload with a Tile38 in a stream of
// manifests, YAML or JSON. The error is about the stream as a whole; then there is no
// output.
func Inject(stream []byte, o Options) ([]byte, []Report, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	return each(stream, o.MaxBytes, o.one)
}

// Restore takes it out of every workload that Inject has changed. maxBytes bounds the
// stream; 0 is DefaultMaxBytes.
func Restore(stream []byte, maxBytes int) ([]byte, []Report, error) {
	if maxBytes == 0 {
		maxBytes = DefaultMaxBytes
	}
	return each(stream, maxBytes, func(holder *yaml.Node, r *Report) error {
		r.Outcome = Restored
		return restore(holder)
	})
}

// one injects one pod.
func (o *Options) one(holder *yaml.Node, r *Report) error {
	r.Outcome = Injected
	if o.Mark {
		r.Outcome = Marked
	}
	p, err := o.inject(holder)
	if err == nil && !o.Mark {
		r.Why, r.Notes = p.String(), p.notes
	}
	return err
}

// each has do change the pods of a stream.
func each(stream []byte, maxBytes int, do func(holder *yaml.Node, r *Report) error) ([]byte, []Report, error) {
	if len(stream) > maxBytes {
		return nil, nil, fmt.Errorf("more than %d bytes", maxBytes)
	}
	var out bytes.Buffer
	var all []Report
	line := 1
	for _, doc := range split(stream) {
		changed, reports, err := document(doc, do)
		if err != nil {
			return nil, nil, fmt.Errorf("the document at line %d: %w", line, err)
		}
		line += bytes.Count(doc, []byte("\n"))
		out.Write(changed)
		all = append(all, reports...)
	}
	return out.Bytes(), all, nil
}

// split cuts a stream into documents, each with the marker before it. Put together
// they are the stream.
func split(stream []byte) (docs [][]byte) {
	from, directive := 0, false
	for at := 0; at < len(stream); {
		end := len(stream)
		if i := bytes.IndexByte(stream[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		line := stream[at:end]
		switch {
		case marks(line, "---") && directive:
			directive = false // it belongs to the directives before it
		case marks(line, "---") && at > from:
			docs, from = append(docs, stream[from:at]), at
		case marks(line, "..."):
			docs, from = append(docs, stream[from:end]), end
		case line[0] == '%' && len(bytes.TrimSpace(stream[from:at])) == 0:
			directive = true
		}
		at = end
	}
	if from < len(stream) {
		docs = append(docs, stream[from:])
	}
	return docs
}

// marks: a line is a document's marker.
func marks(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0)
}

// document changes one. It passes as it is unless something in it is changed.
func document(doc []byte, do func(*yaml.Node, *Report) error) ([]byte, []Report, error) {
	root, err := parse(doc)
	if err != nil {
		return nil, nil, err
	}
	if root == nil || root.Content[0].Kind != yaml.MappingNode {
		return doc, nil, nil
	}
	if aliased(root) {
		if root, err = expand(root); err != nil {
			return nil, nil, err
		}
	}
	reports, changed := resource(root.Content[0], do)
	if !changed {
		return doc, reports, nil
	}
	out, err := encode(root, doc)
	if err != nil {
		return nil, nil, err
	}
	if marker, _, _ := bytes.Cut(doc, []byte("\n")); marks(append(marker, '\n'), "---") {
		out = append([]byte("---\n"), out...)
	}
	if marks(lastLine(doc), "...") {
		out = append(out, "...\n"...)
	}
	return out, reports, nil
}

func lastLine(doc []byte) []byte {
	doc = bytes.TrimRight(doc, "\n")
	return doc[bytes.LastIndexByte(doc, '\n')+1:]
}

// workloads have pods that run for ever; where the pod stands in them.
var workloads = map[string][]string{
	"Pod": {}, "Deployment": {"spec", "template"}, "StatefulSet": {"spec", "template"}, "DaemonSet": {"spec", "template"},
	"ReplicaSet": {"spec", "template"}, "ReplicationController": {"spec", "template"},
}

// jobs have pods that come to an end.
var jobs = map[string][]string{
	"Job": {"spec", "template"}, "CronJob": {"spec", "jobTemplate", "spec", "template"},
}

// resource changes an object, or those of a list.
func resource(n *yaml.Node, do func(*yaml.Node, *Report) error) (reports []Report, changed bool) {
	kind := str(get(n, "kind"))
	if kind == "List" || strings.HasSuffix(kind, "List") && get(n, "items") != nil {
		for _, item := range items(get(n, "items")) {
			r, c := resource(item, do)
			reports, changed = append(reports, r...), changed || c
		}
		return reports, changed
	}
	group, _, versioned := strings.Cut(str(get(n, "apiVersion")), "/")
	if versioned && !slices.Contains([]string{"apps", "extensions", "batch"}, group) {
		return nil, false
	}
	r := Report{Kind: kind, Name: nameOf(n), Namespace: str(get(n, "metadata", "namespace"))}
	if at, ok := jobs[kind]; ok {
		if !slices.ContainsFunc(items(get(get(n, at...), "spec", "containers")), runsTile38) {
			return nil, false
		}
		r.Outcome, r.Why = Skipped, "its pods come to an end, and a sidecar is for a Tile38 that does not"
		return []Report{r}, false
	}
	at, ok := workloads[kind]
	if !ok {
		return nil, false
	}
	holder := get(n, at...)
	if holder == nil || holder.Kind != yaml.MappingNode {
		return nil, false
	}
	// Nothing is half done: what is changed is a copy until all of it has worked.
	work := clone(holder)
	err := do(work, &r)
	why, skipped := errors.AsType[skip](err)
	switch {
	case skipped:
		r.Outcome, r.Why = Skipped, string(why)
	case err != nil:
		r.Outcome, r.Why = Refused, strings.ReplaceAll(err.Error(), "\n", "; ")
	default:
		*holder = *work
		changed = true
	}
	return []Report{r}, changed
}

func nameOf(n *yaml.Node) string {
	if name := str(get(n, "metadata", "name")); name != "" {
		return name
	}
	return str(get(n, "metadata", "generateName"))
}
