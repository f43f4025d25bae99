//! Slips of those who write DiskClasses: none destroys what is there, on any node, and the cluster says what became of it.

mod stage;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use self::stage::Stage;
use super::path::{self, Chosen, WATCHER};
use super::theirs::Theirs;
use super::{Context, in_cluster};
use crate::spec::{Backend, Disk};

/// What takes seconds on a machine with nothing else to do.
const SOON: Duration = Duration::from_mins(3);
/// How long a guest may live.
const LIMIT: Duration = Duration::from_mins(20);
/// A disk that the class takes, on the first node.
const MEMBER: u64 = 1 << 30;

/// What becomes of a class with a slip in it.
enum Answer {
    /// Its nodes go by it.
    InForce,
    /// They refuse it, with these words, and go by the one before.
    Refused(&'static str),
    /// The API server does not take it, with these words.
    Denied(&'static str),
}

/// A slip.
struct Slip {
    what: &'static str,
    change: fn(&mut Value),
    answer: Answer,
    /// What the cluster then shows of a disk that it picks.
    shown: &'static str,
}

const SLIPS: [Slip; 6] = [
    Slip {
        what: "it selects every node",
        change: |spec| {
            drop(
                spec.as_object_mut()
                    .and_then(|all| all.remove("nodeSelector")),
            )
        },
        answer: Answer::InForce,
        shown: "n2 400Mi main Rejected",
    },
    Slip {
        what: "its glob is broadened",
        change: |spec| spec["select"]["paths"] = json!([BROAD]),
        answer: Answer::InForce,
        shown: "n1 200Mi main Candidate",
    },
    Slip {
        what: "it picks every model",
        change: |spec| spec["select"]["model"] = json!(["*"]),
        answer: Answer::Refused("spec.select.model"),
        shown: "",
    },
    Slip {
        what: "its group has another name",
        change: |spec| spec["volumeGroup"]["name"] = json!("slow"),
        answer: Answer::Denied("volumeGroup.name cannot be changed"),
        shown: "",
    },
    Slip {
        what: "its pool is to be smaller",
        change: |spec| spec["thinPool"]["size"] = json!("10%"),
        answer: Answer::InForce,
        shown: "",
    },
    Slip {
        what: "it only plans, and wants every disk",
        change: |spec| {
            spec["mode"] = json!("Plan");
            spec["select"]["paths"] = json!([BROAD]);
            spec["limits"]["maxDisks"] = json!(8);
        },
        answer: Answer::InForce,
        shown: "n1 200Mi main Planned",
    },
];
const BROAD: &str = "/dev/disk/by-path/*";

/// See the module.
pub(in super::super) fn destroy_nothing(context: &Context) -> Result<()> {
    in_cluster(context, |cluster| {
        let (mut nodes, mut theirs) = (Vec::new(), Vec::new());
        for number in [1, 2] {
            let spec = context.spec(Backend::Uml, &format!("n{number}"));
            let node = cluster.node(number, spec.limit(LIMIT))?;
            if number == 1 {
                node.guest().plug(Disk::new(MEMBER))?;
            }
            theirs.push([Theirs::with_data(&node, 400)?, Theirs::blank(&node, 200)?]);
            nodes.push(node);
        }
        let values = path::values("", Chosen::NodeLabel);
        cluster.helm_install("disk-watcher", WATCHER, &[], &values)?;
        cluster.rolled_out(WATCHER, &["daemonset/disk-watcher"])?;
        cluster
            .control
            .kubectl(&["label", "node", "n1", "disks=fast"])?;
        let stage = Stage { cluster, nodes };
        stage.apply(&spec())?;
        stage.is_ready()?;
        stage.lvm(
            "lvm lvcreate -qq -y -V 64M -T fast/pool0 -n data && \
             dd if=/dev/urandom of=/dev/fast/data bs=1M count=64 conv=fsync status=none",
        )?;
        stage.look_twice()?;
        let before = stage.seen()?;
        let unharmed = |what: &str| -> Result<()> {
            stage.look_twice()?;
            let now = stage.seen()?;
            ensure!(now == before, "{what}: {now:#?}, and it was {before:#?}");
            Ok(())
        };

        for slip in &SLIPS {
            let what = slip.what;
            let said = stage.make(slip).context(what)?;
            unharmed(what)?;
            context.result(format!("{what}: {said}; {}", stage.disks()?));
            stage.apply(&spec())?;
            stage.is_ready().context(what)?;
        }

        cluster
            .control
            .kubectl(&["label", "node", "n1", "disks-"])?;
        stage.out_of_force()?;
        unharmed("its node loses the label")?;
        cluster
            .control
            .kubectl(&["label", "node", "n1", "disks=fast"])?;
        stage.is_ready()?;
        cluster.control.kubectl(&["delete", "diskclass", "main"])?;
        stage.out_of_force()?;
        unharmed("the class is deleted")?;
        let mut other = spec();
        other["volumeGroup"]["name"] = json!("slow");
        stage.apply(&other)?;
        unharmed("it is written again with another group")?;
        context.result(format!(
            "its node loses the label, it is deleted, it is written again with another group: {}",
            stage.disks()?
        ));
        cluster.control.kubectl(&["delete", "diskclass", "main"])?;
        stage.apply(&spec())?;
        stage.is_ready()?;
        unharmed("it is written again as it was")?;
        for (node, theirs) in stage.nodes.iter().zip(&theirs) {
            theirs.iter().try_for_each(|disk| disk.check(node))?;
        }
        stage.lvm("lvm vgck fast")?;
        context.result(
            "after each slip: no command was run on any node, the group's seqno and the volume's sha256 are the same; \
             after all: so is that of all four disks that are not ours",
        );
        Ok(())
    })
}

/// Takes one disk by its place, on nodes with a label.
fn spec() -> Value {
    json!({
        "mode": "Enforce",
        "discovery": "Continuous",
        "nodeSelector": {"matchLabels": {"disks": "fast"}},
        "select": {"transport": ["ubd"], "size": {"min": "64Mi", "max": "2Gi"},
            "paths": ["/dev/disk/by-path/platform-uml-blkdev.2"]},
        "limits": {"settle": "1s", "maxDisks": 1},
        "safety": {"allowUniqueIdMissing": true, "requireZeroed": "HeadAndTail"},
        "volumeGroup": {"name": "fast"},
        "thinPool": {"name": "pool0", "size": "60%", "metadata": {"size": "4Mi"}, "autoExtend": {"enabled": false}},
    })
}
