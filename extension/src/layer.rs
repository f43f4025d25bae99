//! One layer of an image: a root file system as a tar that is the same wherever it was made.
//!
//! Parents before children, one entry a path, no hard links, in layers no extended attributes, owner 0:0, and one time
//! for all: what the strictest reader takes (Talos' imager up to 1.13 unpacks in order and turns hard links
//! into empty files).

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use crate::rootfs::{Node, Rootfs};

/// A file could not be read, or the tar could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not pack {}", path.display())]
pub struct LayerError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A packed layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The tar, compressed with gzip.
    pub blob: Vec<u8>,
    /// sha256 of the tar before compression: the `diff_id` of the image configuration.
    pub diff_id: [u8; 32],
}

/// Packs `root`, giving every entry the time `epoch` (seconds since 1970).
///
/// # Errors
/// A source file cannot be read.
pub fn pack(root: &Rootfs, epoch: u64) -> Result<Layer, LayerError> {
    // No name and no time of its own in the gzip header, or two builds would differ.
    let gzip = GzBuilder::new()
        .operating_system(255)
        .write(Vec::new(), Compression::default());
    let mut tar = Hashing {
        inner: gzip,
        hash: Sha256::new(),
    };
    write_tar(root, epoch, &mut tar)?;
    let blob = tar.inner.finish().map_err(error(Path::new("the layer")))?;
    let diff_id = tar.hash.finalize().into();
    Ok(Layer { blob, diff_id })
}

/// Says the SELinux label of what is at a path: user, role, type and level (selinux(8)).
pub type Label = fn(&Path, &Node) -> &'static str;

/// Writes `root` as a tar.
///
/// # Errors
/// A source file cannot be read, or `out` cannot be written.
pub fn write_tar(root: &Rootfs, epoch: u64, out: &mut impl Write) -> Result<(), LayerError> {
    write_labelled(root, epoch, None, out)
}

/// Writes `root` as a tar whose entries have labels: as extended attributes, in the form of star and GNU tar, which
/// mksquashfs reads.
///
/// # Errors
/// As [`write_tar`].
pub(crate) fn write_labelled(
    root: &Rootfs,
    epoch: u64,
    label: Option<Label>,
    out: &mut impl Write,
) -> Result<(), LayerError> {
    let mut tar = tar::Builder::new(out);
    for (path, node) in root.iter() {
        if let Some(label) = label {
            // The kernel keeps the zero with it.
            let label = format!("{}\0", label(path, node));
            let attribute = ("SCHILY.xattr.security.selinux", label.as_bytes());
            tar.append_pax_extensions([attribute])
                .map_err(error(path))?;
        }
        append(&mut tar, path, node, epoch).map_err(error(path))?;
    }
    tar.finish().map_err(error(Path::new("the end")))
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &Path,
    node: &Node,
    epoch: u64,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(epoch);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match node {
        Node::Dir { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            tar.append_data(&mut header, path.join(""), io::empty())
        }
        Node::Link { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            tar.append_link(&mut header, path, target)
        }
        Node::File { mode, from } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            let bytes = from.read()?;
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, path, bytes.as_slice())
        }
    }
}

/// Passes bytes on and hashes them.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn error(path: &Path) -> impl FnOnce(io::Error) -> LayerError {
    let path = path.to_owned();
    move |source| LayerError { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::Source;
    use std::io::Read;

    fn root() -> Rootfs {
        let mut root = Rootfs::default();
        let file = Node::File {
            mode: 0o755,
            from: Source::Bytes(b"elf".to_vec()),
        };
        let link = Node::Link {
            target: "lvm".into(),
        };
        root.put(Path::new("usr/sbin/lvm"), file).unwrap();
        root.put(Path::new("usr/sbin/lvs"), link).unwrap();
        root
    }

    #[test]
    fn two_packings_are_the_same_bytes() {
        assert_eq!(pack(&root(), 7).unwrap(), pack(&root(), 7).unwrap());
    }

    #[test]
    fn entries_come_in_order_with_owner_mode_and_time() {
        let layer = pack(&root(), 1_700_000_000).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(layer.blob.as_slice()));
        let entries: Vec<_> = tar
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                assert_eq!(header.uid().unwrap(), 0);
                assert_eq!(header.mtime().unwrap(), 1_700_000_000);
                let path = entry.path().unwrap().display().to_string();
                (path, header.entry_type(), header.mode().unwrap())
            })
            .collect();
        let expected = [
            ("usr/", EntryType::Directory, 0o755),
            ("usr/sbin/", EntryType::Directory, 0o755),
            ("usr/sbin/lvm", EntryType::Regular, 0o755),
            ("usr/sbin/lvs", EntryType::Symlink, 0o777),
        ]
        .map(|(path, kind, mode)| (path.to_owned(), kind, mode));
        assert_eq!(entries, expected);
    }

    #[test]
    fn the_diff_id_is_of_the_uncompressed_tar() {
        let layer = pack(&root(), 7).unwrap();
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(layer.blob.as_slice())
            .read_to_end(&mut tar)
            .unwrap();
        assert_eq!(layer.diff_id, <[u8; 32]>::from(Sha256::digest(&tar)));
    }

    #[test]
    fn a_long_path_survives() {
        let mut root = Rootfs::default();
        let name = "x".repeat(180);
        let path = Path::new("usr").join(&name);
        let from = Source::Bytes(Vec::new());
        root.put(&path, Node::File { mode: 0o644, from }).unwrap();
        let mut bytes = Vec::new();
        write_tar(&root, 0, &mut bytes).unwrap();
        let mut tar = tar::Archive::new(bytes.as_slice());
        let last = tar.entries().unwrap().last().unwrap().unwrap();
        assert_eq!(last.path().unwrap(), path);
    }
}
