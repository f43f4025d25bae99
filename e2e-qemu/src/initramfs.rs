//! The first file system of a virtual machine: a shell, the modules that lead to the root, and a script.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::host;

/// What it takes to see the root, the shares and the agent's line. What is built into the kernel is left out.
const MODULES: [&str; 7] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "squashfs",
    "9pnet_virtio",
    "9p",
    "virtio_scsi",
];

const INIT: &str = include_str!("../guest/init.sh");

/// Builds the archive from a kernel tree (`busybox`, `modules/<release>`).
pub(crate) fn build(kernel: &Path) -> io::Result<Vec<u8>> {
    let release = release(kernel)?;
    let modules = kernel.join("modules").join(release);
    let order = load_order(&fs::read_to_string(modules.join("modules.dep"))?);
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "proc", "root", "ro", "modules"] {
        archive.add(dir, 0o040_755, b"");
    }
    archive.add("bin/busybox", 0o100_755, &fs::read(kernel.join("busybox"))?);
    archive.add("init", 0o100_755, INIT.as_bytes());
    for (n, file) in order.iter().enumerate() {
        // Unpacked here: the emulated processor would take its time.
        let module = match file.strip_suffix(".xz") {
            Some(_) => host::capture(host::command("xz").args(["-dc"]).arg(modules.join(file)))
                .map_err(io::Error::other)?,
            None => fs::read(modules.join(file))?,
        };
        archive.add(&format!("modules/{n:02}.ko"), 0o100_644, &module);
    }
    Ok(archive.finish())
}

/// The one release in a kernel tree.
pub(crate) fn release(kernel: &Path) -> io::Result<PathBuf> {
    fs::read_dir(kernel.join("modules"))?
        .next()
        .ok_or_else(|| io::Error::other("the kernel tree has no modules"))?
        .map(|entry| PathBuf::from(entry.file_name()))
}

/// The wanted modules and what they need, each after what it needs. `modules.dep` has a line `file: needed...`
/// per module, where the needed ones go from the nearest to the deepest.
fn load_order(dependencies: &str) -> Vec<String> {
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    for wanted in MODULES {
        let line = dependencies.lines().find_map(|line| {
            let (file, needed) = line.split_once(':')?;
            (module_name(file) == wanted).then_some((file, needed))
        });
        let Some((file, needed)) = line else { continue };
        for file in needed.split_whitespace().rev().chain([file]) {
            if seen.insert(file.to_owned()) {
                order.push(file.to_owned());
            }
        }
    }
    order
}

fn module_name(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split(".ko").next().unwrap_or(name)
}

/// A cpio archive of the kind that the kernel reads ("newc"): headers of hexadecimal numbers, padded to four.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name size, check.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, b"");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first_and_once() {
        let order = load_order(
            "kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz\n\
             kernel/net/9p/9pnet.ko.xz: kernel/fs/netfs/netfs.ko.xz\n\
             kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz\n\
             kernel/drivers/block/virtio_blk.ko.xz:\n",
        );
        let names: Vec<_> = order.iter().map(|file| module_name(file)).collect();
        assert_eq!(
            names,
            ["virtio_blk", "netfs", "9pnet", "9pnet_virtio", "9p"]
        );
    }

    #[test]
    fn the_archive_is_what_cpio_reads() {
        let mut archive = Archive::default();
        archive.add("dir", 0o040_755, b"");
        archive.add("dir/file", 0o100_644, b"hello");
        let bytes = archive.finish();
        assert!(bytes.starts_with(b"070701"));
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            text.contains("dir/file\0") && text.contains("hello") && text.contains("TRAILER!!!")
        );
        // Header 110, name with its zero, both padded to four: the content of the second entry is at a known place.
        let second = 110 + 4 + 2;
        assert_eq!(&bytes[second..second + 6], b"070701");
    }
}
