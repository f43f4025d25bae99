{{/* topolvm.components: what serves metrics, with the labels of its pods; each node group has its own. */}}
{{- define "topolvm.components" -}}
controller: [controller]
{{- $where := include "topolvm.lvmd" . }}
{{- if eq $where "apart" }}
lvmd: [lvmd]
{{- end }}
{{- if include "topolvm.schedulerMetrics" . }}
scheduler: [scheduler]
{{- end }}
node:
  - node
  {{- if eq $where "embedded" }}
  {{- range $at, $_ := .Values.lvmd.additionalConfigs }}
  - node-{{ add $at 1 }}
  {{- end }}
  {{- end }}
{{- end -}}

{{/* topolvm.schedulerMetrics: where the extender serves metrics beside what kube-scheduler asks; empty where nobody reads them. */}}
{{- define "topolvm.schedulerMetrics" -}}
{{- with .Values.scheduler -}}
{{- if and .enabled (or .metrics.enabled .prometheus.podMonitor.enabled .prometheus.serviceMonitor.enabled) -}}
{{- printf "%s:%d" (.metrics.host | default "") (int .metrics.port) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* topolvm.podsOf: the selector of a component's pods; `.` is [context, its labels]. */}}
{{- define "topolvm.podsOf" -}}
matchLabels: {{- include "topolvm.selectorLabels" (index . 0) | nindent 2 }}
matchExpressions:
  - key: app.kubernetes.io/component
    operator: In
    values: {{- index . 1 | toYaml | nindent 6 }}
{{- end -}}

{{/* topolvm.endpoint: how it is scraped; `.` is a podMonitor or serviceMonitor in the values. */}}
{{- define "topolvm.endpoint" -}}
- port: metrics
  path: /metrics
  {{- range $key := list "interval" "scrapeTimeout" "relabelings" "metricRelabelings" }}
  {{- with index $ $key }}
  {{ $key }}: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end -}}
