//! Growing the file system of a published volume to its device.

use std::path::Path;

use lvmd::cmd::Runner;

use super::device::{Devices, Open, block_devno};
use super::{Node, blocking, mounts, path, superblock};
use crate::error::Error;
use crate::filesystem::Kind;
use crate::proto::{NodeExpandVolumeRequest, NodeExpandVolumeResponse};
use crate::size::Range;

impl<D: Devices, R: Runner> Node<D, R> {
    pub(super) async fn expand(
        self,
        request: NodeExpandVolumeRequest,
    ) -> Result<NodeExpandVolumeResponse, Error> {
        let at = path("volume_path", &request.volume_path)?;
        let range = Range::read(request.capacity_range.as_ref())?;
        let device = self.require(&request.volume_id).await?;
        let not_here = || {
            Error::NotFound(format!(
                "volume {} is not published at {}",
                request.volume_id, request.volume_path
            ))
        };
        let devno = device.devno.ok_or_else(not_here)?;
        let open = blocking(move || Open::new(devno))
            .await?
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        let size = open
            .size()
            .map_err(|error| Error::Internal(error.to_string()))?;
        if range.required.0 > size {
            return Err(Error::OutOfRange(format!(
                "the volume has {size} bytes, and {} are wanted: the controller has to grow it first",
                range.required.0
            )));
        }
        let node = at.clone();
        let node = blocking(move || std::fs::metadata(node))
            .await?
            .map_err(|_| not_here())?;
        // A device is as large as it is.
        if block_devno(&node) != Some(devno) {
            let table = mounts::table().map_err(|error| Error::Internal(error.to_string()))?;
            let mount = mounts::at(&table, &at)
                .filter(|mount| mounts::shows(mount, devno))
                .ok_or_else(not_here)?;
            let kind: Kind = mount.kind.parse()?;
            if mount.is_read_only() {
                return Err(Error::Precondition(
                    "the volume is published for reading only".into(),
                ));
            }
            grow_file_system(&self.inner.runner, &open, kind, &at).await?;
        }
        Ok(NodeExpandVolumeResponse {
            capacity_bytes: i64::try_from(size).unwrap_or(i64::MAX),
        })
    }
}

/// Grows a mounted file system if its device has room; tells whether it had.
///
/// # Errors
/// The tool's.
pub(super) async fn grow_file_system<R: Runner>(
    runner: &R,
    open: &Open,
    kind: Kind,
    mounted_at: &Path,
) -> Result<bool, Error> {
    let internal =
        |error: String| Error::Internal(format!("the {kind} file system cannot be grown: {error}"));
    let file = open
        .file
        .try_clone()
        .map_err(|error| internal(error.to_string()))?;
    let room = blocking(move || {
        let size = superblock::size(&file, kind)?;
        Ok::<_, std::io::Error>(superblock::leaves_room(size, super::device::size(&file)?))
    });
    if !room.await?.map_err(|error| internal(error.to_string()))? {
        return Ok(false);
    }
    let grow = kind
        .grow(&open.name(), &mounted_at.display().to_string())
        .map_err(|error| internal(error.to_string()))?;
    runner
        .run(grow)
        .await
        .map_err(|error| internal(error.to_string()))?;
    Ok(true)
}
