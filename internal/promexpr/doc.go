// Package promexpr reads what asks Prometheus: the dashboards and the rules of
// deploy/helm. Tests use it to hold them to what a running sidecar exports, and to
// ask a real Prometheus every one of their expressions.
//
//	expr.go       an expression: does it parse, which metrics does it name
//	dashboard.go  the expressions of a dashboard, and what is wrong with its panels
//	rules.go      the expressions of a rule file
//	known.go      metrics that no sidecar exports by itself, each with its reason
//
// Nothing that serves imports it. The package may read files.
package promexpr
