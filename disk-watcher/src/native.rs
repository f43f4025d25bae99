//! Disks that another system of this host names in its own files: what is to be mounted or
//! opened at boot, and what DRBD and LINSTOR replicate. Such a disk may be blank, or look so,
//! until that system begins.

mod objects;

use std::io;
use std::path::{Path, PathBuf};

pub use self::objects::{ObjectClaim, ObjectClaims, What};
use crate::facts::DiskFacts;

/// Files, below the host's root.
const FILES: [&str; 3] = ["etc/fstab", "etc/crypttab", "etc/drbd.conf"];
/// Folders whose files count, by how their names end.
const FOLDERS: [(&str, &str); 2] = [("etc/drbd.d", "res"), ("var/lib/linstor.d", "res")];

/// What the files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NativeClaims {
    /// The file and the device it names.
    named: Vec<(String, String)>,
    /// What could not be read, and why.
    unread: Option<String>,
}

impl NativeClaims {
    /// Reads them below `root`. A file that is not there names nothing.
    pub fn read(root: &Path) -> Self {
        let mut claims = Self::default();
        for file in files(root) {
            let (path, text) = match file {
                Ok(path) => {
                    let text = std::fs::read_to_string(&path);
                    (path, text)
                }
                Err((path, error)) => (path, Err(error)),
            };
            let name = format!("/{}", path.strip_prefix(root).unwrap_or(&path).display());
            match text {
                Ok(text) => {
                    let devices = devices(&text).into_iter();
                    claims.named.extend(devices.map(|d| (name.clone(), d)));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => claims.unread = Some(format!("{name} cannot be read ({error})")),
            }
        }
        claims
    }

    /// Who claims this disk. While a file cannot be read, any disk may be claimed.
    pub fn owner_of(&self, disk: &DiskFacts) -> Option<String> {
        if let Some(unread) = &self.unread {
            return Some(format!("perhaps another system: {unread} and"));
        }
        let (file, device) = self.named.iter().find(|(_, device)| means(device, disk))?;
        Some(format!("the host's {file} ({device})"))
    }
}

/// The paths of a device.
fn paths(disk: &DiskFacts) -> Vec<String> {
    let mut paths = disk.links().to_vec();
    paths.push(disk.node());
    paths
}

/// Whether a path means this disk: it, a partition of it, or the one that this partition is on.
fn means(device: &str, disk: &DiskFacts) -> bool {
    let own = paths(disk);
    match &disk.part {
        None => own.iter().any(|name| is_of(device, name)),
        // What names a partition beside it does not name it.
        Some(_) => own
            .iter()
            .chain(&paths(disk.whole()))
            .any(|name| name == device),
    }
}

fn files(root: &Path) -> Vec<Result<PathBuf, (PathBuf, io::Error)>> {
    let mut all: Vec<_> = FILES.iter().map(|file| Ok(root.join(file))).collect();
    for (folder, end) in FOLDERS {
        let folder = root.join(folder);
        match std::fs::read_dir(&folder) {
            Ok(entries) => {
                for entry in entries {
                    match entry.map(|entry| entry.path()) {
                        Ok(path) if path.extension().is_some_and(|e| e == end) => {
                            all.push(Ok(path));
                        }
                        Ok(_) => {}
                        Err(error) => all.push(Err((folder.clone(), error))),
                    }
                }
            }
            Err(error) => all.push(Err((folder, error))),
        }
    }
    all
}

/// The devices that a text names, comments left aside.
fn devices(text: &str) -> Vec<String> {
    let said = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    let words: Vec<&str> = said
        .flat_map(|line| line.split(|c: char| c.is_whitespace() || "\"';,={}[]".contains(c)))
        .filter(|word| !word.is_empty())
        .collect();
    let devices = words.iter().filter(|word| word.starts_with("/dev/"));
    let tagged = words.windows(2).filter_map(|pair| match pair {
        ["PARTLABEL", name] => Some(format!("/dev/disk/by-partlabel/{name}")),
        ["PARTUUID", guid] => Some(format!("/dev/disk/by-partuuid/{}", guid.to_lowercase())),
        _ => None,
    });
    let devices = devices.map(|device| (*device).to_owned());
    devices.chain(tagged).collect()
}

/// Whether `device` is the disk `name` or a partition of it, one that is not there too.
fn is_of(device: &str, name: &str) -> bool {
    let Some(rest) = device.strip_prefix(name) else {
        return false;
    };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // A name that ends with a digit has a letter before the partition's number.
    let after_digit = name.ends_with(|c: char| c.is_ascii_digit());
    rest.is_empty()
        || rest.strip_prefix("-part").is_some_and(number)
        || name.rfind('/') == Some("/dev".len())
            && if after_digit {
                rest.strip_prefix('p').is_some_and(number)
            } else {
                number(rest)
            }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::fixture::Tree;

    /// `/dev/sda`, with a link by its id.
    pub(super) fn disk() -> DiskFacts {
        let mut tree = Tree::new();
        tree.sata("sda", "8:0", "A1");
        tree.links("sda", &["/dev/disk/by-id/ata-X_A1"]);
        tree.disk("sda")
    }

    fn owner(file: &str, text: &str) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        NativeClaims::read(root.path()).owner_of(&disk())
    }

    #[test]
    fn a_disk_that_the_hosts_files_name_is_claimed() {
        for (file, text) in [
            (
                "etc/fstab",
                "UUID=1 / ext4 rw 0 0\n/dev/sda1 /data ext4 noauto 0 0\n",
            ),
            ("etc/fstab", "UUID=1 / xfs logdev=/dev/sda 0 0\n"),
            ("etc/crypttab", "safe /dev/disk/by-id/ata-X_A1-part2 none\n"),
            (
                "etc/drbd.d/r0.res",
                "resource r0 { on n1 { disk \"/dev/sda\"; } }\n",
            ),
            (
                "var/lib/linstor.d/r.res",
                "disk /dev/disk/by-id/ata-X_A1;\n",
            ),
        ] {
            let owner = owner(file, text);
            assert!(
                owner.as_ref().is_some_and(|o| o.contains(file)),
                "{text}: {owner:?}"
            );
        }
    }

    #[test]
    fn other_disks_comments_and_files_that_are_not_there_claim_nothing() {
        for (file, text) in [
            (
                "etc/fstab",
                "# /dev/sda /data ext4\n/dev/sdaa1 / ext4\n/dev/sdb /b ext4\n",
            ),
            (
                "etc/fstab",
                "/dev/disk/by-id/ata-X_A11 /a ext4\n/dev/disk/by-id/ata-X_A12 /b\n",
            ),
            ("etc/drbd.d/notes.txt", "/dev/sda\n"),
            ("etc/hostname", "/dev/sda\n"),
        ] {
            assert_eq!(owner(file, text), None, "{text}");
        }
    }

    #[test]
    fn a_partition_is_claimed_by_its_own_names_and_by_its_whole_disk_alone() {
        let mut tree = Tree::new();
        tree.sata("sda", "8:0", "A1");
        tree.partition("sda", "sda2", "8:2");
        let guid = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
        let partuuid = format!("/dev/disk/by-partuuid/{guid}");
        tree.links("sda2", &["/dev/disk/by-partlabel/r-data", &partuuid]);
        let disk = tree.disk("sda");
        let part = crate::facts::read_partition(&tree.root(), &disk, "sda2", &tree.udev).unwrap();
        for (line, claimed) in [
            ("/dev/sda2 /data ext4".to_owned(), true),
            ("PARTLABEL=r-data /data ext4".to_owned(), true),
            (format!("PARTUUID=\"{}\" /data", guid.to_uppercase()), true),
            ("/dev/sda /data ext4".to_owned(), true),
            ("/dev/sda1 /data ext4".to_owned(), false),
            ("PARTLABEL=EPHEMERAL /var xfs".to_owned(), false),
        ] {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(root.path().join("etc")).unwrap();
            std::fs::write(root.path().join("etc/fstab"), &line).unwrap();
            let owner = NativeClaims::read(root.path()).owner_of(&part);
            assert_eq!(owner.is_some(), claimed, "{line}: {owner:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_may_claim_any_disk() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc/fstab")).unwrap();
        let owner = NativeClaims::read(root.path()).owner_of(&disk()).unwrap();
        assert!(owner.contains("/etc/fstab cannot be read"), "{owner}");
    }

    #[test]
    fn partitions_are_told_from_disks_whose_names_go_on() {
        for (device, name, is) in [
            ("/dev/nvme0n1p3", "/dev/nvme0n1", true),
            ("/dev/nvme0n11", "/dev/nvme0n1", false),
            ("/dev/sda12", "/dev/sda", true),
            ("/dev/disk/by-id/x-part1", "/dev/disk/by-id/x", true),
            ("/dev/disk/by-id/x1", "/dev/disk/by-id/x", false),
        ] {
            assert_eq!(is_of(device, name), is, "{device} {name}");
        }
    }
}
