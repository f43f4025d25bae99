//! Making a group ours that others made, because a person named its UUID.

use lvmd::cmd::Runner;

use super::{ApplyError, not_done, run, words};
use crate::commands;
use crate::config::DiskClass;
use crate::journal::Journal;
use crate::node::NodeReader;

/// Tags the class's group as ours, then looks. Nothing else of it is changed: no volume, no
/// disk. The UUID is compared once more, with what LVM shows now.
///
/// # Errors
/// The group is not the one that was named, is frozen, or the tags are not seen.
pub async fn adopt<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &Journal,
    class: &DiskClass,
) -> Result<(), ApplyError> {
    let step = "adopting the group";
    let snapshot = node
        .snapshot(&[])
        .await
        .map_err(|why| not_done(step, why))?;
    let named = &class.existing.adopt_foreign_vg;
    let view = snapshot
        .vg(&class.volume_group.name)
        .filter(|view| view.frozen.is_empty() && named.contains(&view.vg.uuid))
        .ok_or_else(|| {
            not_done(
                step,
                "it is frozen, or not the one that was named".to_owned(),
            )
        })?;
    let call = commands::adopt(class, journal.owner(), &view.vg.tags, &view.devices);
    let said = run(node, class, &call).await;
    match super::group(node, class, journal).await {
        Ok(Some(group)) if group.ours && group.uuid == view.vg.uuid => {
            tracing::info!(group = %view.vg.name, uuid = %group.uuid, "adopted");
            Ok(())
        }
        Ok(_) => Err(not_done(step, words(said, "LVM does not show our tags"))),
        Err(why) => Err(not_done(step, why)),
    }
}
