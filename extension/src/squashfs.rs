//! A root file system as a squashfs image, by mksquashfs.

use std::path::Path;

use anyhow::Context;

use crate::host;
use crate::image::EPOCH;
use crate::layer;
use crate::rootfs::Rootfs;

/// Writes what is below `folder` of `root` as the image `out`, in place of what was there. `level` is zstd's, 1 to 22. The
/// same bytes each time, with the same mksquashfs.
///
/// # Errors
/// A file cannot be read, the image cannot be written, or there is no `mksquashfs`.
pub fn write(root: &Rootfs, folder: &str, out: &Path, level: u32) -> anyhow::Result<()> {
    let beside = out.parent().context("an image needs a folder")?;
    let work = tempfile::tempdir_in(beside).context("no folder to pack an image in")?;
    let (tar, tree) = (work.path().join("tar"), work.path().join("tree"));
    layer::write_tar(root, EPOCH, &mut std::fs::File::create(&tar)?)?;
    std::fs::create_dir(&tree)?;
    let mut unpack = host::command("tar");
    unpack.arg("-C").arg(&tree).arg("-xf").arg(&tar);
    host::capture(host::die_with_caller(&mut unpack))?;
    let time = EPOCH.to_string();
    let mut squash = host::command("mksquashfs");
    squash
        .arg(tree.join(folder))
        .arg(out)
        .args([
            "-all-root",
            "-noappend",
            "-no-xattrs",
            "-no-progress",
            "-quiet",
        ])
        .args(["-mkfs-time", &time, "-all-time", &time])
        .args(["-comp", "zstd", "-Xcompression-level", &level.to_string()]);
    host::capture(host::die_with_caller(&mut squash))?;
    Ok(())
}
