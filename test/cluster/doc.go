// Package cluster proves the chart on a real Kubernetes cluster: it installs releases,
// hurts them while clients write and read, and compares afterwards what clients were told with
// what is there.
//
//	main_test.go      what the tests are given, commands, the table of figures
//	release_test.go   a release in a namespace of its own: install, wait, look, dump
//	labels_test.go    never two pods labelled leader
//	traffic_test.go   clients, what they were told, and whether it is true
//	kit_test.go       processes, cables and volumes of nodes
//	lifecycle_test.go install, upgrade, scale, evict, uninstall
//	failover_test.go  the leader dies, stands still, is cut off; the API server is away
//	prometheus_test.go a real Prometheus: dashboards and alerts
//	injection_test.go the webhook
//	data_test.go      full disks, lost and copied volumes, compaction
//
// `make e2e` runs them. They need helm and kubectl, a cluster that KUBECONFIG names and
// whose pods and Services can be reached from here, and EVENKEEL_IMAGE, an image of the sidecar
// that the cluster's nodes have; without they are skipped. Tests of what happens to
// nodes need the cluster kit as well (EVENKEEL_KIT=yes, set within `cluster run`), whose nodes
// are processes of the same machine.
package cluster
