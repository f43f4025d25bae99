{{/* Values that cannot be meant, each with the way out. */}}
{{- define "disk-watcher.checks" -}}
{{- if hasKey .Values "values" -}}
{{- fail "\n\nThe values file nests everything under `values:`, where Helm reads nothing. Take that line out and move what is below it two columns to the left." -}}
{{- end -}}
{{- if hasSuffix "/lvm-disk-watcher" .Values.image.repository -}}
{{- fail (printf "\n\nimage.repository=%s is another program's image. Take image.repository, image.tag and image.reference out of the values, or name a copy of this project's image." .Values.image.repository) -}}
{{- end -}}
{{- if and .Values.compat.existingConfigMap (include "disk-watcher.diskConfig" .) -}}
{{- fail "\n\ncompat.existingConfigMap and a text of disk-config are both given. Keep one." -}}
{{- end -}}
{{- if and .Values.compat.diskConfig (dig "disk-config" "data" "disk-config" "" (.Values.configmap | default dict)) -}}
{{- fail "\n\ncompat.diskConfig and configmap.disk-config are both given. Keep one." -}}
{{- end -}}
{{- $surge := dig "rollingUpdate" "maxSurge" 0 (.Values.updateStrategy | default dict) | toString -}}
{{- if not (has $surge (list "0" "0%" "<nil>")) -}}
{{- fail (printf "\n\nupdateStrategy.rollingUpdate.maxSurge=%s starts the next disk-watcher beside the one before, and one acts on a node: it would wait, not be ready, and the update with it. Take maxSurge out; maxUnavailable says how many nodes are updated at a time." $surge) -}}
{{- end -}}
{{- $groups := include "disk-watcher.groups" . | fromYamlArray -}}
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
{{- fail (printf "\n\nnodeGroups: %q and %q may be on one node, where only one disk-watcher may run. Give both a nodeSelector with one key and different values, or an affinity. (\"\" is what the values say at the top.)" $one.name $other.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
