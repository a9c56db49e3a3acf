{{/* What no schema can say: values that do not go together. All faults at once. */}}
{{- define "evenkeel.validate" -}}
{{- $v := .Values -}}
{{- $faults := list -}}
{{- $needed := add (mul 3 $v.drainSeconds) (ternary $v.election.handoverSeconds 0 (eq (include "evenkeel.elects" .) "true")) -}}
{{- if le (int64 $v.terminationGracePeriodSeconds) (int64 $needed) -}}
{{- $faults = append $faults (printf "terminationGracePeriodSeconds %v: want more than %v, which are three times drainSeconds and, with an election, election.handoverSeconds" $v.terminationGracePeriodSeconds $needed) -}}
{{- end -}}
{{- if and (include "evenkeel.elects" .) $v.rbac.create (gt (int $v.replicas) (int $v.rbac.maxPods)) -}}
{{- $faults = append $faults (printf "replicas %v: rbac.maxPods allows the election %v pods" $v.replicas $v.rbac.maxPods) -}}
{{- end -}}
{{- if and (gt (int $v.minReplicasToWrite) 0) (ne $v.engine "embedded") -}}
{{- $faults = append $faults "minReplicasToWrite: a Tile38 acknowledges by itself; leave it 0 with engine tile38" -}}
{{- else if ge (int $v.minReplicasToWrite) (int $v.replicas) -}}
{{- $faults = append $faults (printf "minReplicasToWrite %v: with %v replicas there are %v followers, so no write would be acknowledged" $v.minReplicasToWrite $v.replicas (sub $v.replicas 1)) -}}
{{- end -}}
{{- if and $v.auth.existingSecret (not $v.auth.enabled) -}}
{{- $faults = append $faults "auth.existingSecret: set auth.enabled, or nobody is asked for a password" -}}
{{- end -}}
{{- if and $v.tls.enabled (not $v.tls.existingSecret) (not $v.tls.certManager.enabled) -}}
{{- $faults = append $faults "tls.enabled: name tls.existingSecret, or set tls.certManager.enabled" -}}
{{- end -}}
{{- if and (not $v.tls.enabled) (or $v.tls.existingSecret $v.tls.certManager.enabled $v.tls.clientAuth) -}}
{{- $faults = append $faults "tls: set tls.enabled, or nothing is encrypted" -}}
{{- end -}}
{{- if and $v.tls.existingSecret $v.tls.certManager.enabled -}}
{{- $faults = append $faults "tls: existingSecret and certManager.enabled: want one of the two" -}}
{{- end -}}
{{- if and $v.tls.certManager.enabled (not $v.tls.certManager.issuerRef.name) -}}
{{- $faults = append $faults "tls.certManager.issuerRef.name: want the name of an issuer" -}}
{{- end -}}
{{- if and $v.serviceMonitor.enabled $v.podMonitor.enabled -}}
{{- $faults = append $faults "serviceMonitor and podMonitor: every metric would be read twice; want one of the two" -}}
{{- end -}}
{{- if not (or $v.server.enabled $v.injector.enabled) -}}
{{- $faults = append $faults "server.enabled, injector.enabled: nothing would be installed; want one of the two, or both" -}}
{{- end -}}
{{- if and $v.injector.enabled $v.injector.certManager.enabled (not $v.injector.certManager.issuerRef.name) -}}
{{- $faults = append $faults "injector.certManager.issuerRef.name: want the name of an issuer" -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "\n\n  * %s\n" (join "\n  * " $faults)) -}}
{{- end -}}
{{- end -}}
