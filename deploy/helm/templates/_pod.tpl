{{/* Parts of the pods. */}}

{{/* What the restricted Pod Security Standard asks of every container. */}}
{{- define "evenkeel.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{- define "evenkeel.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.runAsUser }}
  runAsGroup: {{ .Values.runAsUser }}
  fsGroup: {{ .Values.runAsUser }}
  # The files of a volume are not walked through at every start.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* Bytes of a Kubernetes quantity. */}}
{{- define "evenkeel.bytes" -}}
{{- $text := ternary (printf "%.0f" (float64 .)) (toString .) (kindIs "float64" .) -}}
{{- $number := regexFind "^[0-9]+([.][0-9]+)?" $text -}}
{{- $unit := trimPrefix $number $text -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- if or (not $number) (not (hasKey $units $unit)) -}}
{{- fail (printf "memory limit %q: want a number of bytes, or one with k, M, G, T, Ki, Mi, Gi or Ti" $text) -}}
{{- end -}}
{{- printf "%.0f" (mulf (float64 $number) (get $units $unit)) -}}
{{- end -}}

{{/* GOMEMLIMIT of a container: Go collects garbage harder before the kernel ends the
     process. The rest is for what Go does not count: stacks of threads, the page cache. */}}
{{- define "evenkeel.goMemoryLimit" -}}
{{- if and .limits.memory .percent -}}
- name: GOMEMLIMIT
  value: {{ divf (mulf (include "evenkeel.bytes" .limits.memory | float64) .percent) 100 | floor | printf "%.0f" | quote }}
{{- end -}}
{{- end -}}

{{/* Limits and requests that are set. */}}
{{- define "evenkeel.resources" -}}
{{- range $what := list "limits" "requests" }}
{{- $set := dict }}
{{- range $name, $value := get $ $what }}
{{- if $value }}{{ $_ := set $set $name $value }}{{ end }}
{{- end }}
{{- if $set }}
{{ $what }}:
  {{- range $name, $value := $set }}
  {{ $name }}: {{ ternary (printf "%v" (int64 $value)) (toString $value) (and (kindIs "float64" $value) (eq (floor $value) $value)) | quote }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Flags of `sidecar run`. */}}
{{- define "evenkeel.args" -}}
{{- $name := include "evenkeel.fullname" . -}}
{{- $port := include "evenkeel.clientsPort" . -}}
- run
- --engine={{ .Values.engine }}
- --listen=:{{ $port }}
- --probe-listen=:9850
- --log-level={{ .Values.logLevel }}
- --log-format={{ .Values.logFormat }}
- --drain-timeout={{ .Values.drainSeconds }}s
- --aofshrink-min-size={{ .Values.compaction.minSize }}
- --aofshrink-growth={{ .Values.compaction.growth }}
{{- if eq .Values.engine "embedded" }}
- --data-dir=/data
- --appendfsync={{ .Values.appendfsync }}
- --min-replicas-to-write={{ .Values.minReplicasToWrite }}
{{- else }}
- --data-dir=/data/evenkeel
- --engine-addr=127.0.0.1:9851
- --engine-dir=/data
# Tile38 keeps the address of its leader over restarts: the bridge is there again.
- --bridge-listen=127.0.0.1:9852
{{- end }}
{{- if include "evenkeel.elects" . }}
- --elect
- --lease-name={{ include "evenkeel.lease" . }}
- --peer-selector={{ include "evenkeel.selector" . | replace ": " "=" | replace "\n" "," }}
- --lease-duration={{ .Values.election.leaseDuration }}
- --renew-deadline={{ .Values.election.renewDeadline }}
- --retry-period={{ .Values.election.retryPeriod }}
- --election-patience={{ .Values.election.patience }}
- --publish-interval={{ .Values.election.publishInterval }}
- --kube-api-timeout={{ .Values.election.apiTimeout }}
{{- else }}
- --follow={{ $name }}-0.{{ include "evenkeel.headless" . }}.{{ .Release.Namespace }}.svc:{{ $port }}
- --lead-on-host={{ $name }}-0
{{- end }}
{{- if .Values.auth.enabled }}
{{- if eq .Values.engine "embedded" }}
- --requirepass-file=/etc/evenkeel/auth/password
- --leaderauth-file=/etc/evenkeel/auth/password
{{- else }}
- --engine-password-file=/etc/evenkeel/auth/password
{{- end }}
{{- end }}
{{- if .Values.tls.enabled }}
- --tls-cert=/etc/evenkeel/tls/tls.crt
- --tls-key=/etc/evenkeel/tls/tls.key
{{- if .Values.tls.clientAuth }}
- --tls-client-ca=/etc/evenkeel/tls/ca.crt
{{- end }}
- --leader-tls
- --leader-tls-ca=/etc/evenkeel/tls/ca.crt
- --leader-tls-name={{ include "evenkeel.tlsName" . }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* The sidecar: the container of the embedded engine, or beside a Tile38. */}}
{{- define "evenkeel.sidecar" -}}
name: sidecar
image: {{ include "evenkeel.sidecarImage" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
  {{- include "evenkeel.args" . | nindent 2 }}
env:
  - name: POD_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  - name: POD_NAMESPACE
    valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
  - name: POD_IP
    valueFrom: {fieldRef: {fieldPath: status.podIP}}
  {{- with include "evenkeel.goMemoryLimit" (dict "limits" .Values.resources.limits "percent" .Values.goMemoryLimitPercent) }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- if and (eq .Values.engine "tile38") .Values.tile38.resources.limits.memory }}
  # Its memory is measured against its own limit, not against the sidecar's.
  - name: EVENKEEL_ENGINE_MEMORY_LIMIT
    value: {{ include "evenkeel.bytes" .Values.tile38.resources.limits.memory | quote }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: clients
    containerPort: {{ include "evenkeel.clientsPort" . }}
  - name: metrics
    containerPort: 9850
# It answers while the log is loaded, too: what is loading is not dead. A Tile38
# in the pod starts after this probe.
startupProbe:
  httpGet: {path: /livez, port: 9850}
  periodSeconds: {{ .Values.probes.startup.periodSeconds }}
  failureThreshold: {{ .Values.probes.startup.failureThreshold }}
livenessProbe:
  httpGet: {path: /livez, port: 9850}
  periodSeconds: {{ .Values.probes.liveness.periodSeconds }}
  timeoutSeconds: {{ .Values.probes.liveness.timeoutSeconds }}
  failureThreshold: {{ .Values.probes.liveness.failureThreshold }}
readinessProbe:
  httpGet: {path: /readyz, port: 9850}
  periodSeconds: {{ .Values.probes.readiness.periodSeconds }}
  timeoutSeconds: {{ .Values.probes.readiness.timeoutSeconds }}
  failureThreshold: {{ .Values.probes.readiness.failureThreshold }}
{{- if include "evenkeel.elects" . }}
lifecycle:
  preStop:
    exec:
      command: [/sidecar, handover, --timeout={{ .Values.election.handoverSeconds }}s]
{{- end }}
{{- with include "evenkeel.resources" .Values.resources }}
resources:
  {{- . | trim | nindent 2 }}
{{- end }}
{{ include "evenkeel.containerSecurity" . }}
volumeMounts:
  - name: data
    mountPath: /data
  {{- if include "evenkeel.elects" . }}
  - name: token
    mountPath: /var/run/secrets/kubernetes.io/serviceaccount
    readOnly: true
  {{- end }}
  {{- if .Values.auth.enabled }}
  - name: auth
    mountPath: /etc/evenkeel/auth
    readOnly: true
  {{- end }}
  {{- if .Values.tls.enabled }}
  - name: tls
    mountPath: /etc/evenkeel/tls
    readOnly: true
  {{- end }}
{{- end -}}

{{/* A stock Tile38. Only its sidecar, on the same loopback address, talks to it. */}}
{{- define "evenkeel.tile38" -}}
name: tile38
image: {{ include "evenkeel.image" (dict "image" .Values.tile38.image "version" "") | quote }}
imagePullPolicy: {{ .Values.tile38.image.pullPolicy }}
command:
  {{- toYaml .Values.tile38.command | nindent 2 }}
args: ["-h", "127.0.0.1", "-p", "9851", "-d", /data{{ range .Values.tile38.extraArgs }}, {{ . | quote }}{{ end }}]
workingDir: /data
{{- with include "evenkeel.goMemoryLimit" (dict "limits" .Values.tile38.resources.limits "percent" .Values.goMemoryLimitPercent) }}
env:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.tile38.preStop }}
lifecycle:
  preStop:
    exec:
      command:
        {{- toYaml . | nindent 8 }}
{{- end }}
{{- with include "evenkeel.resources" .Values.tile38.resources }}
resources:
  {{- . | trim | nindent 2 }}
{{- end }}
{{ include "evenkeel.containerSecurity" . }}
volumeMounts:
  - name: data
    mountPath: /data
{{- end -}}

{{/* A Tile38 takes its password from its directory alone. */}}
{{- define "evenkeel.engineConfig" -}}
name: engine-config
image: {{ include "evenkeel.sidecarImage" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [engine-config, --engine-dir=/data, --engine-password-file=/etc/evenkeel/auth/password]
resources:
  limits: {memory: 64Mi}
  requests: {memory: 64Mi, cpu: 10m}
{{ include "evenkeel.containerSecurity" . }}
volumeMounts:
  - name: data
    mountPath: /data
  - name: auth
    mountPath: /etc/evenkeel/auth
    readOnly: true
{{- end -}}

{{- define "evenkeel.affinity" -}}
{{- if .Values.affinity -}}
affinity:
  {{- toYaml .Values.affinity | nindent 2 }}
{{- else if eq .Values.podAntiAffinity "soft" -}}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "evenkeel.selector" . | nindent 14 }}
{{- else if eq .Values.podAntiAffinity "hard" -}}
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "evenkeel.selector" . | nindent 12 }}
{{- end -}}
{{- end -}}

{{- define "evenkeel.volumes" -}}
{{- if include "evenkeel.elects" . }}
# For the sidecar's container alone, and only because it elects.
- name: token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - {key: ca.crt, path: ca.crt}
      - downwardAPI:
          items:
            - path: namespace
              fieldRef: {fieldPath: metadata.namespace}
{{- end }}
{{- if .Values.auth.enabled }}
- name: auth
  secret:
    secretName: {{ include "evenkeel.authSecret" . }}
    defaultMode: 0440
    items:
      - {key: {{ .Values.auth.key }}, path: password}
{{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "evenkeel.tlsSecret" . }}
    defaultMode: 0440
{{- end }}
{{- if not .Values.persistence.enabled }}
- name: data
  emptyDir: {}
{{- end }}
{{- end -}}
