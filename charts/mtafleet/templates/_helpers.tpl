{{/* Names and labels. A release called mtafleet gives plain mtafleet-… names. */}}
{{- define "mtafleet.name" -}}
{{- if contains "mtafleet" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-mtafleet" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "mtafleet.operator" -}}
{{ include "mtafleet.name" . }}-operator
{{- end }}

{{- define "mtafleet.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "mtafleet.operator" .) }}
{{- end }}

{{- define "mtafleet.selector" -}}
app.kubernetes.io/name: mtafleet
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "mtafleet.labels" -}}
{{ include "mtafleet.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "mtafleet.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{/*
One installation in a cluster: two operators would give out the same ports and addresses, and the admission policies know one of them only. Without a cluster
(helm template, Argo CD) nothing is found here.
*/}}
{{- define "mtafleet.alone" -}}
{{- range (lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "").items }}
{{- $labels := .metadata.labels | default dict }}
{{- $annotations := .metadata.annotations | default dict }}
{{- $name := get $annotations "meta.helm.sh/release-name" }}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" }}
{{- if and (eq (get $labels "app.kubernetes.io/name") "mtafleet") $name (or (ne $name $.Release.Name) (ne $namespace $.Release.Namespace)) }}
{{- fail (printf "mtafleet must be installed once in a cluster, and is there already as release %s in namespace %s: upgrade or uninstall that one" $name $namespace) }}
{{- end }}
{{- end }}
{{- end }}

{{/* What a schema cannot compare. */}}
{{- define "mtafleet.check" -}}
{{- $range := splitList "-" .Values.portRange }}
{{- $first := int (index $range 0) }}
{{- $last := int (index $range 1) }}
{{- if or (lt $first 1024) (gt $last 65535) (lt (sub $last $first) 2) }}
{{- fail (printf "portRange must be two ports from 1024 to 65535, the last at least 2 above the first, was %s" .Values.portRange) }}
{{- end }}
{{- with .Values.leaderElection }}
{{- if ge (int .renewDeadlineSeconds) (int .leaseDurationSeconds) }}
{{- fail (printf "leaderElection.renewDeadlineSeconds must be less than leaseDurationSeconds, was %d with %d" (int .renewDeadlineSeconds) (int .leaseDurationSeconds)) }}
{{- end }}
{{- if ge (int .retryPeriodSeconds) (int .renewDeadlineSeconds) }}
{{- fail (printf "leaderElection.retryPeriodSeconds must be less than renewDeadlineSeconds, was %d with %d" (int .retryPeriodSeconds) (int .renewDeadlineSeconds)) }}
{{- end }}
{{- end }}
{{- end }}
