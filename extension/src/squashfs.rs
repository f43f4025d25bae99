//! A root file system as a squashfs image, by mksquashfs.

use std::io::Seek as _;
use std::path::Path;

use anyhow::Context;

use crate::host;
use crate::image::EPOCH;
use crate::layer::{self, Label};
use crate::rootfs::Rootfs;

/// Writes `root` as the image `out`, in place of what was there, with these labels or none. `level` is zstd's, 1 to 22. The
/// same bytes each time, with the same mksquashfs (4.5 or newer, which reads a tar).
///
/// # Errors
/// A file cannot be read, the image cannot be written, or there is no `mksquashfs`.
pub fn write(root: &Rootfs, out: &Path, level: u32, label: Option<Label>) -> anyhow::Result<()> {
    let beside = out.parent().context("an image needs a folder")?;
    let mut tar = tempfile::tempfile_in(beside).context("no file to pack an image from")?;
    layer::write_labelled(root, EPOCH, label, &mut tar)?;
    tar.rewind()?;
    let time = EPOCH.to_string();
    let mut squash = host::command("mksquashfs");
    squash
        .arg("-")
        .arg(out)
        .args(["-tar", "-all-root", "-noappend", "-no-progress", "-quiet"])
        .args(["-mkfs-time", &time, "-all-time", &time])
        // A tar has no root of its own.
        .args(["-root-mode", "0755"])
        .args(["-comp", "zstd", "-Xcompression-level", &level.to_string()]);
    host::capture_fed(host::die_with_caller(&mut squash), tar)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::rootfs::{Node, Source};

    fn label(path: &Path, _: &Node) -> &'static str {
        match path.starts_with("usr/lib") {
            true => "system_u:object_r:lib_t:s0",
            false => "system_u:object_r:usr_t:s0",
        }
    }

    /// The label of an unpacked file.
    fn found(path: &Path) -> Option<String> {
        let mut text = [0; 64];
        let length = rustix::fs::lgetxattr(path, "security.selinux", &mut text[..]).ok()?;
        let text = text[..length].strip_suffix(&[0])?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// Unpacks as root: nobody else may write labels.
    #[test]
    fn an_image_has_its_labels_and_a_root_that_anybody_may_enter() {
        let dir = tempfile::tempdir().unwrap();
        let mut root = Rootfs::default();
        let long = format!("usr/lib/{}/file", "x".repeat(150));
        let from = Source::Bytes(b"text".to_vec());
        root.put(Path::new(&long), Node::File { mode: 0o644, from })
            .unwrap();
        let target = "lib".into();
        root.put(Path::new("usr/link"), Node::Link { target })
            .unwrap();
        for (name, given) in [("with", Some(label as Label)), ("without", None)] {
            let (image, out) = (dir.path().join("image"), dir.path().join(name));
            write(&root, &image, 1, given).unwrap();
            let mut unpack = host::command("unsquashfs");
            unpack.args(["-xattrs", "-quiet", "-no-progress", "-d"]);
            host::capture(unpack.arg(&out).arg(&image)).unwrap();
            for (path, node) in root.iter() {
                let expected = given.map(|label| label(path, node).to_owned());
                assert_eq!(found(&out.join(path)), expected, "{}", path.display());
            }
            assert_eq!(std::fs::read(out.join(&long)).unwrap(), b"text");
            assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        }
    }
}
