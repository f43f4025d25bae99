//! Patches of Talos' machine configuration, one for each topic, in both dialects.
//!
//! They are strategic merges: Talos refuses JSON patches for configurations of several documents, which all generated
//! ones are. None has `$patch: delete`, which crashes talosctl up to 1.13 where there is nothing to delete.

use std::fmt::Write as _;

use super::build::LVM_DISK_WATCHER;
use super::values::Values;

/// How a configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// One large document: Talos up to 1.13, and clusters that were upgraded from there.
    V1Alpha1,
    /// A document for each thing: clusters that Talos 1.14 made.
    Documents,
}

impl Dialect {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V1Alpha1, Self::Documents];

    /// The version of Talos that writes so by default; the name of its folder.
    #[must_use]
    pub fn talos(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "1.13",
            Self::Documents => "1.14",
        }
    }
}

/// What a patch is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Kernel modules that thin pools need.
    Modules,
    /// The same for classes with RAID.
    ModulesRaid,
    /// The namespaces of our charts.
    Namespaces,
    /// An exemption of these namespaces from pod security.
    PodSecurity,
    /// A partition of the system disk.
    RawVolume,
    /// Our extender of the scheduler.
    Scheduler,
    /// A volume group that Talos makes of that partition.
    VolumeGroup,
    /// The configuration of the extension lvm-disk-watcher, which starts with it.
    ExtensionService,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Modules,
        Self::ModulesRaid,
        Self::Namespaces,
        Self::PodSecurity,
        Self::RawVolume,
        Self::Scheduler,
        Self::VolumeGroup,
        Self::ExtensionService,
    ];

    /// The name of its file without `.yaml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.file().trim_end_matches(".yaml")
    }

    /// Whether it is for few clusters, and asked for by its name where one text is made of all.
    #[must_use]
    pub fn is_extra(self) -> bool {
        matches!(
            self,
            Self::ModulesRaid | Self::RawVolume | Self::Scheduler | Self::VolumeGroup
        )
    }

    /// Whether only nodes of the control plane have a use for it.
    #[must_use]
    pub fn for_control_planes(self) -> bool {
        matches!(self, Self::PodSecurity | Self::Scheduler)
    }

    /// The name of its file.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Modules => "modules.yaml",
            Self::ModulesRaid => "modules-raid.yaml",
            Self::Namespaces => "namespaces.yaml",
            Self::PodSecurity => "pod-security.yaml",
            Self::RawVolume => "raw-volume.yaml",
            Self::Scheduler => "scheduler-extender.yaml",
            Self::VolumeGroup => "volume-group.yaml",
            Self::ExtensionService => "extension-service.yaml",
        }
    }
}

/// The patch for a topic; nothing where a dialect has no words for it.
#[must_use]
pub fn render(values: &Values, topic: Topic, dialect: Dialect) -> Option<String> {
    let body = match topic {
        Topic::Modules => modules(&values.modules, dialect),
        Topic::ModulesRaid => modules(&values.modules_raid, dialect),
        Topic::Namespaces => namespaces(&values.namespaces, dialect),
        Topic::PodSecurity => pod_security(&values.namespaces, dialect),
        Topic::RawVolume => raw_volume(&values.raw_volume),
        Topic::Scheduler => scheduler(&values.extender, dialect),
        Topic::VolumeGroup if dialect == Dialect::V1Alpha1 => return None,
        Topic::VolumeGroup => volume_group(&values.volume_group, &values.raw_volume),
        Topic::ExtensionService => extension_service(values),
    };
    let why = match topic {
        Topic::Modules => "Thin pools need them, and no pod or service may load one.",
        Topic::ModulesRaid => "Only for device classes with RAID.",
        Topic::Namespaces => {
            "For TopoLVM's pods and the watcher's, which are privileged. Taken out again, the namespaces are deleted, with\n# every claim in them."
        }
        Topic::PodSecurity => {
            "Control planes only. The labels of the namespaces alone are enough; this holds where they are lost."
        }
        Topic::RawVolume => {
            "A partition of the system disk for a volume group. EPHEMERAL takes the whole disk unless it has a maxSize.\n# A DiskClass takes it with select.partitionLabel, or Talos does with the patch volume-group; not both."
        }
        Topic::Scheduler => {
            "Control planes only, with topolvm-scheduler on each of them; not needed with storage capacity tracking.\n# Applied twice, the extender is asked twice."
        }
        Topic::VolumeGroup => {
            "Talos makes the group, of the raw volume. disk-watcher leaves it alone until its class names the group's UUID in\n# spec.existing.adoptForeignVG."
        }
        Topic::ExtensionService => {
            "For the extension lvm-disk-watcher, whose service starts with it and anew when it changes. mode: Plan changes nothing;\n# Enforce takes the disks. Whoever reads the machine configuration reads this."
        }
    };
    Some(format!("# {why}\n{body}"))
}

/// Where disk-watcher looks for its classes.
pub(super) const CONFIG: &str = "/etc/disk-watcher/config.yaml";
pub(super) const DOCUMENT: &str = "apiVersion: v1alpha1\nkind: ";

/// Each line of `text` after `by` spaces.
pub(super) fn indented(text: &str, by: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let by = if line.is_empty() { 0 } else { by };
        let _ = writeln!(out, "{:by$}{line}", "");
    }
    out
}

pub(super) fn modules(names: &[String], dialect: Dialect) -> String {
    match dialect {
        Dialect::V1Alpha1 => names.iter().fold(
            "machine:\n  kernel:\n    modules:\n".to_owned(),
            |mut text, name| {
                let _ = writeln!(text, "      - name: {name}");
                text
            },
        ),
        Dialect::Documents => {
            let document = |name: &String| format!("{DOCUMENT}KernelModuleConfig\nname: {name}\n");
            names.iter().map(document).collect::<Vec<_>>().join("---\n")
        }
    }
}

/// A namespace whose pods may be privileged, and on which TopoLVM's webhooks have no say.
pub(super) fn namespace(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    \
         pod-security.kubernetes.io/enforce: privileged\n    pod-security.kubernetes.io/audit: privileged\n    \
         pod-security.kubernetes.io/warn: privileged\n    topolvm.io/webhook: ignore\n"
    )
}

fn namespaces(names: &[String], dialect: Dialect) -> String {
    let texts = names.iter().map(|name| match dialect {
        Dialect::V1Alpha1 => {
            let manifest = indented(&namespace(name), 8);
            format!("    - name: namespace-{name}\n      contents: |\n{manifest}")
        }
        Dialect::Documents => {
            let manifest = indented(&namespace(name), 2);
            format!("{DOCUMENT}KubeInlineManifestConfig\nname: namespace-{name}\nmanifest: |\n{manifest}")
        }
    });
    let texts: Vec<String> = texts.collect();
    match dialect {
        Dialect::V1Alpha1 => format!("cluster:\n  inlineManifests:\n{}", texts.concat()),
        Dialect::Documents => texts.join("---\n"),
    }
}

fn pod_security(names: &[String], dialect: Dialect) -> String {
    let names = names.join(", ");
    match dialect {
        Dialect::V1Alpha1 => format!(
            "cluster:\n  apiServer:\n    admissionControl:\n      - name: PodSecurity\n        configuration:\n          \
             exemptions:\n            namespaces: [{names}]\n"
        ),
        Dialect::Documents => format!(
            "{DOCUMENT}KubeAdmissionControlConfig\nname: PodSecurity\nconfiguration:\n  exemptions:\n    \
             namespaces: [{names}]\n"
        ),
    }
}

fn raw_volume(name: &str) -> String {
    format!(
        "{DOCUMENT}RawVolumeConfig\nname: {name}\nprovisioning:\n  diskSelector:\n    match: system_disk\n  \
         minSize: 50GiB\n  maxSize: 500GiB\n"
    )
}

fn scheduler(extender: &str, dialect: Dialect) -> String {
    let config = [
        "config:".to_owned(),
        "  apiVersion: kubescheduler.config.k8s.io/v1".to_owned(),
        "  kind: KubeSchedulerConfiguration".to_owned(),
        "  extenders:".to_owned(),
        format!("    - urlPrefix: {extender}"),
        "      filterVerb: predicate".to_owned(),
        "      prioritizeVerb: prioritize".to_owned(),
        "      nodeCacheCapable: false".to_owned(),
        "      weight: 1".to_owned(),
        "      managedResources:".to_owned(),
        "        - name: topolvm.io/capacity".to_owned(),
        "          ignoredByScheduler: true".to_owned(),
    ];
    let lines =
        |by: &str| -> String { config.iter().map(|line| format!("{by}{line}\n")).collect() };
    match dialect {
        Dialect::V1Alpha1 => format!("cluster:\n  scheduler:\n{}", lines("    ")),
        Dialect::Documents => format!("{DOCUMENT}KubeSchedulerConfig\n{}", lines("")),
    }
}

fn volume_group(name: &str, raw_volume: &str) -> String {
    format!(
        "{DOCUMENT}LVMVolumeGroupConfig\nname: {name}\nprovisioning:\n  volumeSelector:\n    \
         match: volume.partition_label == \"r-{raw_volume}\"\n"
    )
}

fn extension_service(values: &Values) -> String {
    format!("{DOCUMENT}ExtensionServiceConfig\n{}", service(values))
}

/// What Talos and TalHelper call the same.
pub(super) fn service(values: &Values) -> String {
    let class = indented(&values.class, 6);
    format!(
        "name: {LVM_DISK_WATCHER}\nconfigFiles:\n  - mountPath: {CONFIG}\n    content: |\n{class}environment:\n  \
         - METRICS_BIND_ADDRESS={}\n",
        values.metrics
    )
}
