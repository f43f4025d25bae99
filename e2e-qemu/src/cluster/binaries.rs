//! The programs of a cluster, each built from its Go module: `e2e-qemu/kubernetes/*`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::peer::Module;

/// Kubernetes: API server, controller manager, scheduler, kubelet, kubectl.
pub const CONTROL: Module = Module {
    name: "control",
    files: &[
        ("go.mod", include_str!("../../kubernetes/control/go.mod")),
        ("go.sum", include_str!("../../kubernetes/control/go.sum")),
        (
            "tools.go",
            include_str!("../../kubernetes/control/tools.go"),
        ),
    ],
    ..KUBERNETES
};

/// The minor version before it.
pub const OLDER_CONTROL: Module = Module {
    name: "control-1.34",
    files: &[
        (
            "go.mod",
            include_str!("../../kubernetes/control-1.34/go.mod"),
        ),
        (
            "go.sum",
            include_str!("../../kubernetes/control-1.34/go.sum"),
        ),
        (
            "tools.go",
            include_str!("../../kubernetes/control-1.34/tools.go"),
        ),
    ],
    ..KUBERNETES
};

/// What all versions of Kubernetes have in common.
const KUBERNETES: Module = Module {
    name: "",
    suite: "cluster",
    what: "Kubernetes",
    files: &[],
    packages: &[
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-scheduler",
        "k8s.io/kubernetes/cmd/kubelet",
        "k8s.io/kubernetes/cmd/kubectl",
    ],
    binaries: &[
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kubectl",
    ],
    upstream: "k8s.io/kubernetes",
    flags: &[],
    version_in: &[
        "k8s.io/component-base/version.gitVersion",
        "k8s.io/client-go/pkg/version.gitVersion",
    ],
};

/// etcd.
pub const ETCD: Module = Module {
    name: "etcd",
    suite: "cluster",
    what: "etcd",
    files: &[
        ("go.mod", include_str!("../../kubernetes/etcd/go.mod")),
        ("go.sum", include_str!("../../kubernetes/etcd/go.sum")),
        ("tools.go", include_str!("../../kubernetes/etcd/tools.go")),
    ],
    packages: &["go.etcd.io/etcd/server/v3"],
    binaries: &["server"],
    upstream: "go.etcd.io/etcd/server/v3",
    flags: &[],
    version_in: &[],
};

/// containerd with its shim for runc, and `ctr`.
pub const CONTAINERD: Module = Module {
    name: "containerd",
    suite: "cluster",
    what: "containerd",
    files: &[
        ("go.mod", include_str!("../../kubernetes/containerd/go.mod")),
        ("go.sum", include_str!("../../kubernetes/containerd/go.sum")),
        (
            "tools.go",
            include_str!("../../kubernetes/containerd/tools.go"),
        ),
    ],
    packages: &[
        "github.com/containerd/containerd/v2/cmd/containerd",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/ctr",
    ],
    binaries: &["containerd", "containerd-shim-runc-v2", "ctr"],
    upstream: "github.com/containerd/containerd/v2",
    flags: &["-tags=no_btrfs no_zfs no_devmapper"],
    version_in: &[],
};

/// Resizer, snapshotter and snapshot controller, and upstream's driver to compare with.
pub const SIDECARS: Module = Module {
    name: "sidecars",
    suite: "cluster",
    what: "the CSI sidecars",
    files: &[
        ("go.mod", include_str!("../../kubernetes/sidecars/go.mod")),
        ("go.sum", include_str!("../../kubernetes/sidecars/go.sum")),
        (
            "tools.go",
            include_str!("../../kubernetes/sidecars/tools.go"),
        ),
    ],
    packages: &[
        "github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer",
        "github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter",
        "github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller",
        "github.com/topolvm/topolvm/cmd/hypertopolvm",
    ],
    binaries: &[
        "csi-resizer",
        "csi-snapshotter",
        "snapshot-controller",
        "hypertopolvm",
    ],
    upstream: "github.com/kubernetes-csi/external-resizer/v2",
    flags: &[],
    version_in: &["main.version"],
};

/// An earlier driver of upstream's, to move from. No cluster has it unless asked.
pub const OLDER_TOPOLVM: Module = Module {
    name: "topolvm-0.36",
    suite: "cluster",
    what: "an earlier TopoLVM",
    files: &[
        (
            "go.mod",
            include_str!("../../kubernetes/topolvm-0.36/go.mod"),
        ),
        (
            "go.sum",
            include_str!("../../kubernetes/topolvm-0.36/go.sum"),
        ),
        (
            "tools.go",
            include_str!("../../kubernetes/topolvm-0.36/tools.go"),
        ),
    ],
    packages: &["github.com/topolvm/topolvm/cmd/hypertopolvm"],
    binaries: &["hypertopolvm"],
    upstream: "github.com/topolvm/topolvm",
    flags: &[],
    version_in: &[],
};

/// The provisioner.
pub const PROVISIONER: Module = Module {
    name: "provisioner",
    suite: "cluster",
    what: "the CSI provisioner",
    files: &[
        (
            "go.mod",
            include_str!("../../kubernetes/provisioner/go.mod"),
        ),
        (
            "go.sum",
            include_str!("../../kubernetes/provisioner/go.sum"),
        ),
        (
            "tools.go",
            include_str!("../../kubernetes/provisioner/tools.go"),
        ),
    ],
    packages: &["github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner"],
    binaries: &["csi-provisioner"],
    upstream: "github.com/kubernetes-csi/external-provisioner/v6",
    flags: &[],
    version_in: &["main.version"],
};

/// Helm.
pub const HELM: Module = Module {
    name: "helm",
    suite: "cluster",
    what: "helm",
    files: &[
        ("go.mod", include_str!("../../kubernetes/helm/go.mod")),
        ("go.sum", include_str!("../../kubernetes/helm/go.sum")),
        ("tools.go", include_str!("../../kubernetes/helm/tools.go")),
    ],
    packages: &["helm.sh/helm/v3/cmd/helm"],
    binaries: &["helm"],
    upstream: "helm.sh/helm/v3",
    flags: &[],
    version_in: &["helm.sh/helm/v3/internal/version.version"],
};

/// Stand-ins for sidecars of upstream's chart.
pub const STANDINS: Module = Module {
    name: "standins",
    suite: "cluster",
    what: "stand-ins for sidecars",
    files: &[
        ("go.mod", include_str!("../../kubernetes/standins/go.mod")),
        ("go.sum", include_str!("../../kubernetes/standins/go.sum")),
        ("main.go", include_str!("../../kubernetes/standins/main.go")),
    ],
    packages: &["."],
    binaries: &["standins"],
    upstream: "k8s.io/kubelet",
    flags: &[],
    version_in: &[],
};

/// All of a cluster of the newest version.
pub const MODULES: [Module; 7] = [
    CONTROL,
    ETCD,
    CONTAINERD,
    SIDECARS,
    PROVISIONER,
    HELM,
    STANDINS,
];

/// The version of Kubernetes that a cluster has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Minor {
    /// The newest one.
    #[default]
    Newest,
    /// The one before it.
    Older,
}

/// The programs, built.
#[derive(Debug, Clone)]
pub struct Binaries {
    cache: PathBuf,
    modules: [Module; 7],
}

impl Binaries {
    /// Builds what is not built yet into `cache`. `command` starts a program by its name.
    ///
    /// # Errors
    /// Go is not installed or fails; `cache` cannot be written.
    pub fn build(cache: &Path, minor: Minor) -> Result<Self> {
        let mut modules = MODULES;
        if minor == Minor::Older {
            modules[0] = OLDER_CONTROL;
        }
        for module in modules {
            module.build(cache)?;
        }
        Ok(Self {
            cache: cache.to_owned(),
            modules,
        })
    }

    /// The program of that name.
    ///
    /// # Panics
    /// When no module makes it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        let name = if name == "etcd" { "server" } else { name };
        let module = self.modules.iter().find(|m| m.binaries.contains(&name));
        let module = module.unwrap_or_else(|| panic!("no module makes {name}"));
        module.current(&self.cache).join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_one_module() {
        let mut names: Vec<_> = MODULES.iter().flat_map(|m| m.binaries).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
