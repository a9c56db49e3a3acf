package promexpr

// Elsewhere are the metrics that the dashboards and rules may name though a sidecar
// that runs by itself does not export them, and why. Every other one has to be there.
func Elsewhere() map[string]string {
	return map[string]string{
		"up": "of Prometheus: whether the last scrape succeeded",

		"evenkeel_memory_cgroup_limit_bytes": "only where a limit applies to the container",

		"evenkeel_webhook_certificates_failing": "of an injector that makes its certificates by itself",

		// Of pods that elect their leader.
		"evenkeel_election_transitions_total": "only with an election",
		"evenkeel_lease_renew_seconds":        "only with an election",
		"evenkeel_lease_failsafe":             "only with an election",
		"evenkeel_fence_remaining_seconds":    "only with an election",
	}
}
