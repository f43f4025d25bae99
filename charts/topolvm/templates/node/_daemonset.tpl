{{/* Volumes and mounts of the node; `.root` is the chart's context, `.index` the node group. */}}
{{- define "topolvm.nodeVolumes" -}}
{{- $node := .root.Values.node -}}
{{- $kubelet := $node.kubeletWorkDirectory -}}
{{- if .embedded }}
{{ include "topolvm.hostVolumes" .root }}
- name: run-dir
  hostPath: {path: /run/topolvm, type: DirectoryOrCreate}
- name: config
  configMap: {name: {{ include "topolvm.fullname" .root }}-lvmd-{{ .index }}}
{{- else }}
- name: devices-dir
  hostPath: {path: /dev, type: Directory}
- name: sys-dir
  hostPath: {path: /sys, type: Directory}
- name: lvmd-socket-dir
  hostPath: {path: {{ dir $node.lvmdSocket }}, type: DirectoryOrCreate}
{{- end }}
- name: registration-dir
  hostPath: {path: {{ $kubelet }}/plugins_registry/, type: Directory}
- name: node-plugin-dir
  hostPath: {path: {{ include "topolvm.pluginDir" .root }}, type: DirectoryOrCreate}
- name: csi-plugin-dir
  hostPath: {path: {{ $kubelet }}/plugins/kubernetes.io/csi, type: DirectoryOrCreate}
- name: pod-volumes-dir
  hostPath: {path: {{ $kubelet }}/pods/, type: DirectoryOrCreate}
{{- end -}}

{{- define "topolvm.nodeMounts" -}}
{{- $node := .root.Values.node -}}
{{- $kubelet := $node.kubeletWorkDirectory -}}
{{- if .embedded }}
{{ include "topolvm.hostMounts" .root }}
- name: run-dir
  mountPath: /run/topolvm
- name: config
  mountPath: /etc/topolvm
{{- else }}
- name: devices-dir
  mountPath: /dev
- name: sys-dir
  mountPath: /sys
- name: lvmd-socket-dir
  mountPath: {{ dir $node.lvmdSocket }}
{{- end }}
- name: registration-dir
  mountPath: {{ $kubelet }}/plugins_registry
- name: node-plugin-dir
  mountPath: {{ include "topolvm.pluginDir" .root }}
- name: csi-plugin-dir
  mountPath: {{ $kubelet }}/plugins/kubernetes.io/csi
  mountPropagation: Bidirectional
- name: pod-volumes-dir
  mountPath: {{ $kubelet }}/pods
  mountPropagation: Bidirectional
{{- end -}}

{{- define "topolvm.nodeEnv" -}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- if eq (include "topolvm.lvmd" .) "embedded" }}
{{- with .Values.lvmd.env }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- with .Values.env.topolvm_node }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
topolvm.nodeDaemonSet: the nodes of one group. With lvmd in them group 0 is lvmd itself, the others its additionalConfigs;
each is a component of its own, so that no DaemonSet's selector matches another's pods. Else there is one group.
*/}}
{{- define "topolvm.nodeDaemonSet" -}}
{{- $root := .root -}}
{{- $node := $root.Values.node -}}
{{- $suffix := ternary "" (printf "-%d" .index) (eq .index 0) -}}
{{- $group := .group -}}
{{- $socket := printf "%s/csi-topolvm.sock" (include "topolvm.pluginDir" $root) -}}
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ include "topolvm.fullname" $root }}-node{{ $suffix }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "topolvm.labels" $root | nindent 4 }}
    {{- with $node.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- with $node.updateStrategy }}
  updateStrategy: {{- toYaml . | nindent 4 }}
  {{- end }}
  selector:
    matchLabels:
      app.kubernetes.io/component: node{{ $suffix }}
      {{- include "topolvm.selectorLabels" $root | nindent 6 }}
  template:
    metadata:
      labels:
        app.kubernetes.io/component: node{{ $suffix }}
        {{- include "topolvm.selectorLabels" $root | nindent 8 }}
        {{- with $node.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with include "topolvm.podAnnotations" $node | fromYaml }}
      annotations: {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "topolvm.fullname" $root }}-node
      {{- with $node.priorityClassName | default $root.Values.lvmd.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $root.Values.image.pullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $node.podSecurityContext }}
      securityContext: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if hasKey ($group.additionalLVMDYamlContent | default dict) "lvm-command-prefix" }}
      # For nsenter in lvm-command-prefix.
      hostPID: true
      {{- end }}
      {{- with $node.initContainers }}
      initContainers: {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: topolvm-node
          image: {{ include "topolvm.image" $root | quote }}
          {{- with $root.Values.image.pullPolicy }}
          imagePullPolicy: {{ . }}
          {{- end }}
          {{- with $node.securityContext }}
          securityContext: {{- toYaml . | nindent 12 }}
          {{- end }}
          command:
            - /topolvm-node
            - --csi-socket={{ $socket }}
            {{- if .embedded }}
            - --embed-lvmd
            {{- else }}
            - --lvmd-socket={{ $node.lvmdSocket }}
            {{- end }}
            - --daemonset={{ include "topolvm.fullname" $root }}-node{{ $suffix }}
            {{- range $class, $most := ($node.inlineVolumes | default dict).classes }}
            - --inline-class={{ $class }}={{ $most }}
            {{- end }}
            {{- with $node.profiling.bindAddress }}
            - --profiling-bind-address={{ . }}
            {{- end }}
          {{- with $node.args }}
          args: {{- toYaml . | nindent 12 }}
          {{- end }}
          env: {{- include "topolvm.nodeEnv" $root | fromYamlArray | include "topolvm.env" | trim | nindent 12 }}
          ports:
            - name: metrics
              containerPort: 8080
              protocol: TCP
          livenessProbe:
            httpGet: {path: /healthz, port: metrics}
            {{- include "topolvm.probe" $root.Values.livenessProbe.topolvm_node | trim | nindent 12 }}
          readinessProbe:
            httpGet: {path: /readyz, port: metrics}
          {{- with $root.Values.resources.topolvm_node }}
          resources: {{- toYaml . | nindent 12 }}
          {{- end }}
          volumeMounts:
            {{- $ours := include "topolvm.nodeMounts" . | fromYamlArray }}
            {{- include "topolvm.merged" (list "mountPath" $node.volumeMounts.topolvmNode $ours) | nindent 12 }}
        {{- with $node.additionalContainers }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      volumes:
        {{- $ours := include "topolvm.nodeVolumes" . | fromYamlArray }}
        {{- include "topolvm.merged" (list "name" $node.volumes $ours) | nindent 8 }}
        {{- with $node.additionalVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- $where := dict
        "tolerations" (concat ($node.tolerations | default list) ($group.tolerations | default list))
        "nodeSelector" (merge (dict) ($group.nodeSelector | default dict) $node.nodeSelector)
        "affinity" ($group.affinity | default $node.affinity) }}
      {{- include "topolvm.scheduling" $where | trim | nindent 6 }}
{{- end -}}
