{{/* Volumes and mounts of lvmd; `.root` is the chart's context, `.index` the node group. */}}
{{- define "topolvm.lvmdVolumes" -}}
{{ include "topolvm.hostVolumes" .root }}
- name: lvmd-socket-dir
  hostPath: {path: {{ dir .root.Values.lvmd.socketName }}, type: DirectoryOrCreate}
- name: config
  configMap: {name: {{ include "topolvm.fullname" .root }}-lvmd-{{ .index }}}
{{- end -}}

{{- define "topolvm.lvmdMounts" -}}
{{ include "topolvm.hostMounts" .root }}
- name: lvmd-socket-dir
  mountPath: {{ dir .root.Values.lvmd.socketName }}
- name: config
  mountPath: /etc/topolvm
{{- end -}}

{{/* topolvm.lvmdDaemonSet: lvmd in pods of its own on the nodes of one group: 0 is lvmd itself, the others its additionalConfigs. */}}
{{- define "topolvm.lvmdDaemonSet" -}}
{{- $root := .root -}}
{{- $lvmd := $root.Values.lvmd -}}
{{- $group := .group -}}
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ include "topolvm.fullname" $root }}-lvmd-{{ .index }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    idx: {{ .index | quote }}
    {{- include "topolvm.labels" $root | nindent 4 }}
    {{- with $lvmd.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- with $lvmd.updateStrategy }}
  updateStrategy: {{- toYaml . | nindent 4 }}
  {{- end }}
  selector:
    matchLabels:
      idx: {{ .index | quote }}
      app.kubernetes.io/component: lvmd
      {{- include "topolvm.selectorLabels" $root | nindent 6 }}
  template:
    metadata:
      labels:
        idx: {{ .index | quote }}
        app.kubernetes.io/component: lvmd
        {{- include "topolvm.selectorLabels" $root | nindent 8 }}
        {{- with $lvmd.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with include "topolvm.podAnnotations" $lvmd | fromYaml }}
      annotations: {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "topolvm.fullname" $root }}-lvmd
      automountServiceAccountToken: false
      {{- with $lvmd.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $root.Values.image.pullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if hasKey ($group.additionalLVMDYamlContent | default dict) "lvm-command-prefix" }}
      # For nsenter in lvm-command-prefix.
      hostPID: true
      {{- end }}
      {{- with $lvmd.initContainers }}
      initContainers: {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: lvmd
          image: {{ include "topolvm.image" $root | quote }}
          {{- with $root.Values.image.pullPolicy }}
          imagePullPolicy: {{ . }}
          {{- end }}
          {{- with $lvmd.securityContext }}
          securityContext: {{- toYaml . | nindent 12 }}
          {{- end }}
          command:
            - /lvmd
            {{- with $lvmd.profiling.bindAddress }}
            - --profiling-bind-address={{ . }}
            {{- end }}
          {{- with $lvmd.args }}
          args: {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $lvmd.env }}
          env: {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            - name: metrics
              containerPort: 8080
              protocol: TCP
          livenessProbe:
            httpGet: {path: /healthz, port: metrics}
            {{- include "topolvm.probe" $root.Values.livenessProbe.lvmd | trim | nindent 12 }}
          readinessProbe:
            httpGet: {path: /readyz, port: metrics}
          {{- with $root.Values.resources.lvmd }}
          resources: {{- toYaml . | nindent 12 }}
          {{- end }}
          volumeMounts:
            {{- $ours := include "topolvm.lvmdMounts" . | fromYamlArray }}
            {{- include "topolvm.merged" (list "mountPath" $lvmd.volumeMounts $ours) | nindent 12 }}
        {{- with $lvmd.additionalContainers }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      volumes:
        {{- $ours := include "topolvm.lvmdVolumes" . | fromYamlArray }}
        {{- include "topolvm.merged" (list "name" $lvmd.volumes $ours) | nindent 8 }}
        {{- with $lvmd.additionalVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- $where := dict
        "tolerations" $group.tolerations "nodeSelector" $group.nodeSelector "affinity" $group.affinity }}
      {{- include "topolvm.scheduling" $where | trim | nindent 6 }}
{{- end -}}
