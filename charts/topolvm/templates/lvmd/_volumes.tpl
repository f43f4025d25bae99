{{/* Volumes and mounts of an lvmd of its own; of the volumes `.root` is the chart's context, `.index` the node group. */}}
{{- define "topolvm.lvmdVolumes" -}}
{{- $socketDir := dir .root.Values.lvmd.socketName -}}
{{ include "topolvm.hostVolumes" .root }}
- name: config
  configMap: {name: {{ include "topolvm.fullname" .root }}-lvmd-{{ .index }}}
- name: lvmd-socket-dir
  hostPath: {path: {{ $socketDir }}, type: DirectoryOrCreate}
{{- if ne $socketDir "/run/topolvm" }}
- name: run-dir
  hostPath: {path: /run/topolvm, type: DirectoryOrCreate}
{{- end }}
{{- end -}}

{{- define "topolvm.lvmdMounts" -}}
{{- $socketDir := dir .Values.lvmd.socketName -}}
{{ include "topolvm.hostMounts" . }}
- name: config
  mountPath: /etc/topolvm
- name: lvmd-socket-dir
  mountPath: {{ $socketDir }}
{{- if ne $socketDir "/run/topolvm" }}
- name: run-dir
  mountPath: /run/topolvm
{{- end }}
{{- end -}}
