package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// keywords are those that a comment may have.
var keywords = []string{
	"type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum",
	"items", "minItems", "maxItems", "properties", "additionalProperties", "required",
}

// types are those of JSON schema by the tags of YAML.
var types = map[string]string{
	"!!str": "string", "!!int": "integer", "!!float": "number", "!!bool": "boolean", "!!seq": "array", "!!map": "object",
}

// schemaFile is values.schema.json.
func schemaFile(values []*value) ([]byte, error) {
	schema, err := object(values)
	if err != nil {
		return nil, err
	}
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	text, err := json.MarshalIndent(schema, "", "  ")
	return append(text, '\n'), err
}

// object is the schema of a mapping. It takes what is named, and nothing else.
func object(values []*value) (map[string]any, error) {
	properties := map[string]any{}
	var faults []error
	for _, v := range values {
		var s map[string]any
		var err error
		if v.children != nil {
			s, err = object(v.children)
		} else {
			s, err = leaf(v)
		}
		if v.description != "" && s != nil {
			s["description"] = v.description
		}
		properties[v.name()] = s
		faults = append(faults, err)
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}, errors.Join(faults...)
}

// leaf is the schema of one value: what its comment says, and the type of its
// default.
func leaf(v *value) (map[string]any, error) {
	s := maps.Clone(v.schema)
	if s == nil {
		s = map[string]any{}
	}
	fault := func(format string, args ...any) error {
		return fmt.Errorf("line %d: %s: %w", v.line, v.path, fmt.Errorf(format, args...))
	}
	for key := range s {
		if !slices.Contains(keywords, key) {
			return nil, fault("@schema has %q; there are %v", key, keywords)
		}
	}
	if s["type"] == nil {
		name, known := types[v.node.ShortTag()]
		if !known {
			return nil, fault("the default does not tell the type: give @schema {type: …}")
		}
		s["type"] = name
	}
	if s["type"] == "array" && s["items"] == nil {
		return nil, fault("what is in the list? Give @schema {items: …}")
	}
	if v.node.Kind == yaml.MappingNode && s["additionalProperties"] == nil {
		return nil, fault("what is in the mapping? Give @schema {additionalProperties: …}")
	}
	return s, nil
}
