//! What a person applies: claims, and pods that use them.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, images};

/// Where topolvm is installed, as in the guide.
pub(super) const NAMESPACE: &str = "topolvm-system";

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
