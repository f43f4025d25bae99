{{/* The pod of the scheduler extender: on the host's network beside kube-scheduler as a DaemonSet, else in the pod network. */}}
{{- define "topolvm.schedulerPod" -}}
{{- $scheduler := .Values.scheduler -}}
{{- $onHost := eq (lower $scheduler.type) "daemonset" -}}
{{- $metrics := include "topolvm.schedulerMetrics" . -}}
{{- $options := printf "%s-scheduler-options" (include "topolvm.fullname" .) -}}
metadata:
  annotations:
    checksum/config: {{ include (print $.Template.BasePath "/scheduler/configmap.yaml") . | sha256sum }}
    {{- if $scheduler.metrics.enabled }}
    {{- with $scheduler.metrics.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- end }}
  labels:
    app.kubernetes.io/component: scheduler
    {{- include "topolvm.selectorLabels" . | nindent 4 }}
    {{- with $scheduler.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "topolvm.fullname" . }}-scheduler
  automountServiceAccountToken: {{ $scheduler.nodeCacheCapable }}
  {{- if $onHost }}
  hostNetwork: true
  {{- end }}
  {{- with .Values.securityContext }}
  securityContext: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $scheduler.terminationGracePeriodSeconds }}
  terminationGracePeriodSeconds: {{ . }}
  {{- end }}
  {{- with $scheduler.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: topolvm-scheduler
      image: {{ include "topolvm.image" . | quote }}
      {{- with .Values.image.pullPolicy }}
      imagePullPolicy: {{ . }}
      {{- end }}
      securityContext: {{- include "topolvm.restricted" . | nindent 8 }}
      command:
        - /topolvm-scheduler
        - --config=/etc/topolvm/scheduler-options.yaml
      {{- with $scheduler.args }}
      args: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.env.topolvm_scheduler }}
      env: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or $metrics (not $onHost) }}
      ports:
        {{- if not $onHost }}
        - name: listenport
          containerPort: {{ int $scheduler.options.listen.port }}
          protocol: TCP
        {{- end }}
        {{- if $metrics }}
        - name: metrics
          containerPort: {{ int $scheduler.metrics.port }}
          protocol: TCP
        {{- end }}
      {{- end }}
      livenessProbe:
        httpGet: &status
          {{- if $onHost }}
          host: {{ $scheduler.options.listen.host }}
          {{- end }}
          port: {{ int $scheduler.options.listen.port }}
          path: /status
        {{- include "topolvm.probe" .Values.livenessProbe.topolvm_scheduler | trim | nindent 8 }}
      readinessProbe:
        httpGet: *status
      {{- with .Values.resources.topolvm_scheduler }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: {{ $options }}
          mountPath: /etc/topolvm
    {{- with $scheduler.additionalContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: {{ $options }}
      configMap: {name: {{ $options }}}
  {{- include "topolvm.scheduling" $scheduler | trim | nindent 2 }}
{{- end -}}
