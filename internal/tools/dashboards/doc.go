// Command dashboards writes the Grafana dashboards of deploy/helm/dashboards:
//
//	go run ./internal/tools/dashboards -out deploy/helm/dashboards
//
// They are built here, and the JSON is committed; a test says so when the two
// differ. Another test scrapes running sidecars of both kinds and looks for every
// metric that they ask for (test/e2e).
//
//	main.go        flags, files
//	build.go       panels, variables and annotations, in the terms of the SDK
//	overview.go    memory, latency and log of each pod, and who leads
//	compaction.go  compactions, and what followers do because of them
//	hooks.go       messages: webhooks, channels, live fences
//
// Every dashboard works for the embedded engine and beside a Tile38: where the two
// have different metrics a panel asks for both, and one of them answers.
package main
