//! Growing the file system of a published volume to its device.

use std::path::Path;
use std::time::Duration;

use lvmd::cmd::Runner;
use lvmd::mountinfo::Mount;
use lvmd::units::Bytes;

use super::device::{Devices, Open, block_devno};
use super::{Node, blocking, mounts, path, superblock};
use crate::error::Error;
use crate::filesystem::Kind;
use crate::kubernetes::local::FileSystems;
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

/// How long a volume's new size is kept from being told for its file system. What takes longer goes on, and kubelet asks for it.
const SOON: Duration = Duration::from_secs(5);

impl<D: Devices, R: Runner> FileSystems for Node<D, R> {
    async fn grow_mounted(&self, name: &str, size: Bytes) -> Result<bool, Error> {
        let work = self.clone().grow_where_mounted(name.to_owned(), size);
        let call = self.call("GrowFileSystem", name, None, work);
        match tokio::time::timeout(SOON, call).await {
            Ok(Ok(grown)) => Ok(grown.into_inner()),
            Ok(Err(status)) => Err(Error::Told(status)),
            Err(_) => Err(Error::Unavailable(format!("not within {SOON:?}"))),
        }
    }
}

impl<D: Devices, R: Runner> Node<D, R> {
    async fn grow_where_mounted(self, id: String, size: Bytes) -> Result<bool, Error> {
        let Some(devno) = self.require(&id).await?.devno else {
            return Ok(false);
        };
        let internal = |error: std::io::Error| Error::Internal(error.to_string());
        let open = blocking(move || Open::new(devno))
            .await?
            .map_err(internal)?;
        let there = open.size().map_err(internal)?;
        if there < size.0 {
            return Err(Error::Unavailable(format!(
                "its device has {there} bytes, not {}",
                size.0
            )));
        }
        let table = mounts::table().map_err(internal)?;
        let Some((kind, at)) = writable(&table, |mount| mounts::shows(mount, devno)) else {
            return Ok(false);
        };
        grow_file_system(&self.inner.runner, &open, kind, at).await?;
        Ok(true)
    }
}

/// The first mount through which a file system can be grown. It shows the whole of it: xfs_growfs and btrfs take no folder.
fn writable(table: &[Mount], is_its: impl Fn(&Mount) -> bool) -> Option<(Kind, &Path)> {
    let mut growable = table.iter().filter_map(|mount| {
        let whole = mount.root == "/" && !mount.is_read_only() && !mount.is_read_only_below();
        let kind = mount.kind.parse::<Kind>().ok()?;
        // Nothing else is mounted over it.
        let shown = mounts::at(table, &mount.at).is_some_and(|top| std::ptr::eq(top, mount));
        (whole && shown && is_its(mount)).then_some((kind, mount.at.as_path()))
    });
    growable.next()
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

#[cfg(test)]
mod tests {
    use super::*;
    use lvmd::mountinfo;

    #[test]
    fn a_file_system_is_grown_where_all_of_it_can_be_written() {
        let table = "1 0 253:4 /sub /a rw - xfs /dev/dm-4 rw
2 0 253:4 / /b ro - xfs /dev/dm-4 rw
3 0 0:5 /dm-4 /c rw - devtmpfs dev rw
4 0 253:5 / /d rw - xfs /dev/dm-5 rw
5 0 253:4 / /e rw - xfs /dev/dm-4 rw
6 0 253:6 / /f rw - ext4 /dev/dm-6 ro
7 0 253:8 / /g rw - btrfs /dev/dm-8 rw
8 0 253:9 / /g rw - btrfs /dev/dm-9 rw
";
        let mounts = mountinfo::parse(table);
        let of = |device: &str| writable(&mounts, |mount| mount.device == device);
        assert_eq!(of("253:4"), Some((Kind::Xfs, Path::new("/e"))));
        assert_eq!(of("253:6"), None, "its kernel gave up");
        assert_eq!(of("253:8"), None, "something else is mounted over it");
        assert_eq!(of("253:9"), Some((Kind::Btrfs, Path::new("/g"))));
        assert_eq!(of("253:7"), None);
    }
}
