{{/* Names and labels. They are interfaces: values may use them in templates, and selectors cannot change. */}}
{{- define "topolvm.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "topolvm.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $release := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $release | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "topolvm.selectorLabels" -}}
app.kubernetes.io/name: {{ include "topolvm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "topolvm.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "topolvm.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The CSI driver, and the group of its API. */}}
{{- define "topolvm.pluginName" -}}
topolvm.io
{{- end -}}

{{/* The node image: a reference (tag, digest or both) wins over a tag, a tag over the chart's version. */}}
{{- define "topolvm.image" -}}
{{- $version := coalesce .Values.image.reference .Values.image.tag .Chart.AppVersion | toString -}}
{{- printf "%s%s%s" .Values.image.repository (ternary "@" ":" (hasPrefix "sha256:" $version)) $version -}}
{{- end -}}

{{/* The folder of the node's socket, on the host and in the pod alike. */}}
{{- define "topolvm.pluginDir" -}}
{{ .Values.node.kubeletWorkDirectory }}/plugins/{{ include "topolvm.pluginName" . }}/node
{{- end -}}

{{/* topolvm.lvmd: where lvmd runs: `embedded` in the node's pod, `apart` in a pod of its own, or `host`, where somebody else started it. */}}
{{- define "topolvm.lvmd" -}}
{{- $embedded := .Values.node.lvmdEmbedded -}}
{{- if ternary .Values.lvmd.managed $embedded (kindIs "invalid" $embedded) -}}embedded
{{- else if .Values.lvmd.managed -}}apart
{{- else -}}host
{{- end -}}
{{- end -}}
