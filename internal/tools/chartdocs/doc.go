// Command chartdocs writes what is said about a Helm chart's values in more than
// one place, from the one place where people read and change it: the comments of
// values.yaml.
//
//	# == Title           begins a section of the table
//	# -- Description.    of the value below; it may go on in more lines of comment
//	# @schema {…}        keywords of JSON schema for it, on one line, as YAML
//
// From them come values.schema.json, closed (a value that the chart does not know is
// an error), and the table between two marks of README.md. A value without a
// description, or whose schema its default does not tell, is an error.
//
//	values.go  the values with their comments
//	schema.go  values.schema.json
//	table.go   the table
//
// With -check nothing is written; what would change is an error.
package main
