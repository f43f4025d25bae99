//! Two watchers on one node, in pods: one acts, the other takes over when that one is killed, and what one did the other
//! does not do again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::path::{self, Chosen, WATCHER};
use super::{Context, in_cluster};
use crate::cluster::{self, Cluster, Node};
use crate::command::Command;
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);
/// How often the one that acts is killed.
const ROUNDS: usize = 8;
const SECOND: &str = "second";
/// What one says that waits, and one that acts.
const WAITS: &str = "another disk-watcher acts on this node";
const ACTS: &str = "starting classes";

/// See the module.
pub(in super::super) fn one_acts(context: &Context) -> Result<()> {
    in_cluster(context, |cluster| {
        let node = cluster.node(1, context.spec(Backend::Uml, "n1"))?;
        let label = ["label", "node", "n1", "basalt.test/storage=yes"];
        cluster.control.kubectl(&label)?;
        let values = path::values("n1", Chosen::Path);
        cluster.helm_install("disk-watcher", WATCHER, &[], &values)?;
        cluster.rolled_out(WATCHER, &["daemonset/disk-watcher"])?;
        let twins = Twins {
            cluster,
            node: &node,
        };
        twins.start_second()?;
        twins.says(SECOND, WAITS)?;

        // Plugged while both look.
        node.guest().plug(Disk::new(8 << 30))?;
        let pool = Command::shell("lvm lvs --noheadings -o lv_attr topolvm_vg/topolvm_thin");
        cluster::until("topolvm_vg/topolvm_thin is there", SOON, || {
            let out = node.guest().run(pool.clone())?;
            Ok(out.status.success() && out.text().starts_with("twi-a"))
        })
        .with_context(|| path::status(cluster))?;
        let made = twins.commands(&twins.first()?)?;
        ensure!(
            twins.commands(SECOND)?.is_empty(),
            "the one that waits ran commands"
        );
        let of = |verb: &str| made.iter().filter(|line| line.contains(verb)).count();
        for verb in [" pvcreate ", " vgcreate ", " lvcreate "] {
            ensure!(of(verb) == 1, "{verb} was run {} times", of(verb));
        }
        node.guest().check(Command::shell(
            "lvm lvcreate -q -V 64M -T topolvm_vg/topolvm_thin -n data && \
             dd if=/dev/urandom of=/dev/topolvm_vg/data bs=1M count=64 conv=fsync status=none",
        ))?;
        let sum = twins.sum()?;

        let mut slowest = Duration::ZERO;
        for round in 0..ROUNDS {
            // The first acts in even rounds: each time the other one is the younger.
            let first = twins.first()?;
            let (acts, waits) = match round % 2 {
                0 => (first.as_str(), SECOND),
                _ => (SECOND, first.as_str()),
            };
            ensure!(
                twins.holders()? == "1",
                "{} hold the lock",
                twins.holders()?
            );
            let killed = Instant::now();
            twins.kill(acts)?;
            twins.says(waits, ACTS)?;
            slowest = slowest.max(killed.elapsed());
            ensure!(
                twins.holders()? == "1",
                "{} hold the lock",
                twins.holders()?
            );
            let again = twins.commands(waits)?;
            ensure!(
                again.iter().all(|line| !line.contains("create ")),
                "{again:?}"
            );
            // One that waits is not Ready, so nothing waits for that.
            let next = match acts {
                SECOND => {
                    twins.start_second()?;
                    SECOND.to_owned()
                }
                _ => twins.first_but(acts)?,
            };
            twins.says(&next, WAITS)?;
        }
        ensure!(twins.sum()? == sum, "the volume changed");
        context.result(format!(
            "two pods: one made the pool; the one that acted was killed {ROUNDS} times and followed by the other within \
             {:.1} s, never two had the lock, nothing was made twice, the volume's sha256 is the same",
            slowest.as_secs_f32()
        ));
        Ok(())
    })
}

struct Twins<'a> {
    cluster: &'a Cluster,
    node: &'a Node,
}

impl Twins<'_> {
    fn kubectl(&self, args: &[&str]) -> Result<String> {
        let of = ["--namespace", WATCHER];
        self.cluster.control.kubectl(&[&of[..], args].concat())
    }

    /// The pod of the DaemonSet.
    fn first(&self) -> Result<String> {
        let name = "jsonpath={.items[0].metadata.name}";
        let of = "app.kubernetes.io/name=disk-watcher";
        self.kubectl(&["get", "pods", "-l", of, "-o", name])
    }

    /// The next pod of the DaemonSet, once it is there.
    fn first_but(&self, old: &str) -> Result<String> {
        let mut next = String::new();
        cluster::until("the DaemonSet has another pod", SOON, || {
            next = self.first().unwrap_or_default();
            Ok(!next.is_empty() && next != old)
        })?;
        Ok(next)
    }

    /// A pod as the DaemonSet makes them, beside its own.
    fn start_second(&self) -> Result<()> {
        let set = self.kubectl(&["get", "daemonset/disk-watcher", "-o", "json"])?;
        let mut set: Value = serde_json::from_str(&set)?;
        let mut spec = set["spec"]["template"]["spec"].take();
        spec["nodeName"] = json!(self.node.name());
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": SECOND, "namespace": WATCHER}, "spec": spec});
        self.cluster.apply(&pod.to_string())
    }

    /// Ends a pod at once.
    fn kill(&self, pod: &str) -> Result<()> {
        self.kubectl(&["delete", "pod", pod, "--force", "--grace-period=0"])
            .map(drop)
    }

    /// Waits until the log of a pod has these words.
    fn says(&self, pod: &str, words: &str) -> Result<()> {
        cluster::until(&format!("{pod} says {words:?}"), SOON, || {
            Ok(self
                .kubectl(&["logs", pod])
                .is_ok_and(|log| log.contains(words)))
        })
        .map(drop)
    }

    /// The commands that a pod ran.
    fn commands(&self, pod: &str) -> Result<Vec<String>> {
        let log = self.kubectl(&["logs", pod])?;
        let lines = log.lines().filter(|line| line.contains("running command="));
        Ok(lines.map(str::to_owned).collect())
    }

    /// How many hold the lock, by the kernel.
    fn holders(&self) -> Result<String> {
        let ask =
            "grep -c \"FLOCK .*:$(stat -c %i /run/lock/lvm/disk-watcher) \" /proc/locks || true";
        Ok(self
            .node
            .guest()
            .check(Command::shell(ask))?
            .trim()
            .to_owned())
    }

    fn sum(&self) -> Result<String> {
        let ask = "sha256sum /dev/topolvm_vg/data";
        Ok(self.node.guest().check(Command::shell(ask))?)
    }
}
