{{/* Where the certificate of the pod webhook comes from. */}}

{{/* topolvm.ownCertificate: not empty if the controller makes it. */}}
{{- define "topolvm.ownCertificate" -}}
{{- $webhook := .Values.webhook -}}
{{- if and $webhook.podMutatingWebhook.enabled (not $webhook.certManager) (not $webhook.secretName) -}}
true
{{- end -}}
{{- end -}}

{{/* topolvm.certManager: not empty if cert-manager makes it. */}}
{{- define "topolvm.certManager" -}}
{{- $webhook := .Values.webhook -}}
{{- if and $webhook.podMutatingWebhook.enabled $webhook.certManager (not $webhook.caBundle) -}}
true
{{- end -}}
{{- end -}}

{{/* topolvm.certificateSecret: the Secret that is mounted for it, if one is. */}}
{{- define "topolvm.certificateSecret" -}}
{{- if and .Values.webhook.podMutatingWebhook.enabled (not (include "topolvm.ownCertificate" .)) -}}
{{- ternary (printf "%s-mutatingwebhook" (include "topolvm.fullname" .)) .Values.webhook.secretName .Values.webhook.certManager -}}
{{- end -}}
{{- end -}}
