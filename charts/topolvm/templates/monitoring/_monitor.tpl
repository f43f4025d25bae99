{{/* topolvm.components: what serves metrics, with the labels of its pods; a node group of an embedded lvmd is a component. */}}
{{- define "topolvm.components" -}}
controller: [controller]
node:
  - node
  {{- if .Values.node.lvmdEmbedded }}
  {{- range $at, $_ := .Values.lvmd.additionalConfigs }}
  - node-{{ add $at 1 }}
  {{- end }}
  {{- end }}
{{- if .Values.lvmd.managed }}
lvmd: [lvmd]
{{- end }}
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
