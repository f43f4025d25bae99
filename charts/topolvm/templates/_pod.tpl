{{/* Parts of pods. */}}

{{/* topolvm.probe: the numbers of a liveness probe; `.` is an entry of livenessProbe. */}}
{{- define "topolvm.probe" -}}
{{- range $key := list "failureThreshold" "initialDelaySeconds" "timeoutSeconds" "periodSeconds" }}
{{- with index $ $key }}
{{ $key }}: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* topolvm.scheduling: where a pod may run; `.` has tolerations, nodeSelector and affinity. */}}
{{- define "topolvm.scheduling" -}}
{{- range $key := list "tolerations" "nodeSelector" "affinity" }}
{{- with index $ $key }}
{{ $key }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* topolvm.env: a list of variables, of several with one name the last; `.` is the list. */}}
{{- define "topolvm.env" -}}
{{- $last := dict -}}
{{- range $at, $var := . -}}
{{- $_ := set $last $var.name $at -}}
{{- end -}}
{{- range $at, $var := . -}}
{{- if eq $at (get $last $var.name) }}
- {{ toYaml $var | nindent 2 | trim }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* topolvm.merged: a user's list, and those of ours whose key is not in it; `.` is [key, user's, ours]. */}}
{{- define "topolvm.merged" -}}
{{- $key := index . 0 -}}
{{- $taken := list -}}
{{- range index . 1 -}}
{{- $taken = append $taken (get . $key | trimSuffix "/") -}}
{{- end -}}
{{- $all := index . 1 | default list -}}
{{- range index . 2 -}}
{{- if not (has (get . $key | trimSuffix "/") $taken) -}}
{{- $all = append $all . -}}
{{- end -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* topolvm.restricted: the security context of a container that needs nothing. */}}
{{- define "topolvm.restricted" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
{{- end -}}

{{/*
What a pod that runs lvm needs of its host (docs/decisions/lock-directory.md): the devices, what udev knows of them,
and LVM's lock directory, with /run beside it to prove that it is the host's. Unmounts reach the copy of /run, so that
it holds nothing.
*/}}
{{- define "topolvm.hostVolumes" -}}
- name: devices-dir
  hostPath: {path: /dev, type: Directory}
- name: udev-dir
  hostPath: {path: /run/udev, type: Directory}
- name: lvm-lock-dir
  hostPath: {path: /run/lock/lvm, type: DirectoryOrCreate}
- name: host-run-dir
  hostPath: {path: /run, type: Directory}
- name: sys-dir
  hostPath: {path: /sys, type: Directory}
{{- end -}}
{{- define "topolvm.hostMounts" -}}
- name: devices-dir
  mountPath: /dev
- name: udev-dir
  mountPath: /run/udev
  readOnly: true
- name: lvm-lock-dir
  mountPath: /run/lock/lvm
- name: host-run-dir
  mountPath: /host/run
  readOnly: true
  mountPropagation: HostToContainer
- name: sys-dir
  mountPath: /sys
{{- end -}}

{{/* topolvm.podAnnotations: a pod's own annotations, and those for scraping; `.` is the values of a component. */}}
{{- define "topolvm.podAnnotations" -}}
{{- $metrics := dict -}}
{{- if .metrics.enabled -}}
{{- $metrics = .metrics.annotations | default dict -}}
{{- end -}}
{{- merge (dict) (.podAnnotations | default dict) $metrics | toYaml -}}
{{- end -}}
