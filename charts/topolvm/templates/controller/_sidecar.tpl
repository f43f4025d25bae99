{{/* topolvm.sidecar: a CSI sidecar. `.root` is the chart's context; also name, image, key (in resources and env), port, args, env. */}}
{{- define "topolvm.sidecar" -}}
{{- $values := .root.Values -}}
- name: {{ .name }}
  image: {{ .image | quote }}
  {{- with $values.image.pullPolicy }}
  imagePullPolicy: {{ . }}
  {{- end }}
  securityContext: {{- include "topolvm.restricted" . | nindent 4 }}
  command:
    - /{{ .name }}
    - --csi-address=/run/topolvm/csi-topolvm.sock
    {{- /* As the kubelet's. Their own are 5 and 10, and a volume takes three calls: a volume in 0.6 s, however fast it is made. */}}
    - --kube-api-qps=50
    - --kube-api-burst=100
    {{- range .args }}
    - {{ . }}
    {{- end }}
    {{- if $values.controller.leaderElection.enabled }}
    - --leader-election
    - --leader-election-namespace={{ .root.Release.Namespace }}
    {{- end }}
    - --http-endpoint=:{{ .port }}
  {{- with concat (.env | default list) (index $values.env .key | default list) }}
  env: {{- include "topolvm.env" . | trim | nindent 4 }}
  {{- end }}
  ports:
    - name: {{ .name }}
      containerPort: {{ .port }}
      protocol: TCP
  {{- with index $values.resources .key }}
  resources: {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: socket-dir
      mountPath: /run/topolvm
{{- end -}}
