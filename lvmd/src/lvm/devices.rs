//! Which block devices carry PVs, found by reading their labels.
//!
//! LVM finds its PVs by scanning /dev too, but then a device some other system put
//! there (a guest's disk behind a loop device, an LV with a VG of its own inside)
//! takes part in everything. Here each device is looked at once, its label tells the
//! PV's uuid, and every lvm command is given exactly the devices it may see.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::dm;
use crate::lvm::label::{self, Area, CommitKey, HEAD, Label, MDA_HEADER};
use crate::lvm::metadata::ring;

/// A device with a PV label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// Its node in /dev.
    pub path: PathBuf,
    /// Major and minor number.
    pub devno: (u32, u32),
    /// Its size now, in bytes; `None` when sysfs does not tell.
    pub size: Option<u64>,
    /// What the label says.
    pub label: Label,
    /// The committed location of each of its metadata areas, in the label's order.
    pub keys: Vec<CommitKey>,
    /// Whether it is a disk of this machine or made by software.
    pub rank: Rank,
}

/// How far a device is trusted to hold this node's own VGs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// A disk, a partition, or a mapping of one (multipath, encryption, RAID).
    Disk,
    /// A loop or network block device, or one that stands on an LV: what lies on it may be
    /// somebody else's system.
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

impl Candidate {
    /// Its node.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }
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

/// What was read from a device: its label and the commit locations of its metadata
/// areas; `None`: no PV.
pub type Read = io::Result<Option<(Label, Vec<CommitKey>)>>;

/// Sorts what was read from `candidates`. A device under another one (multipath, RAID, any
/// mapping that is no LV) is left out: the same label is seen on the device above it.
pub fn sort(candidates: &[Candidate], read: Vec<Read>, mapped: &[dm::Listed]) -> Scan {
    let mut found = Scan::default();
    for (device, read) in candidates.iter().zip(read) {
        match read {
            Ok(None) => {}
            Ok(Some(_)) if is_component(device.devno, mapped) => {}
            Ok(Some((label, keys))) => found.labelled.push(Labelled {
                path: device.path(),
                devno: device.devno,
                size: size(device.devno),
                label,
                keys,
                rank: if stands_on_lv(Path::new("/sys"), device.devno, mapped, 0) {
                    Rank::Virtual
                } else {
                    device.rank
                },
            }),
            Err(error) => found.unreadable.push((device.path(), error.to_string())),
        }
    }
    found
}

/// Reads the label and the metadata headers of the device at `path`; `None`: no PV.
///
/// # Errors
/// When it cannot be read, or when there is a label that cannot be trusted.
pub fn read_label(path: &Path) -> Read {
    let file = open(path)?;
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

/// Reads the committed text of a metadata area of the device at `path`, and checks it.
///
/// # Errors
/// When it cannot be read, or is not the text that `key` names.
pub fn read_text(path: &Path, area: Area, key: &CommitKey) -> io::Result<Vec<u8>> {
    let pieces = ring::pieces(area, key).map_err(io::Error::other)?;
    let file = open(path)?;
    let mut text = Vec::new();
    for piece in pieces {
        let from = piece.offset & !4095;
        let length = (piece.offset - from) + piece.size;
        // Reads of whole 4 KiB, so that it also works with 4 KiB sectors.
        let length = usize::try_from(length.next_multiple_of(4096)).map_err(io::Error::other)?;
        let mut block = Aligned::new(length);
        let read = file.read_at(block.bytes(), from)?;
        let begin = usize::try_from(piece.offset - from).map_err(io::Error::other)?;
        let end = begin + usize::try_from(piece.size).map_err(io::Error::other)?;
        let piece = block.bytes()[..read].get(begin..end);
        text.extend_from_slice(piece.ok_or(io::ErrorKind::UnexpectedEof)?);
    }
    let length = ring::check(&text, key).map_err(io::Error::other)?.len();
    text.truncate(length);
    Ok(text)
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        // O_DIRECT: the page cache may be older than what another node or lvm wrote.
        .custom_flags(libc::O_DIRECT | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
}

/// The size of a device in bytes, as sysfs has it (always in sectors of 512).
fn size((major, minor): (u32, u32)) -> Option<u64> {
    let text = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/size")).ok()?;
    text.trim().parse::<u64>().ok()?.checked_mul(512)
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

/// Whether an LV is somewhere below this device (encryption or partitions of a volume).
fn stands_on_lv(sys: &Path, devno: (u32, u32), mapped: &[dm::Listed], depth: u8) -> bool {
    let (major, minor) = devno;
    let Ok(device) = fs::canonicalize(sys.join(format!("dev/block/{major}:{minor}"))) else {
        return false;
    };
    let whole = match device.parent() {
        Some(disk) if device.join("partition").exists() => disk,
        _ => &device,
    };
    let below = fs::read_dir(whole.join("slaves")).into_iter().flatten();
    below.filter_map(Result::ok).any(|entry| {
        let text = fs::read_to_string(entry.path().join("dev")).unwrap_or_default();
        let number =
            |(major, minor): (&str, &str)| Some((major.parse().ok()?, minor.parse().ok()?));
        text.trim()
            .split_once(':')
            .and_then(number)
            .is_some_and(|below| {
                mapped.iter().any(|m| m.devno == below && is_lv(m))
                    || depth < 8 && stands_on_lv(sys, below, mapped, depth + 1)
            })
    })
}

/// A buffer whose start is aligned to 4 KiB, as O_DIRECT wants.
#[derive(Debug)]
pub(crate) struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// One of `length` zeroes.
    pub(crate) fn new(length: usize) -> Self {
        let memory = vec![0; length + 4096];
        let start = memory.as_ptr().align_offset(4096);
        Self {
            memory,
            start,
            length,
        }
    }

    /// What is in it.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}
