{{/* Values that cannot be meant, each with the way out. */}}
{{- define "topolvm.checks" -}}
{{- if hasKey .Values "values" -}}
{{- fail "\n\nThe values file nests everything under `values:`, where Helm reads nothing. Take that line out and move what is below it two columns to the left." -}}
{{- end -}}
{{- if .Values.useLegacy -}}
{{- fail "\n\nuseLegacy=true: the API group topolvm.cybozu.com is not served. Set useLegacy=false and have kubectl topolvm import-legacy make objects of topolvm.io for the volumes (docs/kubectl.md)." -}}
{{- end -}}
{{- if and .Values.webhook.podMutatingWebhook.enabled .Values.webhook.caBundle (not .Values.webhook.certManager) (not .Values.webhook.secretName) -}}
{{- fail "\n\nwebhook.caBundle without a certificate: name the Secret with tls.crt and tls.key in webhook.secretName, or take webhook.caBundle out and the controller makes both." -}}
{{- end -}}
{{- if index .Values "cert-manager" "enabled" -}}
{{- fail "\n\ncert-manager.enabled=true: cert-manager is not part of this chart. Install cert-manager by itself and set this to false; with webhook.certManager=false the controller makes the webhook's certificate itself." -}}
{{- end -}}
{{- if regexMatch "(^|/)topolvm/topolvm(-with-sidecar)?$" .Values.image.repository -}}
{{- fail (printf "\n\nimage.repository=%s is TopoLVM's image; this chart starts other programs. Take image.repository, image.tag and image.reference out of the values, or name a copy of this project's image." .Values.image.repository) -}}
{{- end -}}
{{- range $key := list "csiProvisioner" "csiResizer" "csiSnapshotter" -}}
{{- if not (index $.Values.image.csi $key) -}}
{{- fail (printf "\n\nimage.csi.%s is empty: the node image does not contain this sidecar. Take the key out of the values for the default, or name an image." $key) -}}
{{- end -}}
{{- end -}}
{{- if not (has (lower .Values.scheduler.type) (list "daemonset" "deployment")) -}}
{{- fail (printf "\n\nscheduler.type=%s: write daemonset or deployment." .Values.scheduler.type) -}}
{{- end -}}
{{- if ne (include "topolvm.lvmd" .) "apart" -}}
{{- range $key := list "initContainers" "additionalContainers" "additionalVolumes" "volumes" "volumeMounts" "args" -}}
{{- if index $.Values.lvmd $key -}}
{{- fail (printf "\n\nlvmd.%s: lvmd has no pod of its own here. Set lvmd.managed=true and node.lvmdEmbedded=false to give it one, or move what is needed to node.%s." $key (ternary "volumeMounts.topolvmNode" $key (eq $key "volumeMounts"))) -}}
{{- end -}}
{{- end -}}
{{- else if ne .Values.lvmd.socketName .Values.node.lvmdSocket -}}
{{- fail (printf "\n\nlvmd.socketName=%s and node.lvmdSocket=%s: lvmd serves where nobody asks. Give both the same path." .Values.lvmd.socketName .Values.node.lvmdSocket) -}}
{{- end -}}
{{- include "topolvm.checkGroups" . -}}
{{- include "topolvm.checkInline" . -}}
{{- end -}}

{{/* Kubernetes never changes a CSIDriver's volumeLifecycleModes; in words here, before anything is changed. */}}
{{- define "topolvm.checkInline" -}}
{{- $driver := include "topolvm.pluginName" . -}}
{{- $there := lookup "storage.k8s.io/v1" "CSIDriver" "" $driver -}}
{{- $on := not (empty (.Values.node.inlineVolumes | default dict).classes) -}}
{{- if and $there (ne $on (has "Ephemeral" ($there.spec.volumeLifecycleModes | default list))) -}}
{{- fail (printf "\n\nnode.inlineVolumes.classes: the CSIDriver %s that is there was made with%s inline volumes, and Kubernetes does not change that. Take it away just before this upgrade, which makes it anew: kubectl delete csidriver %s" $driver (ternary "out" "" $on) $driver) -}}
{{- end -}}
{{- end -}}

{{/* Two groups on one node would be two lvmds on it, so selectors must differ in a key. */}}
{{- define "topolvm.checkGroups" -}}
{{- $groups := concat (list .Values.lvmd) (.Values.lvmd.additionalConfigs | default list) -}}
{{- if gt (len $groups) 1 -}}
{{- range $a, $one := $groups -}}
{{- range $b, $other := $groups -}}
{{- if and (lt $a $b) (not $one.affinity) (not $other.affinity) -}}
{{- $apart := false -}}
{{- range $key, $value := $one.nodeSelector -}}
{{- if and (hasKey ($other.nodeSelector | default dict) $key) (ne (toString $value) (toString (get $other.nodeSelector $key))) -}}
{{- $apart = true -}}
{{- end -}}
{{- end -}}
{{- if not $apart -}}
{{- fail (printf "\n\nlvmd.additionalConfigs: the node groups %d and %d (0 is lvmd itself) may be on one node. Give both a nodeSelector with one key and different values, or an affinity." $a $b) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
