//! Real Kubernetes: a control plane on this machine, kubelets in guests.

pub mod binaries;
