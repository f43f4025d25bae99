{{- define "disk-watcher.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "disk-watcher.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $release := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $release | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "disk-watcher.selectorLabels" -}}
app.kubernetes.io/name: {{ include "disk-watcher.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "disk-watcher.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "disk-watcher.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The node image: a reference (tag, digest or both) wins over a tag, a tag over the chart's version. */}}
{{- define "disk-watcher.image" -}}
{{- $version := coalesce .Values.image.reference .Values.image.tag .Chart.AppVersion | toString -}}
{{- printf "%s%s%s" .Values.image.repository (ternary "@" ":" (hasPrefix "sha256:" $version)) $version -}}
{{- end -}}

{{/* The text of disk-config, from our place for it or from TrueCharts'. */}}
{{- define "disk-watcher.diskConfig" -}}
{{- .Values.compat.diskConfig | default (dig "disk-config" "data" "disk-config" "" (.Values.configmap | default dict)) -}}
{{- end -}}

{{/* The ConfigMap with disk-config; empty where there is none. */}}
{{- define "disk-watcher.diskConfigMap" -}}
{{- if .Values.compat.existingConfigMap -}}
{{- .Values.compat.existingConfigMap -}}
{{- else if include "disk-watcher.diskConfig" . -}}
disk-config
{{- end -}}
{{- end -}}

{{/* All node groups; the first, without a name, is what the values say at the top. */}}
{{- define "disk-watcher.groups" -}}
{{- $first := dict "name" "" -}}
{{- range $key := list "classes" "nodeSelector" "tolerations" "affinity" -}}
{{- $_ := set $first $key (index $.Values $key) -}}
{{- end -}}
{{- concat (list $first) (.Values.nodeGroups | default list) | toYaml -}}
{{- end -}}

{{/* The folders of the files that stand in for disks, of a node group; the journal's is mounted already. */}}
{{- define "disk-watcher.folders" -}}
{{- $folders := list -}}
{{- range .classes | default list -}}
{{- range dig "spec" "select" "files" list . | default list -}}
{{- $folders = append $folders (dir .path) -}}
{{- end -}}
{{- end -}}
{{- without (uniq $folders) "/var/lib/disk-watcher" | toYaml -}}
{{- end -}}
