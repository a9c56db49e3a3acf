{{/* Names, labels, addresses. */}}

{{/* 50 characters: StatefulSet and Services add theirs, and a label holds 63. */}}
{{- define "evenkeel.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "evenkeel.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* What the pods are found by; it can never change. */}}
{{- define "evenkeel.selector" -}}
app.kubernetes.io/name: {{ include "evenkeel.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{/* Labels of every object but the component. */}}
{{- define "evenkeel.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "evenkeel.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Chart.AppVersion }}
app.kubernetes.io/version: {{ . | quote }}
{{- end }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "evenkeel.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "evenkeel.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "evenkeel.lease" -}}{{ include "evenkeel.fullname" . }}-leader{{- end -}}
{{- define "evenkeel.headless" -}}{{ include "evenkeel.fullname" . }}-headless{{- end -}}

{{/* "true" when the pods elect their leader. */}}
{{- define "evenkeel.elects" -}}
{{- if and (eq .Values.engine "embedded") .Values.election.enabled -}}true{{- end -}}
{{- end -}}

{{/* The sidecar's port: a Tile38 in the pod has 9851 itself. */}}
{{- define "evenkeel.clientsPort" -}}{{ ternary 9851 9861 (eq .Values.engine "embedded") }}{{- end -}}

{{- define "evenkeel.image" -}}
{{- $tag := .image.tag | default .version -}}
{{- if .image.digest -}}{{ .image.repository }}@{{ .image.digest }}{{- else -}}{{ .image.repository }}:{{ $tag }}{{- end -}}
{{- end -}}

{{- define "evenkeel.sidecarImage" -}}
{{- include "evenkeel.image" (dict "image" .Values.image "version" .Chart.AppVersion) -}}
{{- end -}}

{{- define "evenkeel.authSecret" -}}{{ default (printf "%s-auth" (include "evenkeel.fullname" .)) .Values.auth.existingSecret }}{{- end -}}
{{- define "evenkeel.tlsSecret" -}}{{ default (printf "%s-tls" (include "evenkeel.fullname" .)) .Values.tls.existingSecret }}{{- end -}}
{{- define "evenkeel.tlsName" -}}{{ default (printf "%s-leader.%s.svc" (include "evenkeel.fullname" .) .Release.Namespace) .Values.tls.serverName }}{{- end -}}

{{/* The injector. Its MutatingWebhookConfiguration and ClusterRole are in no namespace,
     so their name has it. */}}
{{- define "evenkeel.injector" -}}{{ include "evenkeel.fullname" . }}-injector{{- end -}}
{{- define "evenkeel.injectorCluster" -}}{{ .Release.Namespace }}-{{ include "evenkeel.injector" . }}{{- end -}}
{{- define "evenkeel.injectorSelector" -}}
app.kubernetes.io/name: {{ include "evenkeel.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: injector
{{- end -}}
