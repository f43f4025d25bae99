//! A snapshot that its pool has made and not counted.
//!
//! lvcreate commits the snapshot, has the pool make it (`create_snap`), and has the pool
//! count one transaction on (`set_transaction_id`). Cut off between the last two, LVM says
//! `create_snap` again with the next change of anything in the pool, the kernel answers
//! that there is such a device, and LVM 2.03.31 gives up: no volume of the pool can be made,
//! grown or removed any more, the snapshot neither. The one step that is missing is to
//! count on, and that changes no data.
//!
//! It must be this snapshot, though, and not a device of the same number that was left over
//! before: then the volume would show somebody else's data. The pool's metadata tells.
//! With each snapshot the pool's time goes on by one, and the new device and its source
//! keep that time (Linux `dm-thin-metadata.c`, `create_snap`): no two devices are made at
//! the same.

use std::time::Duration;

use tracing::info;

use super::{VolumeError, device, open_mapper, pool, stale};
use crate::cmd::{Cmd, Runner, find_program};
use crate::dm;
use crate::engine::Lane;
use crate::lvm::model::{Lv, Vg};
use crate::lvm::snapshot::VgView;

/// How long reading the devices of a pool's metadata may take.
const DUMP_LIMIT: Duration = Duration::from_secs(20);

/// The snapshot of the pool that waits for the transaction after `reached` to be counted.
pub(super) fn find<'a>(vg: &'a Vg, pool: &Lv, reached: u64) -> Result<Option<&'a Lv>, VolumeError> {
    let control = open_mapper()?;
    let mut users = vg.lvs.iter().filter(|lv| lv.is_thin());
    let waits = |lv: &&Lv| lv.pool == pool.name && lv.transaction == reached;
    let Some(lv) = users.find(|lv| waits(lv) && !lv.origin.is_empty()) else {
        return Ok(None);
    };
    // It can only be live if the pool has a device of its number.
    let live = device(&control, vg, lv)?.is_some_and(|device| device.live);
    Ok(live.then_some(lv))
}

/// Refuses a snapshot that is not shown to be one yet.
pub(super) async fn refuse<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    vg: &Vg,
    lv: &Lv,
) -> Result<(), VolumeError> {
    let Some(pool) = vg.pool(&lv.pool) else {
        return Ok(());
    };
    let reached = pool::reached(lane.engine().patience(), vg, pool).await?;
    match reached.filter(|reached| *reached < pool.transaction) {
        Some(reached) if find(vg, pool, reached)?.is_some_and(|found| found.uuid == lv.uuid) => {
            Err(VolumeError::PoolUnusable {
                vg: vg.name.clone(),
                pool: pool.name.clone(),
                why: format!(
                    "snapshot {} was cut off while it was made, and is not shown to be whole",
                    lv.name
                ),
            })
        }
        _ => Ok(()),
    }
}

/// Has the pool count on from `reached`, if `lv` is shown to be the snapshot it was to make.
pub(super) async fn count_on<R: Runner + Clone>(
    lane: &Lane<'_, R>,
    view: &VgView,
    pool: &Lv,
    lv: &Lv,
    reached: u64,
) -> Result<(), VolumeError> {
    let unproven = |why: String| VolumeError::PoolUnusable {
        vg: view.vg.name.clone(),
        pool: pool.name.clone(),
        why: format!(
            "snapshot {} was cut off while it was made, and {why}",
            lv.name
        ),
    };
    let _lock = stale::lock(lane, &view.vg).await.map_err(unproven)?;
    let patience = lane.engine().patience();
    if pool::reached(patience, &view.vg, pool).await? != Some(reached) {
        return Ok(());
    }
    let source = view.vg.lv(&lv.origin);
    let source = source.ok_or_else(|| unproven(format!("its source {} is gone", lv.origin)))?;
    let (id, source_id) = (thin_id(&view.vg, lv)?, thin_id(&view.vg, source)?);
    let (Some(id), Some(source_id)) = (id, source_id) else {
        return Err(unproven("it or its source is not active".into()));
    };
    let tpool = pool.dm_uuid(&view.vg, "tpool");
    let message = async |text: String| {
        let uuid = tpool.clone();
        let what = format!("message {text:?} to pool {}", pool.name);
        let ask = move || dm::Control::open()?.message(&uuid, &text);
        let said = patience.ask(&what, ask).await;
        said.map_err(|hangs| unproven(hangs.to_string()))?
            .map_err(|e| unproven(format!("{what}: {e}")))
    };
    message("reserve_metadata_snap".into()).await?;
    let dumped = dump(lane, &tpool).await;
    message("release_metadata_snap".into()).await?;
    let dumped = dumped.map_err(unproven)?;
    if !was_taken_last(&dumped, id, source_id) {
        return Err(unproven(format!(
            "device {id} of the pool is another than the last snapshot of device {source_id}: \
             if nobody needs what is in it, deactivate it and send the pool `delete {id}` with \
             dmsetup message"
        )));
    }
    let next = reached + 1;
    message(format!("set_transaction_id {reached} {next}")).await?;
    info!(vg = %view.vg.name, pool = %pool.name, snapshot = %lv.name, transaction = next, "the pool counts the snapshot it had made");
    Ok(())
}

/// The number that the pool has for a volume, from the table `<pool> <number>` of its device.
fn thin_id(vg: &Vg, lv: &Lv) -> Result<Option<u64>, VolumeError> {
    let table = open_mapper()?.table(&lv.dm_uuid(vg, ""));
    let table = table.map_err(|e| VolumeError::Mapper(e.to_string()))?;
    let thin = table.into_iter().flatten().find(|t| t.kind == "thin");
    Ok(thin.and_then(|t| t.params.split(' ').nth(1)?.parse().ok()))
}

/// The devices in the reserved metadata of the pool with this uuid, as `thin_dump` writes them.
async fn dump<R: Runner + Clone>(lane: &Lane<'_, R>, tpool: &str) -> Result<String, String> {
    let table = open_mapper().map_err(|e| e.to_string())?.table(tpool);
    let table = table.map_err(|e| e.to_string())?;
    // `thin-pool <metadata device> <data device> ...`
    let metadata = table.iter().flatten().find_map(|target| {
        let device = target.params.split(' ').next()?;
        Some(device.split_once(':')?.1.to_owned())
    });
    let metadata = metadata.ok_or("the device of its pool's metadata cannot be told")?;
    let cmd = Cmd::new(find_program("thin_dump").map_err(|e| e.to_string())?)
        .args(["--metadata-snap", "--skip-mappings"])
        .arg(format!("/dev/dm-{metadata}"))
        .limit(DUMP_LIMIT);
    let output = lane.engine().run_beside(cmd).await;
    let output = output.map_err(|e| e.to_string())?;
    String::from_utf8(output.stdout).map_err(|e| e.to_string())
}

/// Whether the device `id` is the last snapshot that was taken of `source`.
fn was_taken_last(dumped: &str, id: u64, source: u64) -> bool {
    let number = |line: &str, name: &str| -> Option<u64> {
        let (_, value) = line.split_once(&format!(" {name}=\""))?;
        value.split('"').next()?.parse().ok()
    };
    let devices = dumped.lines().filter(|line| line.contains("<device "));
    let find = |wanted: u64, what: &str| {
        let mut lines = devices.clone();
        let line = lines.find(|line| number(line, "dev_id") == Some(wanted))?;
        number(line, what)
    };
    let made = find(id, "creation_time");
    made.is_some() && made == find(source, "snap_time")
}

#[cfg(test)]
mod tests {
    use super::*;

    // As thin_dump 1.1 writes it of a pool in which 2 was taken of 1, then 3 and 4 of 2.
    const DUMPED: &str = r#"<superblock uuid="" time="9" transaction="11" version="2" data_block_size="128" nr_data_blocks="3200">
  <device dev_id="1" mapped_blocks="4" transaction="0" creation_time="0" snap_time="7">
  </device>
  <device dev_id="2" mapped_blocks="4" transaction="3" creation_time="7" snap_time="9">
  </device>
  <device dev_id="3" mapped_blocks="4" transaction="5" creation_time="8" snap_time="8">
  </device>
  <device dev_id="4" mapped_blocks="4" transaction="6" creation_time="9" snap_time="9">
  </device>
</superblock>"#;

    #[test]
    fn only_the_last_snapshot_of_a_device_has_its_time() {
        assert!(was_taken_last(DUMPED, 2, 1));
        assert!(was_taken_last(DUMPED, 4, 2));
        assert!(!was_taken_last(DUMPED, 3, 2), "one of earlier");
        assert!(!was_taken_last(DUMPED, 4, 1), "one of another");
        assert!(!was_taken_last(DUMPED, 5, 1) && !was_taken_last(DUMPED, 5, 6));
        assert!(!was_taken_last("", 1, 1));
    }
}
