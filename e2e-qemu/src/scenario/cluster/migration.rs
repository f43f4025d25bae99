//! From TopoLVM to ours and back by `helm upgrade` with the same values, while pods write: no volume is touched.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::workloads::{self, NAMESPACE, all_kept, claim, exec, list, pod, writing, written};
use super::{Context, TOPOLVM, in_cluster};
use crate::cluster::upstream::Release;
use crate::cluster::{self, Cluster, Node, images, snapshots};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do, of a node on which many pods write.
const SOON: Duration = Duration::from_mins(10);
/// How long the node may live: several times what all takes.
const LIMIT: Duration = Duration::from_mins(90);
/// What upstream's chart runs.
const UPSTREAM: [&str; 3] = ["daemonset/topolvm-lvmd-0", TOPOLVM[0], TOPOLVM[1]];
/// The volumes of one pod: their StorageClasses.
const CLASSES: [&str; 4] = ["thin-ext4", "thin-xfs", "thick", "thin-ext4"];

/// How many pods write all the time, each into its own volumes: twenty of them in all.
const PODS: usize = 5;

/// From and to the newest TopoLVM.
pub(in super::super) fn there_and_back(context: &Context) -> Result<()> {
    from(context, &Release::newest(&context.workspace)?)
}

/// From and to the oldest TopoLVM whose chart is to be had.
pub(in super::super) fn from_the_older(context: &Context) -> Result<()> {
    from(context, &Release::older(&context.workspace)?)
}

fn from(context: &Context, release: &Release) -> Result<()> {
    let crds = snapshots::crds(&context.workspace)?;
    in_cluster(context, |cluster| {
        cluster.add_upstream(release)?;
        let theirs = release.chart(cluster.dir())?;
        let ours = context.workspace.join("charts/topolvm");
        let node = cluster.node(1, context.spec(Backend::Uml, "n1").limit(LIMIT))?;
        let disk = node.guest().plug(Disk::new(32 << 30))?.path();
        node.guest().check(Command::shell(format!(
            "lvm vgcreate vg {disk} && lvm lvcreate -y -L 20G -T vg/pool"
        )))?;
        snapshots::install(cluster, &crds)?;
        cluster.apply(SNAPSHOT_CLASS)?;
        let live = Live {
            context,
            cluster,
            node: &node,
            pods: (1..=PODS).map(|n| format!("live{n}")).collect(),
        };
        live.release("install", &theirs, release.chart_value(), &UPSTREAM)?;
        live.start()?;
        live.make("theirs")?;

        let first = live.volumes()?;
        live.upgrade("ours", &ours, images::chart_value(true), &TOPOLVM)?;
        live.work_on("theirs", "ours", "768Mi")?;
        live.make("ours")?;

        live.upgrade("theirs", &theirs, release.chart_value(), &UPSTREAM)?;
        live.work_on("ours", "back", "1Gi")?;
        live.make("back")?;

        live.check()?;
        let last = live.volumes()?;
        // But for the one that was deleted, each volume is the one that it was.
        let lost: Vec<_> = first.iter().filter(|lv| !last.contains(lv)).collect();
        ensure!(lost.len() == 1, "{lost:?} are not as they were");
        Ok(())
    })
}

/// A release, and pods that are to notice nothing.
struct Live<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    node: &'a Node,
    pods: Vec<String>,
}

impl Live<'_> {
    fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.control.kubectl(args)
    }

    /// Installs or upgrades the release, and waits until all of it runs and the kubelet knows the driver.
    fn release(&self, verb: &str, chart: &Path, image: Value, runs: &[&str]) -> Result<()> {
        let values = values(image);
        (self.cluster).helm(verb, chart, "topolvm", NAMESPACE, &[], &values)?;
        cluster::until("the driver runs", SOON, || {
            Ok(self.cluster.rolled_out(NAMESPACE, runs).is_ok())
        })?;
        let drivers = "jsonpath={.spec.drivers[*].name}";
        cluster::until("the kubelet knows the driver", SOON, || {
            let known = self.kubectl(&["get", "csinode", "n1", "-o", drivers])?;
            Ok(known.contains("topolvm.io"))
        })?;
        Ok(())
    }

    /// Replaces the driver under the pods.
    fn upgrade(&self, to: &str, chart: &Path, image: Value, runs: &[&str]) -> Result<()> {
        let before = self.written()?;
        let volumes = self.volumes()?;
        let started = Instant::now();
        self.release("upgrade", chart, image, runs)?;
        let took = started.elapsed();
        ensure!(self.volumes()? == volumes, "the upgrade changed volumes");
        cluster::until("every pod goes on", SOON, || {
            let now = self.written()?;
            Ok(now.iter().zip(&before).all(|(now, before)| now > before))
        })?;
        self.check()?;
        let files = |counts: &[u32]| counts.iter().sum::<u32>();
        self.context.result(format!(
            "to {to}: the driver ran {:.0} s after helm upgrade; {} volumes of {} pods, {} files before and {} after, \
             no write failed, all sums hold",
            took.as_secs_f32(),
            self.pods.len() * CLASSES.len(),
            self.pods.len(),
            files(&before),
            files(&self.written()?)
        ));
        Ok(())
    }

    /// The pods that write all the time, each into its own volumes.
    fn start(&self) -> Result<()> {
        for name in &self.pods {
            let volumes = volumes_of(name);
            let mut items: Vec<_> = volumes
                .iter()
                .zip(CLASSES)
                .map(|(volume, class)| claim(volume, class, "512Mi"))
                .collect();
            let writers: String = volumes
                .iter()
                .map(|volume| format!("( {} ) & ", writing(volume, 200, 1, "6")))
                .collect();
            let names: Vec<_> = volumes.iter().map(String::as_str).collect();
            items.push(pod(name, &format!("{{ {writers} }}"), &names, &[]));
            self.cluster.apply(&list(&items))?;
        }
        for name in &self.pods {
            self.ready(name)?;
        }
        cluster::until("every pod has written", SOON, || {
            Ok(self.written()?.iter().all(|files| *files > 8))
        })?;
        Ok(())
    }

    /// What the driver of now makes for the next one: volumes with data, and a snapshot of a live one.
    fn make(&self, driver: &str) -> Result<()> {
        let names = [format!("{driver}-kept"), format!("{driver}-deleted")];
        for (name, class) in names.iter().zip(["thin-xfs", "thick"]) {
            let write = format!(
                "cd /{name} && dd if=/dev/urandom of=data bs=1M count=4 && sha256sum data >sums && sync && touch /tmp/done"
            );
            self.cluster.apply(&list(&[
                claim(name, class, "400Mi"),
                pod(name, &write, &[name], &[]),
            ]))?;
        }
        for name in &names {
            self.ready(name)?;
            cluster::until("it is written", SOON, || {
                Ok(exec(self.cluster, name, "[ -e /tmp/done ]").is_ok())
            })?;
        }
        let name = format!("{driver}-then");
        self.cluster.apply(&json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": name},
            "spec": {"volumeSnapshotClassName": "thin", "source": {"persistentVolumeClaimName": self.volume(1)}}
        }).to_string())?;
        let ready = "jsonpath={.status.readyToUse}";
        cluster::until("the snapshot is ready", SOON, || {
            let get = ["get", "volumesnapshot", &name, "-o", ready];
            Ok(self.kubectl(&get)? == "true")
        })?;
        Ok(())
    }

    /// What the driver of now does with what `before` made: mounts it, restores it, deletes it, lets it grow.
    fn work_on(&self, before: &str, now: &str, size: &str) -> Result<()> {
        let started = Instant::now();
        let kept = format!("{before}-kept");
        self.kubectl(&["delete", "pod", &kept, "--timeout=120s"])?;
        self.cluster
            .apply(&pod(&kept, ":", &[&kept], &[]).to_string())?;
        self.ready(&kept)?;
        self.whole(&kept, &kept)?;

        let restored = format!("{now}-restored");
        let mut copy = claim(&restored, "thin-xfs", size);
        copy["spec"]["dataSource"] = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot",
            "name": format!("{before}-then")});
        self.cluster
            .apply(&list(&[copy, pod(&restored, ":", &[&restored], &[])]))?;
        self.ready(&restored)?;
        self.whole(&restored, &restored)?;

        let deleted = format!("{before}-deleted");
        let volume = "jsonpath={.spec.volumeName}";
        let volume = self.kubectl(&["get", "pvc", &deleted, "-o", volume])?;
        for what in ["pod", "pvc"] {
            self.kubectl(&["delete", what, &deleted, "--timeout=120s"])?;
        }
        cluster::until("the volume is gone", SOON, || {
            let found = ["get", "pv,logicalvolume", "-o", "name"];
            Ok(!self.kubectl(&found)?.contains(&volume))
        })?;

        let (grown, pod) = (self.volume(0), &self.pods[0]);
        let blocks = format!("stat -f -c %b /{grown}");
        let room = || -> Result<u64> { Ok(exec(self.cluster, pod, &blocks)?.parse()?) };
        let had = room()?;
        let grow = json!({"spec": {"resources": {"requests": {"storage": size}}}}).to_string();
        self.kubectl(&["patch", "pvc", &grown, "--patch", &grow])?;
        cluster::until("it has grown under its pod", SOON, || {
            Ok(room()? > had * 5 / 4)
        })?;
        self.context.result(format!(
            "{now}: mounted again, restored from a snapshot, deleted and grown what {before} had made in {:.0} s",
            started.elapsed().as_secs_f32()
        ));
        Ok(())
    }

    /// A file system has what its sums say, and there are some.
    fn whole(&self, pod: &str, folder: &str) -> Result<()> {
        let check = format!("cd /{folder} && [ -s sums ] && sha256sum -c sums >/dev/null");
        exec(self.cluster, pod, &check)
            .with_context(|| format!("{folder} is not what was written"))
            .map(drop)
    }

    /// No write of a live pod failed, and what it wrote is there.
    fn check(&self) -> Result<()> {
        for name in &self.pods {
            for volume in volumes_of(name) {
                all_kept(self.cluster, name, &volume)?;
            }
        }
        Ok(())
    }

    /// Of each live pod, how many files it has written.
    fn written(&self) -> Result<Vec<u32>> {
        let count = |pod: &String| written(self.cluster, pod);
        self.pods.iter().map(count).collect()
    }

    /// Name and UUID of every volume of the node, and whether it is active.
    fn volumes(&self) -> Result<Vec<String>> {
        let ask = "lvm lvs --noheadings -o lv_name,lv_uuid,lv_active vg";
        let said = self.node.guest().check(Command::shell(ask))?;
        Ok(said.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// A volume of the first pod.
    fn volume(&self, number: usize) -> String {
        volumes_of(&self.pods[0]).swap_remove(number)
    }

    fn ready(&self, pod: &str) -> Result<()> {
        cluster::until("the pod is ready", SOON, || {
            Ok(workloads::ready(self.cluster, pod).is_ok())
        })
        .with_context(|| pod.to_owned())
        .map(drop)
    }
}

/// The names of a pod's claims.
fn volumes_of(pod: &str) -> Vec<String> {
    (0..CLASSES.len()).map(|n| format!("{pod}-{n}")).collect()
}

/// The same for both charts, but for the image.
fn values(image: Value) -> Value {
    let class = |name: &str, fs: &str, class: &str| {
        json!({"name": name, "storageClass": {"fsType": fs, "allowVolumeExpansion": true,
            "volumeBindingMode": "WaitForFirstConsumer",
            "additionalParameters": {"topolvm.io/device-class": class}}})
    };
    // A user-mode kernel on a busy machine is slow; upstream's programs are given a second to answer.
    let patient = json!({"failureThreshold": 100});
    json!({
        "image": image,
        // With it the older chart wants cert-manager; the others know nothing of it.
        "webhook": {"pvcMutatingWebhook": {"enabled": false}},
        // Two replicas keep apart, and there is one node: the old one has to go first.
        "controller": {"replicaCount": 1, "updateStrategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}},
        "livenessProbe": {"lvmd": patient, "topolvm_node": patient, "csi_registrar": patient, "topolvm_controller": patient},
        "lvmd": {"managed": true, "deviceClasses": [
            {"name": "thin", "volume-group": "vg", "default": true, "spare-gb": 0, "type": "thin",
             "thin-pool": {"name": "pool", "overprovision-ratio": 5.0}},
            {"name": "thick", "volume-group": "vg", "spare-gb": 1},
        ]},
        "storageClasses": [class("thin-ext4", "ext4", "thin"), class("thin-xfs", "xfs", "thin"),
            class("thick", "ext4", "thick")],
    })
}

/// As a person makes it: upstream's chart has none.
const SNAPSHOT_CLASS: &str = r#"{"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
    "metadata": {"name": "thin"}, "driver": "topolvm.io", "deletionPolicy": "Delete"}"#;
