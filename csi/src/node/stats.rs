//! Usage and condition of a published volume.

use std::io;
use std::path::{Path, PathBuf};

use lvmd::cmd::Runner;
use nix::sys::statvfs::{Statvfs, statvfs};

use super::device::{Device, Devices, Devno, block_devno};
use super::{Node, id, mounts, path};
use crate::condition::condition;
use crate::error::Error;
use crate::proto::volume_usage::Unit;
use crate::proto::{NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, VolumeUsage};

/// What is at a path.
enum At {
    Nothing,
    Device,
    Files(Statvfs),
}

impl<D: Devices, R: Runner> Node<D, R> {
    pub(super) async fn stats(
        &self,
        request: NodeGetVolumeStatsRequest,
    ) -> Result<NodeGetVolumeStatsResponse, Error> {
        id(&request.volume_id)?;
        let at = path("volume_path", &request.volume_path)?;
        let device = self.require(&request.volume_id).await?;
        let not_here = || {
            Error::NotFound(format!(
                "volume {} is not published at {}",
                request.volume_id, request.volume_path
            ))
        };
        let table = mounts::table().map_err(|error| Error::Internal(error.to_string()))?;
        let mount = mounts::at(&table, &at);
        let ours = |mount: &&lvmd::mountinfo::Mount| {
            device
                .devno
                .is_some_and(|devno| mounts::shows(mount, devno))
        };
        let asked = at.clone();
        // A file system on a disk that hangs does not answer, and must not hold up others.
        let found = self
            .inner
            .patience
            .ask(&request.volume_path, move || look(&asked))
            .await;
        let usage = match &found {
            Err(hangs) => return Ok(answer(Vec::new(), Some(hangs.to_string()))),
            Ok(Err(error)) => {
                return Ok(answer(
                    Vec::new(),
                    Some(format!("it cannot be looked at: {error}")),
                ));
            }
            Ok(Ok(At::Nothing)) => return Err(not_here()),
            Ok(Ok(At::Device)) => {
                let shown = std::fs::metadata(&at)
                    .ok()
                    .and_then(|node| block_devno(&node));
                if shown.is_none() || shown != device.devno {
                    return Err(not_here());
                }
                vec![whole(&device)]
            }
            Ok(Ok(At::Files(stat))) => {
                mount.filter(ours).ok_or_else(not_here)?;
                vec![bytes(stat), inodes(stat)]
            }
        };
        let gave_up = mount.filter(|mount| mount.is_read_only_below() && !mount.is_read_only());
        let gave_up =
            gave_up.map(|_| "the kernel made the file system read-only after an error".to_owned());
        let ext4 = mount.filter(|mount| mount.kind == "ext4");
        let errors = || ext4.and(device.devno).and_then(ext4_errors);
        Ok(answer(usage, device.sick.or(gave_up).or_else(errors)))
    }
}

/// The errors a mounted ext4 has met. Since Linux 6.12 this alone tells that it gave up: its
/// mount is not shown as read-only any more. The check before the next mount repairs it.
fn ext4_errors((_, minor): Devno) -> Option<String> {
    let count = std::fs::read_to_string(format!("/sys/fs/ext4/dm-{minor}/errors_count")).ok()?;
    let count: u64 = count.trim().parse().ok()?;
    (count > 0).then(|| {
        format!("the file system has met {count} errors; it is checked when it is next mounted")
    })
}

fn look(at: &PathBuf) -> io::Result<At> {
    let found = match std::fs::metadata(at) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(At::Nothing),
        Err(error) => return Err(error),
    };
    if block_devno(&found).is_some() {
        return Ok(At::Device);
    }
    Ok(statvfs::<Path>(at).map(At::Files)?)
}

fn answer(usage: Vec<VolumeUsage>, sick: Option<String>) -> NodeGetVolumeStatsResponse {
    NodeGetVolumeStatsResponse {
        usage,
        volume_condition: Some(condition(sick)),
    }
}

fn whole(device: &Device) -> VolumeUsage {
    VolumeUsage {
        unit: Unit::Bytes.into(),
        total: signed(device.size.0),
        ..VolumeUsage::default()
    }
}

fn bytes(stat: &Statvfs) -> VolumeUsage {
    let unit = stat.fragment_size();
    let size = |blocks: u64| signed(blocks.saturating_mul(unit));
    VolumeUsage {
        unit: Unit::Bytes.into(),
        available: size(stat.blocks_available()),
        total: size(stat.blocks()),
        used: size(stat.blocks().saturating_sub(stat.blocks_free())),
    }
}

fn inodes(stat: &Statvfs) -> VolumeUsage {
    VolumeUsage {
        unit: Unit::Inodes.into(),
        available: signed(stat.files_free()),
        total: signed(stat.files()),
        used: signed(stat.files().saturating_sub(stat.files_free())),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
