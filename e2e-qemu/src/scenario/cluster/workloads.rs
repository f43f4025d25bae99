//! What a person applies: claims, and pods that use them.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Context;
use crate::cluster::{self, Cluster, Node, images};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// Where topolvm is installed, as in the guide.
pub(super) const NAMESPACE: &str = "topolvm-system";

/// Two nodes, `n1` and `n2`, each with a volume group `vg` on a disk of so many GiB.
pub(super) fn nodes_with_group(
    context: &Context,
    cluster: &Cluster,
    gib: [u64; 2],
) -> Result<[Node; 2]> {
    let node = |number: u8, gib: u64| {
        let name = format!("n{number}");
        let node = cluster.node(number, context.spec(Backend::Uml, &name))?;
        let disk = node.guest().plug(Disk::new(gib << 30))?.path();
        let make = Command::shell(format!("lvm vgcreate vg {disk}"));
        node.guest().check(make)?;
        anyhow::Ok(node)
    };
    Ok([node(1, gib[0])?, node(2, gib[1])?])
}

/// The chart's values for thick ext4 volumes of the group `vg`.
pub(super) fn thick_values() -> Value {
    json!({
        "image": images::chart_value(true),
        "snapshot": {"enabled": false},
        "lvmd": {"managed": false, "deviceClasses": [
            {"name": "thick", "volume-group": "vg", "default": true, "spare-gb": 0}]},
        "node": {"lvmdEmbedded": true},
        "storageClasses": [{"name": "thick", "storageClass": {"fsType": "ext4",
            "volumeBindingMode": "WaitForFirstConsumer",
            "additionalParameters": {"topolvm.io/device-class": "thick"}}}],
    })
}

/// A claim for a file system.
pub(super) fn claim(name: &str, class: &str, size: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": size}}
        }
    })
}

/// A pod that runs `script` and then waits. A claim of `mounts` is the folder with its name, one of `devices` the
/// device with its name.
pub(super) fn pod(name: &str, script: &str, mounts: &[&str], devices: &[&str]) -> Value {
    let volume = |name: &&str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
    let at = |key: &str, folder: &str, names: &[&str]| -> Value {
        names
            .iter()
            .map(|name| json!({"name": name, key: format!("{folder}/{name}")}))
            .collect()
    };
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "c", "image": images::BUSYBOX, "imagePullPolicy": "Never",
                "command": ["sh", "-c", format!("trap exit TERM; {script}; sleep 1d & wait")],
                "volumeMounts": at("mountPath", "", mounts), "volumeDevices": at("devicePath", "/dev", devices)
            }],
            "volumes": mounts.iter().chain(devices).map(volume).collect::<Vec<_>>()
        }
    })
}

/// The same pod, which would rather be on this node.
pub(super) fn preferring(mut pod: Value, node: &str) -> Value {
    pod["spec"]["affinity"] = json!({"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": {
            "matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}}]}});
    pod
}

/// Manifests in one text.
pub(super) fn list(items: &[Value]) -> String {
    let texts: Vec<_> = items.iter().map(Value::to_string).collect();
    texts.join("\n---\n")
}

/// A script that writes `files` files of `mib` MiB into a folder, each synced, with its sum in `sums` there, `pause`
/// seconds apart. What fails goes to /tmp/errors.
pub(super) fn writing(folder: &str, files: u32, mib: u32, pause: &str) -> String {
    format!(
        "for i in $(seq {files}); do \
           if dd if=/dev/urandom of=/{folder}/$i bs=1M count={mib} conv=fsync && \
             sum=$(cd /{folder} && sha256sum $i) && echo \"$sum\" >>/{folder}/sums && \
             sync /{folder}/sums; \
           then echo $i >>/tmp/written; else echo \"file $i\" >>/tmp/errors; fi; sleep {pause}; \
         done"
    )
}

/// Waits until a pod is ready.
pub(super) fn ready(cluster: &Cluster, pod: &str) -> Result<()> {
    let pod = format!("pod/{pod}");
    let wait = ["wait", "--for=condition=Ready", &pod, "--timeout=180s"];
    cluster.control.kubectl(&wait).map(drop)
}

/// Waits until the scheduler knows the room that both nodes have for a class of storage.
pub(super) fn room_is_known(cluster: &Cluster, class: &str) -> Result<()> {
    let rooms = format!("jsonpath={{.items[?(@.storageClassName==\"{class}\")].capacity}}");
    let rooms = ["get", "csistoragecapacities", "-A", "-o", &rooms];
    let limit = Duration::from_mins(3);
    cluster::until("the scheduler knows the room of both", limit, || {
        let rooms = cluster.control.kubectl(&rooms)?;
        let known = rooms.split_whitespace().filter(|room| *room != "0");
        Ok(known.count() == 2)
    })?;
    Ok(())
}

/// The node that a pod runs on, once it is ready.
pub(super) fn runs_on(cluster: &Cluster, pod: &str) -> Result<String> {
    ready(cluster, pod)?;
    let node = "jsonpath={.spec.nodeName}";
    cluster.control.kubectl(&["get", "pod", pod, "-o", node])
}

/// The messages of the Events about an object.
pub(super) fn said(cluster: &Cluster, kind: &str, name: &str, reason: &str) -> Result<String> {
    let of = format!(
        "--field-selector=involvedObject.kind={kind},involvedObject.name={name},reason={reason}"
    );
    let messages = "jsonpath={range .items[*]}{.count} {.message}{\"\\n\"}{end}";
    cluster
        .control
        .kubectl(&["get", "events", &of, "-o", messages])
}

/// Runs a script in a pod.
pub(super) fn exec(cluster: &Cluster, pod: &str, script: &str) -> Result<String> {
    let exec = ["exec", pod, "--", "sh", "-ec", script];
    cluster.control.kubectl(&exec)
}

/// How many files a pod that runs [`writing`] has written.
pub(super) fn written(cluster: &Cluster, pod: &str) -> Result<u32> {
    Ok(exec(cluster, pod, "cat /tmp/written 2>/dev/null | wc -l")?.parse()?)
}

/// Of a pod that runs [`writing`] into `folder`: no write failed, every file has its sum, and the container is the first one.
pub(super) fn all_kept(cluster: &Cluster, pod: &str, folder: &str) -> Result<()> {
    let none = "[ ! -e /tmp/errors ] || { cat /tmp/errors >&2; exit 1; }";
    exec(cluster, pod, none)?;
    let sums = format!("cd /{folder} && sha256sum -c sums >/dev/null");
    exec(cluster, pod, &sums)?;
    let restarts = "jsonpath={.status.containerStatuses[0].restartCount}";
    let restarts = (cluster.control).kubectl(&["get", "pod", pod, "-o", restarts])?;
    ensure!(
        restarts == "0",
        "the container was started {restarts} times more"
    );
    Ok(())
}
