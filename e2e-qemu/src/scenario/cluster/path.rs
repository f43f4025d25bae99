//! The path from the bare disk: charts/disk-watcher takes a disk that is plugged into a node to a group and a pool.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Context, in_cluster};
use crate::cluster::{self, Cluster, Node, images};
use crate::command::Command;
use crate::spec::{Backend, Disk};

const NAMESPACE: &str = "lvm-disk-watcher";
/// Ten times what it takes on a machine with nothing else to do, from the plugged disk to the pool.
const POOL: Duration = Duration::from_mins(3);

/// How the disk is chosen.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Chosen {
    /// By the label of the node that the watcher runs on, and the disk's transport.
    NodeLabel,
    /// By its path.
    Path,
    /// By the file disk-config of TrueCharts' watcher, in Enforce.
    DiskConfig,
}

/// A blank disk is plugged into a node and becomes topolvm_vg with topolvm_thin.
pub(in super::super) fn disk(context: &Context, chosen: Chosen) -> Result<()> {
    in_cluster(context, |cluster| {
        let node = cluster.node(1, context.spec(Backend::Uml, "n1"))?;
        plug(context, cluster, &node, chosen)
    })
}

/// Installs the watcher, plugs the disk, waits for the pool.
fn plug(context: &Context, cluster: &Cluster, node: &Node, chosen: Chosen) -> Result<()> {
    let name = node.name();
    cluster
        .control
        .kubectl(&["label", "node", &name, "basalt.test/storage=yes"])?;
    cluster.helm_install("disk-watcher", NAMESPACE, &values(&name, chosen))?;
    cluster.control.kubectl(&[
        "--namespace",
        NAMESPACE,
        "rollout",
        "status",
        "daemonset/disk-watcher",
        "--timeout=120s",
    ])?;
    let disk = match chosen {
        // disk-config asks for a disk that says who it is.
        Chosen::DiskConfig => node.guest().plug_scsi_debug(512)?,
        _ => node.guest().plug(Disk::new(512 << 20))?.path(),
    };
    let pool = Command::shell("lvm lvs --noheadings -o lv_attr topolvm_vg/topolvm_thin");
    let took = cluster::until("topolvm_vg/topolvm_thin is there", POOL, || {
        let out = node.guest().run(pool.clone())?;
        Ok(out.status.success() && out.text().starts_with("twi-a"))
    });
    let took = took.with_context(|| {
        let ask = ["exec", "ds/disk-watcher", "--", "/disk-watcher", "status"];
        let ask = [&["--namespace", NAMESPACE][..], &ask].concat();
        let said = cluster.control.kubectl(&ask);
        said.unwrap_or_else(|error| format!("{error:#}"))
    })?;
    context.result(format!(
        "{chosen:?}: {disk} became topolvm_vg/topolvm_thin {:.1} s after it was there",
        took.as_secs_f32()
    ));
    Ok(())
}

fn values(node: &str, chosen: Chosen) -> Value {
    let image = json!({"reference": "dev", "repository": images::BASALT.trim_end_matches(":dev"), "pullPolicy": "Never"});
    let mut values = json!({"image": image, "nodeSelector": {"basalt.test/storage": "yes"}});
    let select = match chosen {
        Chosen::NodeLabel => json!({"transport": ["ubd"], "size": {"min": "256Mi", "max": "1Gi"}}),
        Chosen::Path => json!({"transport": ["ubd"], "size": {"min": "256Mi"},
            "paths": ["/dev/disk/by-path/platform-uml-blkdev.2"]}),
        Chosen::DiskConfig => {
            values["configmap"] =
                json!({"disk-config": {"data": {"disk-config": format!("{node}: /dev/sda\n")}}});
            values["compat"] = json!({"mode": "Enforce"});
            return values;
        }
    };
    // A user-mode kernel's disks have neither serial number nor WWN.
    values["classes"] = json!([{"name": "main", "spec": {
        "mode": "Enforce",
        "select": select,
        "limits": {"settle": "1s"},
        "safety": {"allowUniqueIdMissing": true, "requireZeroed": "HeadAndTail"},
        "volumeGroup": {"name": "topolvm_vg"},
        "thinPool": {"name": "topolvm_thin", "size": "80%", "metadata": {"min": "4Mi"}},
    }}]);
    values
}
