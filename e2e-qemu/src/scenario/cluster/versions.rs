//! Another version of the watcher goes on with what one is in the middle of, and an earlier one too: nothing is lost, no
//! disk is claimed twice, nothing is frozen.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::objects;
use super::path::{WATCHER, status};
use super::theirs::Theirs;
use super::{Context, in_cluster};
use crate::cluster::{self, Cluster, Node, images, older};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);
/// How long the guest may live.
const LIMIT: Duration = Duration::from_mins(20);
/// In the record of a disk that is being taken, and of one that is leaving.
const TAKEN: &str = "\"stage\": \"(Claimed|Labelled|Grouped)\"";
const LEAVING: &str = "\"leaving\"";

/// See the module.
pub(in super::super) fn there_and_back(context: &Context) -> Result<()> {
    let programs = older::programs(&context.workspace)?;
    in_cluster(context, |cluster| {
        cluster.add_older(&programs)?;
        let spec = context.spec(Backend::Uml, "n1").module("dm_mirror");
        let node = cluster.node(1, spec.limit(LIMIT))?;
        let theirs = [Theirs::with_data(&node, 600)?, Theirs::blank(&node, 300)?];
        cluster.helm_install("disk-watcher", WATCHER, &[], &values(older::IMAGE))?;
        cluster.rolled_out(WATCHER, &["daemonset/disk-watcher"])?;
        cluster.apply(&class().to_string())?;
        let stage = Stage {
            context,
            cluster,
            node: &node,
        };
        let plug = |disks: u32| {
            for _ in 0..disks {
                node.guest().plug(Disk::new(1 << 30))?;
            }
            Ok(())
        };

        stage.replaced(TAKEN, images::BASALT, || plug(1))?;
        stage.settles(1)?;
        stage.lvm(
            "lvm lvcreate -qq -y -V 96M -T fast/pool0 -n data && \
             dd if=/dev/urandom of=/dev/fast/data bs=1M count=96 conv=fsync status=none",
        )?;
        let before = stage.lvm("sha256sum </dev/fast/data")?;
        let kept = || -> Result<()> {
            let now = stage.lvm("sha256sum </dev/fast/data")?;
            ensure!(now == before, "the volume is {now} and was {before}");
            theirs.iter().try_for_each(|disk| disk.check(&node))
        };
        stage.replaced(TAKEN, older::IMAGE, || plug(2))?;
        stage.settles(3)?;
        kept()?;
        for (name, next, left) in [("one", images::BASALT, 2), ("two", older::IMAGE, 1)] {
            let fullest = "lvm pvs --noheadings -o pv_uuid -O -pv_used -S vg_name=fast | head -n 1";
            let fullest = stage.lvm(fullest)?;
            stage.replaced(LEAVING, next, || {
                cluster.apply(&objects::removal(name, fullest.trim()).to_string())
            })?;
            stage.settles(left)?;
            let pvs = stage.pvs()?;
            ensure!(
                !pvs.contains(&fullest.trim().to_owned()),
                "the PVs are {pvs:?}"
            );
            kept()?;
        }
        stage.lvm("lvm vgck fast")?;
        context.result(format!(
            "the volume and {} disks that are not ours kept their sha256 each time; every PV has one claim, none is Frozen",
            theirs.len()
        ));
        Ok(())
    })
}

struct Stage<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    node: &'a Node,
}

impl Stage<'_> {
    fn lvm(&self, script: &str) -> Result<String> {
        Ok(self.node.guest().check(Command::shell(script))?)
    }

    /// Has the watcher stop as soon as a record says `what`, while `begin` is done, and another version take its place.
    fn replaced(&self, what: &str, image: &str, begin: impl FnOnce() -> Result<()>) -> Result<()> {
        let stop = format!(
            "cd /var/lib/disk-watcher/claims && echo ready && \
             until grep -qsE '{what}' *.json; do sleep 0.02; done; \
             pkill -STOP -x disk-watcher && grep -hsE '\"stage\"|\"leaving\"' *.json | tr -d '\\n'; echo"
        );
        let stop = Command::shell(stop).timeout(SOON);
        let stopped = self.node.guest().spawn(stop)?;
        stopped.await_line(SOON, |line| line == "ready")?;
        begin()?;
        let records = stopped.wait(SOON)?;
        ensure!(records.status.success(), "{}", records.text());
        let records = records.text().replace("ready", "");
        let replaced = Instant::now();
        let old = self.image()?;
        self.cluster
            .helm_upgrade("disk-watcher", WATCHER, &values(image))?;
        cluster::until("the other version runs", SOON, || {
            Ok(self.image().is_ok_and(|now| now == image))
        })?;
        self.cluster
            .rolled_out(WATCHER, &["daemonset/disk-watcher"])?;
        self.context.result(format!(
            "{old} was stopped at {}; {image} was Ready {:.0} s later",
            records.split_whitespace().collect::<String>(),
            replaced.elapsed().as_secs_f32()
        ));
        Ok(())
    }

    /// The image of the only pod.
    fn image(&self) -> Result<String> {
        let image = "jsonpath={.items[*].spec.containers[*].image}";
        let label = "app.kubernetes.io/name=disk-watcher";
        let ask = ["get", "pods", "-n", WATCHER, "-l", label, "-o", image];
        self.cluster.control.kubectl(&ask)
    }

    fn pvs(&self) -> Result<Vec<String>> {
        let pvs = self.lvm("lvm pvs --noheadings -o pv_uuid -S vg_name=fast")?;
        let mut pvs: Vec<_> = pvs.split_whitespace().map(str::to_owned).collect();
        pvs.sort_unstable();
        Ok(pvs)
    }

    /// Waits until the group has so many disks, each with one claim that nothing is under way of, and the cluster says the same.
    fn settles(&self, disks: usize) -> Result<()> {
        let took = cluster::until("all that was begun is done", 2 * SOON, || {
            // One that is done with leaves while they are read.
            let claims = self.lvm("cat /var/lib/disk-watcher/claims/*.json 2>/dev/null || true")?;
            let claims = serde_json::Deserializer::from_str(&claims).into_iter::<Value>();
            let claims = claims.collect::<Result<Vec<_>, _>>()?;
            let done = |claim: &Value| claim["stage"] == "Ready" && claim["leaving"].is_null();
            let mut claimed: Vec<_> = claims.iter().filter_map(|c| c["pvUuid"].as_str()).collect();
            claimed.sort_unstable();
            let shown = objects::disks(self.cluster)?;
            let mut members: Vec<_> = (shown.iter())
                .filter(|disk| disk["status"]["state"] == "Ready")
                .filter_map(|disk| disk["status"]["pvUUID"].as_str())
                .collect();
            members.sort_unstable();
            if let Some(frozen) = shown
                .iter()
                .find(|disk| disk["status"]["state"] == "Frozen")
            {
                bail!("a disk is frozen: {frozen:#}");
            }
            let pvs = self.pvs()?;
            Ok(claims.iter().all(done) && pvs.len() == disks && claimed == pvs && members == pvs)
        })
        .with_context(|| status(self.cluster))?;
        self.context.result(format!(
            "{disks} disks in the group, each with one claim, {:.0} s after that",
            took.as_secs_f32()
        ));
        Ok(())
    }
}

fn values(image: &str) -> Value {
    let (repository, tag) = image.rsplit_once(':').unwrap_or((image, ""));
    json!({
        "image": {"repository": repository, "reference": tag, "pullPolicy": "Never"},
        "kubernetes": {"enabled": true},
        // One that is stopped ends by SIGKILL alone.
        "terminationGracePeriodSeconds": 1,
    })
}

/// Takes the disks that are plugged in.
fn class() -> Value {
    json!({"apiVersion": "basalt.storage/v1alpha1", "kind": "DiskClass", "metadata": {"name": "fast"}, "spec": {
        "mode": "Enforce",
        "discovery": "Continuous",
        "select": {"transport": ["ubd"], "size": {"min": "512Mi", "max": "2Gi"}},
        "limits": {"settle": "1s"},
        "safety": {"allowUniqueIdMissing": true, "requireZeroed": "HeadAndTail"},
        "volumeGroup": {"name": "fast"},
        "thinPool": {"name": "pool0", "size": "12%", "metadata": {"size": "4Mi"}, "autoExtend": {"enabled": false}},
    }})
}
