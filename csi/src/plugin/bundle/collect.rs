//! What is read for the bundle. Each part is bounded in time, and one that cannot be had does not keep the others away.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::ResourceExt;
use lvmd::names::DRIVER;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{Bundle, Wish, mask};
use crate::plugin::args::Output;
use crate::plugin::cluster::Cluster;
use crate::plugin::cluster::collecting::Container;
use crate::plugin::cluster::legacy::LEGACY;
use crate::plugin::table::show;
use crate::plugin::{disks, doctor, nodes, orphans, volumes};

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_mins(3);
/// How long one question may.
const ANSWER: Duration = Duration::from_secs(15);

/// Group, version, kind, and whether an object has to do with the driver, by what is known of its volumes.
struct Kind(
    &'static str,
    &'static str,
    &'static str,
    fn(&Value, &Known) -> bool,
);

/// What tells objects that are ours from others'.
#[derive(Debug, Default)]
struct Known {
    /// StorageClasses.
    classes: BTreeSet<String>,
    /// PersistentVolumes.
    volumes: BTreeSet<String>,
    /// Namespaces of our pods.
    namespaces: BTreeSet<String>,
    /// Our pods.
    pods: BTreeSet<String>,
}

const ALL: fn(&Value, &Known) -> bool = |_, _| true;
const LABELLED: fn(&Value, &Known) -> bool = |object, _| is_labelled(object);
const IN_OURS: fn(&Value, &Known) -> bool =
    |object, known| is_in(&known.namespaces, &object["metadata"]["namespace"]);

fn is_in(set: &BTreeSet<String>, text: &Value) -> bool {
    text.as_str().is_some_and(|text| set.contains(text))
}

fn is_drivers(text: &Value) -> bool {
    text == DRIVER || text == LEGACY
}

fn is_labelled(object: &Value) -> bool {
    let name = &object["metadata"]["labels"]["app.kubernetes.io/name"];
    name == "topolvm" || name == "disk-watcher"
}

/// Kinds whose objects an Event can be about.
const TOLD_OF: [&str; 9] = [
    "LogicalVolume",
    "DiskClass",
    "NodeDisk",
    "NodeVolumeGroup",
    "NodeThinPool",
    "DiskWipeRequest",
    "DiskRemovalRequest",
    "VolumeSnapshotContent",
    "PersistentVolume",
];

/// In an order in which what tells the others comes first.
const KINDS: [Kind; 26] = [
    Kind("storage.k8s.io", "v1", "StorageClass", |object, _| {
        is_drivers(&object["provisioner"])
    }),
    Kind("", "v1", "PersistentVolume", |object, _| {
        is_drivers(&object["spec"]["csi"]["driver"])
    }),
    Kind("", "v1", "Pod", LABELLED),
    Kind("", "v1", "PersistentVolumeClaim", |object, known| {
        is_in(&known.classes, &object["spec"]["storageClassName"])
            || is_in(&known.volumes, &object["spec"]["volumeName"])
    }),
    Kind("topolvm.io", "v1", "LogicalVolume", ALL),
    Kind(LEGACY, "v1", "LogicalVolume", ALL),
    Kind("basalt.storage", "v1alpha1", "DiskClass", ALL),
    Kind("basalt.storage", "v1alpha1", "NodeDisk", ALL),
    Kind("basalt.storage", "v1alpha1", "NodeVolumeGroup", ALL),
    Kind("basalt.storage", "v1alpha1", "NodeThinPool", ALL),
    Kind("basalt.storage", "v1alpha1", "DiskWipeRequest", ALL),
    Kind("basalt.storage", "v1alpha1", "DiskRemovalRequest", ALL),
    Kind("", "v1", "Node", ALL),
    Kind("storage.k8s.io", "v1", "CSINode", ALL),
    Kind("storage.k8s.io", "v1", "CSIDriver", |object, _| {
        is_drivers(&object["metadata"]["name"])
    }),
    Kind(
        "storage.k8s.io",
        "v1",
        "CSIStorageCapacity",
        |object, known| is_in(&known.classes, &object["storageClassName"]),
    ),
    Kind("storage.k8s.io", "v1", "VolumeAttachment", |object, _| {
        is_drivers(&object["spec"]["attacher"])
    }),
    Kind(
        "snapshot.storage.k8s.io",
        "v1",
        "VolumeSnapshotClass",
        |object, _| is_drivers(&object["driver"]),
    ),
    Kind(
        "snapshot.storage.k8s.io",
        "v1",
        "VolumeSnapshotContent",
        |object, _| is_drivers(&object["spec"]["driver"]),
    ),
    Kind("apps", "v1", "DaemonSet", LABELLED),
    Kind("apps", "v1", "Deployment", LABELLED),
    Kind("", "v1", "ConfigMap", LABELLED),
    Kind("coordination.k8s.io", "v1", "Lease", IN_OURS),
    Kind(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        LABELLED,
    ),
    Kind(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicy",
        LABELLED,
    ),
    Kind("", "v1", "Event", |object, known| {
        let about = &object["involvedObject"];
        let kind = about["kind"].as_str().unwrap_or_default();
        TOLD_OF.contains(&kind)
            || is_in(&known.namespaces, &object["metadata"]["namespace"])
            || kind == "PersistentVolumeClaim" && is_drivers(&object["source"]["component"])
            || is_in(&known.pods, &about["name"])
    }),
];

/// Collects all of it.
pub async fn collect(cluster: &Cluster, wish: &Wish) -> Bundle {
    let mut bundle = Bundle::default();
    let end = Instant::now() + PATIENCE;
    let own = format!("kubectl-topolvm {}\n", env!("CARGO_PKG_VERSION"));
    let server = within(end, cluster.version_text()).await;
    bundle.tell(
        "versions.txt",
        server.map(|server| format!("{own}Kubernetes {server}\n")),
    );
    tables(cluster, &mut bundle, end).await;
    let mut known = Known::default();
    let mut containers = Vec::new();
    for Kind(group, version, kind, is_ours) in KINDS {
        let name = match group {
            "" => format!("objects/{kind}.yaml"),
            group => format!("objects/{kind}.{group}.yaml"),
        };
        let all = match within(end, cluster.of_kind(group, version, kind)).await {
            Ok(all) => all,
            Err(error) => {
                bundle.miss(name, format!("{error:#}"));
                continue;
            }
        };
        let ours: Vec<Value> = all
            .into_iter()
            .filter(|object| is_ours(object, &known))
            .collect();
        known.learn(kind, &ours);
        if kind == "Pod" {
            containers.extend(ours.iter().flat_map(Container::of));
        }
        bundle.tell(&name, yaml(ours.into_iter().map(mask::object)));
    }
    secrets(cluster, &mut bundle, &known, wish.with_backups, end).await;
    for container in &containers {
        of_container(cluster, &mut bundle, container, wish.lines, end).await;
    }
    bundle.miss(
        "disk-watcher status",
        "not read: it is on the nodes, in /run/disk-watcher/status.json; kubectl exec ds/disk-watcher -- /disk-watcher status --details",
    );
    bundle
}

impl Known {
    fn learn(&mut self, kind: &str, ours: &[Value]) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names = ours.iter().map(|object| text(&object["metadata"]["name"]));
        match kind {
            "StorageClass" => self.classes.extend(names),
            "PersistentVolume" => self.volumes.extend(names),
            "Pod" => {
                self.pods.extend(names);
                self.namespaces.extend(
                    ours.iter()
                        .map(|object| text(&object["metadata"]["namespace"])),
                );
            }
            _ => {}
        }
    }
}

/// Waits for an answer, for so long.
async fn within<T>(
    end: Instant,
    answer: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let end = end.min(Instant::now() + ANSWER);
    match timeout_at(end, answer).await {
        Ok(had) => had,
        Err(_) => anyhow::bail!("no answer in time"),
    }
}

fn yaml(objects: impl Iterator<Item = Value>) -> anyhow::Result<String> {
    let mut text = String::new();
    for object in objects {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&object)?);
    }
    Ok(text)
}

/// What the other commands show.
async fn tables(cluster: &Cluster, bundle: &mut Bundle, end: Instant) {
    let examined = within(end, cluster.examine()).await;
    let told = examined.and_then(|examined| show(&doctor::judge(&examined), Output::Table));
    bundle.tell("doctor.txt", told);
    match within(end, cluster.read()).await {
        Ok(mut seen) => {
            bundle.tell("nodes.txt", show(&nodes::rows(&seen), Output::Table));
            bundle.tell(
                "orphans.txt",
                orphans::rows(&seen).and_then(|rows| show(&rows, Output::Table)),
            );
            let used = within(end, async { Ok(cluster.used(&seen).await) });
            let io = within(end, async { Ok(cluster.io().await) });
            let (used, io) = tokio::join!(used, io);
            (seen.used, seen.io) = (used.unwrap_or_default(), io.unwrap_or_default());
            bundle.tell("volumes.txt", show(&volumes::rows(&seen), Output::Table));
        }
        Err(error) => bundle.miss("nodes.txt, orphans.txt, volumes.txt", format!("{error:#}")),
    }
    let told = within(end, cluster.of_watcher("NodeDisk")).await;
    bundle.tell(
        "disks.txt",
        told.and_then(|told| show(&disks::disks(&told), Output::Table)),
    );
    let told = within(end, cluster.of_watcher("NodeThinPool")).await;
    bundle.tell(
        "pools.txt",
        told.and_then(|told| show(&disks::pools(&told), Output::Table)),
    );
}

/// Of the Secrets of our namespaces their sizes; where a person wants it, LVM's descriptions of groups whole.
async fn secrets(
    cluster: &Cluster,
    bundle: &mut Bundle,
    known: &Known,
    backups: bool,
    end: Instant,
) {
    for namespace in &known.namespaces {
        let all = match within(end, cluster.secrets(namespace)).await {
            Ok(all) => all,
            Err(error) => {
                bundle.miss(format!("secrets/{namespace}.yaml"), format!("{error:#}"));
                continue;
            }
        };
        bundle.tell(
            &format!("secrets/{namespace}.yaml"),
            yaml(all.iter().map(mask::secret)),
        );
        let groups = all
            .iter()
            .filter(|secret| secret.type_.as_deref() == Some("basalt.storage/volume-group"));
        for secret in groups {
            let name = format!("backups/{namespace}_{}.yaml", secret.name_any());
            match backups {
                true => {
                    let told = serde_json::to_value(secret).map(mask::object);
                    bundle.tell(
                        &name,
                        told.map_err(Into::into)
                            .and_then(|told| yaml(std::iter::once(told))),
                    );
                }
                false => bundle.miss(name, "only with --with-backups"),
            }
        }
    }
}

/// The logs of a container, and what its pages say.
async fn of_container(
    cluster: &Cluster,
    bundle: &mut Bundle,
    of: &Container,
    lines: i64,
    end: Instant,
) {
    let name = format!("{}_{}_{}", of.namespace, of.pod, of.container);
    bundle.tell(
        &format!("logs/{name}.log"),
        within(end, cluster.log(of, lines, false)).await,
    );
    if of.restarted {
        bundle.tell(
            &format!("logs/{name}.previous.log"),
            within(end, cluster.log(of, lines, true)).await,
        );
    }
    if of.has_pages {
        for page in ["metrics", "readyz"] {
            let told = within(end, cluster.page(of, page)).await;
            bundle.tell(&format!("{page}/{name}.txt"), told);
        }
    }
}
