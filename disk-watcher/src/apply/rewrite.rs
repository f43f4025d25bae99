//! Having LVM write a group's newest metadata to all its disks.

use lvmd::cmd::Runner;
use lvmd::lvm::mutation::Mutation;
use tracing::info;

use super::{ApplyError, THRESHOLD, not_done, run, words};
use crate::commands;
use crate::config::DiskClass;
use crate::copies;
use crate::journal::Journal;
use crate::node::NodeReader;

/// How often it is run. lvm2 2.03.31 says "not repairing bad metadata" of a text that is lost while that disk's header still
/// names the same text as the others'; the first run has the others move on, the second one repairs.
const TIMES: usize = 2;

/// Runs `vgck --updatemetadata` on the class's group, then looks. LVM is shown the disks that the group lists and no
/// others: from one that was taken out while it was away the same command would take the metadata.
///
/// # Errors
/// The group is not ours or frozen, or a copy is not as the others afterwards.
pub async fn rewrite<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &Journal,
    class: &DiskClass,
) -> Result<(), ApplyError> {
    let step = "writing the metadata anew";
    let no = |why: String| not_done(step, why);
    let snapshot = node.snapshot(&[]).await.map_err(no)?;
    let view = snapshot
        .vg(&class.volume_group.name)
        .filter(|view| view.frozen.is_empty() && view.vg.owner() == Some(journal.owner()))
        .ok_or_else(|| no("the group is not there, not ours or frozen".into()))?;
    let behind = copies::behind(&view.vg.uuid, &view.devices);
    let call = commands::mutation(class, &view.devices, &Mutation::RewriteMetadata, THRESHOLD);
    let mut said = Ok(());
    for _ in 0..TIMES {
        said = run(node, class, &call).await;
        if copies::behind(&view.vg.uuid, &view.devices).is_empty() {
            info!(group = %view.vg.name, ?behind, "its metadata is the same on all its disks again");
            return Ok(());
        }
    }
    Err(no(words(said, "a disk still has another copy of it")))
}
