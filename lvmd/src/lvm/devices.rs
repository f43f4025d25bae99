//! Which block devices carry PVs, found by reading their labels.
//!
//! LVM finds its PVs by scanning /dev too, but then a device some other system put
//! there (a guest's disk behind a loop device, an LV with a VG of its own inside)
//! takes part in everything. Here each device is looked at once, its label tells the
//! PV's uuid, and every lvm command is given exactly the devices it may see.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::dm;
use crate::lvm::label::{self, CommitKey, HEAD, Label, MDA_HEADER};

/// A device with a PV label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// Its node in /dev.
    pub path: PathBuf,
    /// Major and minor number.
    pub devno: (u32, u32),
    /// What the label says.
    pub label: Label,
    /// The committed location of each of its metadata areas, in the label's order.
    pub keys: Vec<CommitKey>,
    /// Whether it is a disk of this machine or made by software.
    pub rank: Rank,
}

/// How far a device is trusted to hold this node's own VGs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A disk, a partition, or a mapping of one (multipath, encryption, RAID).
    Disk,
    /// A loop or network block device: what lies on it may be somebody else's system.
    Virtual,
}

/// All labelled devices, and those that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Devices with a PV label.
    pub labelled: Vec<Labelled>,
    /// Devices whose label could not be read or not be trusted, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// A block device that may carry a PV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name in /dev.
    pub name: String,
    /// Major and minor number.
    pub devno: (u32, u32),
    /// See [`Rank`].
    pub rank: Rank,
}

/// The block devices that may carry PVs: everything in `/proc/partitions` but memory
/// disks, optical drives and LVs. `mapped` is device-mapper's list.
pub fn candidates(partitions: &str, mapped: &[dm::Listed]) -> Vec<Candidate> {
    let lvs: HashMap<(u32, u32), &dm::Listed> = mapped.iter().map(|m| (m.devno, m)).collect();
    partitions
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let major = words.next()?.parse().ok()?;
            let minor = words.next()?.parse().ok()?;
            let name = words.nth(1)?.replace('!', "/");
            Some(Candidate {
                devno: (major, minor),
                rank: rank(&name),
                name,
            })
        })
        .filter(|device| {
            !["ram", "zram", "sr", "fd", "mtdblock"]
                .iter()
                .any(|skip| is_numbered(&device.name, skip))
        })
        .filter(|device| {
            !device.name.starts_with("dm-") || lvs.get(&device.devno).is_some_and(|m| !is_lv(m))
        })
        .collect()
}

fn is_lv(device: &dm::Listed) -> bool {
    // A kernel that does not list uuids leaves the name; not reading an unknown mapping is the safe side.
    device
        .uuid
        .as_ref()
        .is_none_or(|uuid| uuid.starts_with("LVM-"))
}

fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn rank(name: &str) -> Rank {
    if ["loop", "nbd", "rbd", "drbd", "zd", "ublkb"]
        .iter()
        .any(|prefix| is_numbered(name, prefix))
    {
        Rank::Virtual
    } else {
        Rank::Disk
    }
}

/// Reads the labels of `candidates`. A device under another one (multipath, RAID, any
/// mapping that is no LV) is left out: the same label is seen on the device above it.
pub fn scan(candidates: &[Candidate], mapped: &[dm::Listed]) -> Scan {
    let mut found = Scan::default();
    for device in candidates {
        let path = Path::new("/dev").join(&device.name);
        match read_label(&path) {
            Ok(None) => {}
            Ok(Some(_)) if is_component(device.devno, mapped) => {}
            Ok(Some((label, keys))) => found.labelled.push(Labelled {
                path,
                devno: device.devno,
                label,
                keys,
                rank: device.rank,
            }),
            Err(error) => found.unreadable.push((path, error.to_string())),
        }
    }
    found
}

/// Reads the label and the metadata headers of the device at `path`; `None`: no PV.
///
/// # Errors
/// When it cannot be read, or when there is a label that cannot be trusted.
pub fn read_label(path: &Path) -> io::Result<Option<(Label, Vec<CommitKey>)>> {
    let file = File::options()
        .read(true)
        // O_DIRECT: the page cache may be older than what another node or lvm wrote.
        .custom_flags(libc::O_DIRECT | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)?;
    let mut head = Aligned::new(HEAD);
    let length = file.read_at(head.bytes(), 0)?;
    let head = &head.bytes()[..length];
    let Some(label) = label::parse(head).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let mut keys = Vec::with_capacity(label.mdas.len());
    for mda in &label.mdas {
        let start = usize::try_from(mda.offset).unwrap_or(usize::MAX);
        let key = match start
            .checked_add(MDA_HEADER)
            .and_then(|end| head.get(start..end))
        {
            Some(header) => label::parse_mda_header(header, mda.offset),
            None => {
                // 4 KiB from an aligned place, so that it also works with 4 KiB sectors.
                let from = mda.offset & !4095;
                let mut block = Aligned::new(8192);
                let length = file.read_at(block.bytes(), from)?;
                let at = usize::try_from(mda.offset - from).unwrap_or_default();
                label::parse_mda_header(
                    block.bytes()[..length].get(at..).unwrap_or_default(),
                    mda.offset,
                )
            }
        };
        keys.push(key.map_err(io::Error::other)?);
    }
    Ok(Some((label, keys)))
}

/// Whether another device (multipath, RAID, encryption, any mapping but an LV) sits on
/// top of this one: the PV is then used through that device, and never past it.
fn is_component((major, minor): (u32, u32), mapped: &[dm::Listed]) -> bool {
    let holders = format!("/sys/dev/block/{major}:{minor}/holders");
    let Ok(entries) = fs::read_dir(holders) else {
        return false;
    };
    entries.filter_map(Result::ok).any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        match name.strip_prefix("dm-").map(str::parse::<u32>) {
            Some(Ok(minor)) => mapped.iter().any(|m| m.devno.1 == minor && !is_lv(m)),
            _ => true,
        }
    })
}

/// A buffer whose start is aligned to 4 KiB, as O_DIRECT wants.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    fn new(length: usize) -> Self {
        let memory = vec![0; length + 4096];
        let start = memory.as_ptr().align_offset(4096);
        Self {
            memory,
            start,
            length,
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, uuid: &str, minor: u32) -> dm::Listed {
        dm::Listed {
            name: name.into(),
            uuid: Some(uuid.into()),
            devno: (254, minor),
            event_nr: 0,
        }
    }

    #[test]
    fn volumes_memory_disks_and_drives_are_never_looked_at() {
        let partitions = "major minor  #blocks  name\n\n 259 0 1000 nvme0n1\n 259 1 500 nvme0n1p1\n 254 0 10 dm-0\n 254 1 10 dm-1\n 254 2 10 dm-2\n 7 0 9 loop0\n 1 0 9 ram0\n 251 0 9 zram0\n 11 0 9 sr0\n 8 0 9 sda\n";
        let mapped = [
            listed("vg-lv", "LVM-abc", 0),
            listed("mpatha", "mpath-360", 1),
        ];
        let names: Vec<_> = candidates(partitions, &mapped)
            .into_iter()
            .map(|c| (c.name, c.rank))
            .collect();
        let expected = [
            ("nvme0n1", Rank::Disk),
            ("nvme0n1p1", Rank::Disk),
            ("dm-1", Rank::Disk),
            ("loop0", Rank::Virtual),
            ("sda", Rank::Disk),
        ];
        assert_eq!(
            names,
            expected.map(|(n, r)| (n.to_owned(), r)),
            "dm-2 is unknown to device-mapper's list: not looked at"
        );
    }

    #[test]
    fn a_label_is_read_from_a_file_like_from_a_disk() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("disk");
        let mut image = include_bytes!("../../tests/fixtures/pv-head-lvm2-2.03.31.bin").to_vec();
        image.resize(1 << 20, 0);
        fs::write(&path, &image).unwrap();
        let (label, keys) = read_label(&path).unwrap().unwrap();
        assert_eq!((label.mdas.len(), keys.len()), (1, 1));
        fs::write(&path, vec![0; 1 << 20]).unwrap();
        assert_eq!(read_label(&path).unwrap(), None);
    }
}
