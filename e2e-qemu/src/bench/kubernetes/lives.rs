//! Volumes from claim to deletion, one after the other, and how long each step took.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e_qemu::cluster::{Cluster, images};
use serde_json::{Value, json};

use super::calls::{self, Log};
use super::events::Mirrors;
use super::node::Processes;
use super::watch::Watch;

/// Several times what the slowest step took.
const SOON: Duration = Duration::from_mins(5);
/// What is waited for calls and events that come after the end of a life; and for those without a reason, before the first.
const AFTER: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_secs(20);
/// A claim's first size, and the one it grows to.
const SIZES: [&str; 2] = ["200Mi", "300Mi"];

/// All measurements of a case, in seconds, or processes, calls and events.
pub(super) type Measured = BTreeMap<&'static str, Vec<f64>>;

/// What is watched while volumes live.
pub(super) struct Lives<'a> {
    cluster: &'a Cluster,
    claims: Watch,
    volumes: Watch,
    pods: Watch,
    snapshots: Watch,
    lvm: Processes<'a>,
    log: &'a Log,
}

impl<'a> Lives<'a> {
    /// Watches.
    pub(super) fn watch(
        cluster: &'a Cluster,
        lvm: Processes<'a>,
        log: &'a Log,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            cluster,
            claims: Watch::start(cluster, "persistentvolumeclaims")?,
            volumes: Watch::start(cluster, "persistentvolumes")?,
            pods: Watch::start(cluster, "pods")?,
            snapshots: Watch::start(cluster, "volumesnapshots")?,
            lvm,
            log,
        })
    }

    /// Listens for calls while nobody asks the driver for anything, and shows them: what it shows would be in the counts.
    pub(super) fn hear_quiet(&self) -> anyhow::Result<()> {
        let seen = self.log.read()?.len();
        calls::wait(QUIET)?;
        println!(
            "calls in {QUIET:?} without a reason: {:?}",
            self.log.calls(seen)?
        );
        Ok(())
    }

    /// A life without more, of which is counted what it costs: processes of lvm, calls of the API server, and where the
    /// watches are mirrored, events.
    pub(super) fn counted(
        &self,
        name: &str,
        mirrors: Option<&mut Mirrors<'_>>,
        measured: &mut Measured,
    ) -> anyhow::Result<()> {
        let processes = self.lvm.count()?;
        let seen = self.log.read()?.len();
        let events = mirrors.as_ref().map(|mirrors| mirrors.count());
        self.live(name, false, measured)?;
        calls::wait(AFTER)?;
        let processes = self.lvm.count()?.saturating_sub(processes);
        let calls = self.log.calls(seen)?;
        println!("calls for one volume: {calls:?}");
        let mut add = |case, count| measured.entry(case).or_default().push(count);
        add("lvm-per-volume-life", f64::from(processes));
        add(
            "api-calls-per-volume",
            f64::from(calls.values().sum::<u32>()),
        );
        if let (Some(mirrors), Some(before)) = (mirrors, events) {
            add("watch-events-per-volume", f64::from(mirrors.sent(&before)?));
        }
        Ok(())
    }

    /// A claim and its pod; and, if the life is to be `full`, what one does with a volume.
    pub(super) fn live(
        &self,
        name: &str,
        full: bool,
        measured: &mut Measured,
    ) -> anyhow::Result<()> {
        let mut add = |case, from: Instant, to: Instant| {
            let took = to.saturating_duration_since(from).as_secs_f64();
            measured.entry(case).or_default().push(took);
        };
        self.make(name, &Value::Null, SIZES[0], "waits")?;
        let made = self.claims.when(name, SOON, |_| true)?;
        add("pvc-bound", made, self.claims.when(name, SOON, bound)?);
        let made = self.pods.when(name, SOON, |_| true)?;
        add("pod-ready", made, self.pods.when(name, SOON, ready)?);
        let copy = format!("{name}-copy");
        if full {
            let size = json!({"spec": {"resources": {"requests": {"storage": SIZES[1]}}}});
            self.kubectl(&["patch", "pvc", name, "--patch", &size.to_string()])?;
            let wanted =
                |claim: &Value| claim["spec"]["resources"]["requests"]["storage"] == SIZES[1];
            let grown = |claim: &Value| claim["status"]["capacity"]["storage"] == SIZES[1];
            let asked = self.claims.when(name, SOON, wanted)?;
            add("expand", asked, self.claims.when(name, SOON, grown)?);

            self.cluster.apply(&snapshot(name).to_string())?;
            let made = self.snapshots.when(name, SOON, |_| true)?;
            let usable = |snapshot: &Value| snapshot["status"]["readyToUse"] == true;
            add(
                "snapshot-ready",
                made,
                self.snapshots.when(name, SOON, usable)?,
            );

            let source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name});
            self.make(&copy, &source, SIZES[1], "waits")?;
            let made = self.claims.when(&copy, SOON, |_| true)?;
            add("restore-bound", made, self.claims.when(&copy, SOON, bound)?);
            self.pods.when(&copy, SOON, ready)?;
            self.kubectl(&["delete", "pod", &copy, "--wait=false"])?;
            self.pods.gone(&copy, SOON)?;
            self.kubectl(&["delete", "pvc", &copy, "--wait=false"])?;
            self.kubectl(&["delete", "volumesnapshot", name])?;
        }
        self.kubectl(&["delete", "pod", name, "--wait=false"])?;
        self.pods.gone(name, SOON)?;
        let deleted = self.delete(name)?;
        add("delete", deleted.0, deleted.1);
        if full {
            self.volume_gone(&copy)?;
        }
        Ok(())
    }

    fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        self.cluster.control.kubectl(args)
    }

    fn make(&self, name: &str, source: &Value, size: &str, class: &str) -> anyhow::Result<()> {
        let both = [claim(name, source, size, class), pod(name)];
        self.cluster
            .apply(&both.map(|o| o.to_string()).join("\n---\n"))
    }

    /// Deletes a claim; when that was, and when its volume was gone.
    fn delete(&self, name: &str) -> anyhow::Result<(Instant, Instant)> {
        self.kubectl(&["delete", "pvc", name, "--wait=false"])?;
        let deleted = |claim: &Value| claim["metadata"]["deletionTimestamp"].is_string();
        let asked = self.claims.when(name, SOON, deleted)?;
        Ok((asked, self.volume_gone(name)?))
    }

    fn volume_gone(&self, claim: &str) -> anyhow::Result<Instant> {
        self.volumes.gone(&volume(&self.claims, claim)?, SOON)
    }
}

/// The volume of a claim, as the claim said last.
pub(super) fn volume(claims: &Watch, claim: &str) -> anyhow::Result<String> {
    let name = std::cell::Cell::new(String::new());
    claims.when(claim, SOON, |claim| {
        let volume = claim["spec"]["volumeName"].as_str();
        name.set(volume.unwrap_or_default().to_owned());
        volume.is_some()
    })?;
    Ok(name.into_inner())
}

pub(super) fn bound(claim: &Value) -> bool {
    claim["status"]["phase"] == "Bound"
}

fn ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|one| one["type"] == "Ready" && one["status"] == "True")
}

pub(super) fn claim(name: &str, source: &Value, size: &str, class: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": class, "dataSource": source,
        "resources": {"requests": {"storage": size}}}})
}

fn pod(name: &str) -> Value {
    let script = "trap exit TERM; echo x >/data/x; sync; sleep 1d & wait";
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
        "containers": [{"name": "c", "image": images::BUSYBOX, "imagePullPolicy": "Never",
            "command": ["sh", "-c", script], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]}})
}

fn snapshot(name: &str) -> Value {
    json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": name},
        "spec": {"volumeSnapshotClassName": "thin", "source": {"persistentVolumeClaimName": name}}})
}
