//! What is on a disk: signatures, partition tables, LVM labels, and whether it is blank.
//!
//! A disk comes in as a reader with its size and logical sector size; nothing here opens a device, looks at /sys or
//! runs a program, so every rule can be tried on an image. [`aligned`] is the reader for real disks.
//!
//! # What is promised
//! - [`scan`] gives **all** signatures, not the first: two at once are the rule on a disk with a past, and a program
//!   that would erase one must know the other. What libblkid calls ambivalent is simply two findings here.
//! - A magic number in its place is a finding whether or not the structure around it is whole.
//! - Backups count like originals: a disk with nothing but the last sector of a partition table is not free.
//! - An error is never "nothing found". A read that fails or ends early, a size that cannot be, more input than the
//!   limit: each is a [`ProbeError`], and to the caller a denial.
//! - One scan reads at most 64 MiB, in whole pages of 4 KiB, each once: some 3 MiB at the ends and up to 800 pages
//!   between, which is 10 ms on flash and a few seconds on a disk that spins. It cannot see data without a signature;
//!   [`blank`] looks for that.
//!
//! On a physical volume of LVM the places beyond the start of its data belong to its volumes, and their contents show
//! up like a disk's own: [`Findings::besides_volumes`] leaves them out.

pub mod aligned;
mod bcachefs;
pub mod blank;
mod checksum;
mod disk;
mod error;
mod ext;
mod field;
mod fingerprint;
mod firmware;
pub mod gpt;
#[cfg(feature = "fixtures")]
pub mod image;
mod kind;
pub mod lvm;
mod magic;
mod raid;
mod table;
mod udf;
mod weak;
mod xfs;
mod zfs;

use std::io::{Read, Seek};

pub use blank::{Blank, BlankPolicy};
pub use error::ProbeError;
pub use fingerprint::fingerprint;
pub use gpt::{GptPartition, GptTable};
pub use kind::{Maker, SignatureKind};
pub use lvm::LvmLabel;

/// Size and sector of a disk, as BLKGETSIZE64 and BLKSSZGET give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Logical sector in bytes. Probes look for what either sector size would have written, since disks change
    /// theirs (bridges, `nvme format`) and images move.
    pub logical_sector: u32,
}

impl Geometry {
    fn check(self) -> Result<(), ProbeError> {
        let Self {
            size_bytes,
            logical_sector,
        } = self;
        let sector = u64::from(logical_sector);
        let sane = (512..=65_536).contains(&sector) && sector.is_power_of_two();
        if sane && size_bytes > 0 && size_bytes.is_multiple_of(sector) {
            Ok(())
        } else {
            Err(ProbeError::Geometry {
                size_bytes,
                logical_sector,
            })
        }
    }
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Byte the signature begins at (the magic number where there is one, not the structure around it).
    pub offset: u64,
    /// What it is.
    pub kind: SignatureKind,
    /// Bytes of the signature itself.
    pub length: u64,
    /// More for people: copies, identities, damage. Not stable.
    pub detail: String,
}

/// All that a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// The signatures, by offset, each place and kind once.
    pub signatures: Vec<Finding>,
    /// GUID partition tables, one for each header that is there.
    pub gpt: Vec<GptTable>,
    /// LVM2 labels that are whole. LVM writes one; more than one is a disk with a past.
    pub lvm: Vec<LvmLabel>,
}

impl Findings {
    /// No signature at all. Says nothing of data without one.
    pub fn is_empty(&self) -> bool {
        self.signatures.is_empty()
    }

    /// The partitions that show a disk to be a system disk, from every table found.
    pub fn system_partitions(&self) -> impl Iterator<Item = &GptPartition> {
        self.gpt
            .iter()
            .flat_map(|table| &table.partitions)
            .filter(|partition| partition.is_system())
    }

    /// The signatures outside the data areas of `label`: on a physical volume those inside are the volumes' own.
    pub fn besides_volumes<'a>(&'a self, label: &'a LvmLabel) -> impl Iterator<Item = &'a Finding> {
        self.signatures
            .iter()
            .filter(|finding| !label.is_data(finding.offset))
    }
}

/// Head and tail that are read in one go, because most places are there.
const EDGE: u64 = 1 << 20;

/// Finds every signature on a disk.
///
/// # Errors
/// Any [`ProbeError`]; then nothing is known, which is not the same as an empty result.
pub fn scan<R: Read + Seek>(reader: R, geometry: Geometry) -> Result<Findings, ProbeError> {
    let mut disk = disk::Disk::new(reader, geometry)?;
    let edge = EDGE.min(geometry.size_bytes);
    disk.fetch(0, edge)?;
    disk.fetch(geometry.size_bytes - edge, edge)?;

    let mut found = Findings::default();
    let signatures = &mut found.signatures;
    gpt::scan(&mut disk, signatures, &mut found.gpt)?;
    table::scan(&mut disk, signatures)?;
    lvm::scan(&mut disk, signatures, &mut found.lvm)?;
    magic::scan(&mut disk, signatures)?;
    bcachefs::scan(&mut disk, signatures)?;
    ext::scan(&mut disk, signatures)?;
    xfs::scan(&mut disk, signatures)?;
    zfs::scan(&mut disk, signatures)?;
    raid::scan(&mut disk, signatures)?;
    firmware::scan(&mut disk, signatures)?;
    weak::scan(&mut disk, signatures)?;
    udf::scan(&mut disk, signatures)?;
    signatures.sort();
    signatures.dedup_by(|a, b| a.offset == b.offset && a.kind == b.kind);
    Ok(found)
}
