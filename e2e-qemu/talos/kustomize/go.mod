module basalt.local/kustomize

go 1.26.6

require sigs.k8s.io/kustomize/kustomize/v5 v5.8.2
