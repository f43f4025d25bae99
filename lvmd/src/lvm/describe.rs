//! From a VG's metadata to the model, without device-mapper and without lvm. Pure.
//!
//! Whoever is not sure says so: [`Unsure`] names what lvm must be asked about.

mod lv;

use std::collections::HashMap;

use crate::lvm::metadata::group::{Group, Segment};
use crate::lvm::metadata::{MetadataError, group};
use crate::lvm::model::{Pv, Vg};
use crate::units::Bytes;

/// Bytes of a sector, the unit of the metadata.
const SECTOR: u64 = 512;

/// Why lvm must be asked instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsure {
    /// The text is not understood.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// An LV has a segment type that only lvm describes.
    #[error("volume {lv} is of type {kind}")]
    SegmentType {
        /// The LV.
        lv: String,
        /// The type, with its layout where that is what is not known.
        kind: String,
    },
    /// A flag on the VG, a PV or an LV that only lvm judges.
    #[error("{object} is {flag}")]
    Flag {
        /// The VG, PV or LV.
        object: String,
        /// The flag.
        flag: String,
    },
    /// A PV is not there, or there twice.
    #[error("PV {0} is on no device, or on several")]
    Pv(String),
    /// The copies of the metadata are not the same, or one is ignored.
    #[error("the copies of the metadata are not the same, or one is ignored")]
    Copies,
    /// The text could not be read from the disk.
    #[error("the metadata cannot be read: {0}")]
    Unreadable(String),
    /// Device-mapper shows something else than the metadata says.
    #[error("device-mapper shows something else of {lv} than its metadata: {what}")]
    Mapping {
        /// The LV.
        lv: String,
        /// What it shows.
        what: String,
    },
    /// lvm said something else when both were compared.
    #[error("lvm says something else")]
    Distrusted,
}

impl Unsure {
    /// The stable word for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Metadata(_) => "not_understood",
            Self::SegmentType { .. } => "segment_type",
            Self::Flag { .. } => "flag",
            Self::Pv(_) => "pv",
            Self::Copies => "copies",
            Self::Unreadable(_) => "unreadable",
            Self::Mapping { .. } => "mapping",
            Self::Distrusted => "distrusted",
        }
    }
}

/// The VG of `group`, whose PVs are on `devices` (by PV uuid). The attributes are those of
/// LVs that are not active; [`crate::lvm::live`] adds what device-mapper shows.
///
/// # Errors
/// When lvm must be asked.
pub fn vg(group: &Group, devices: &HashMap<&str, String>) -> Result<Vg, Unsure> {
    check_vg(group)?;
    let mut used: HashMap<&str, u64> = HashMap::new();
    for area in group
        .lvs
        .iter()
        .flat_map(|lv| &lv.segments)
        .flat_map(Segment::on_pvs)
    {
        *used.entry(area.of).or_default() += area.extents;
    }
    let mut pvs = group
        .pvs
        .iter()
        .map(|pv| pv_of(pv, devices, used.get(pv.key.as_str()).copied()))
        .collect::<Result<Vec<_>, _>>()?;
    // lvm's order in a report.
    pvs.sort_by(|a, b| a.device.cmp(&b.device));
    let extent_size = Bytes(group.extent_sectors * SECTOR);
    let extent_count: u64 = pvs.iter().map(|pv| pv.extent_count).sum();
    let used: u64 = pvs.iter().map(|pv| pv.used_extents).sum();
    let mut lvs = lv::all(group)?;
    lvs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Vg {
        name: group.name.clone(),
        uuid: group.uuid.clone(),
        size: Bytes(extent_count * extent_size.0),
        extent_size,
        extent_count,
        free_count: extent_count.saturating_sub(used),
        tags: in_order(&group.tags),
        seqno: group.seqno,
        missing_pvs: 0,
        exported: false,
        system_id: String::new(),
        shared: false,
        by_lvm: false,
        pvs,
        lvs,
    })
}

/// lvm shows tags in alphabetical order.
fn in_order(tags: &[String]) -> Vec<String> {
    let mut tags = tags.to_vec();
    tags.sort();
    tags
}

fn check_vg(group: &Group) -> Result<(), Unsure> {
    let odd = |flag: &str| {
        Err(Unsure::Flag {
            object: group.name.clone(),
            flag: flag.to_owned(),
        })
    };
    let usual = ["RESIZEABLE", "READ", "WRITE", "NOAUTOACTIVATE"];
    if let Some(flag) = group.flags.iter().find(|f| !usual.contains(&f.as_str())) {
        return odd(flag);
    }
    for needed in ["READ", "WRITE"] {
        if !group.flags.iter().any(|flag| flag == needed) {
            return odd(&format!("without {needed}"));
        }
    }
    if !group.system_id.is_empty() {
        return odd("of another system");
    }
    if !matches!(group.lock_type.as_str(), "" | "none") {
        return odd("shared");
    }
    if group.has_history {
        return odd("with removed volumes remembered");
    }
    Ok(())
}

fn pv_of(pv: &group::Pv, devices: &HashMap<&str, String>, used: Option<u64>) -> Result<Pv, Unsure> {
    if let Some(flag) = pv.flags.iter().find(|flag| *flag != "ALLOCATABLE") {
        return Err(Unsure::Flag {
            object: pv.uuid.clone(),
            flag: flag.clone(),
        });
    }
    let device = devices.get(pv.uuid.as_str());
    Ok(Pv {
        device: device.ok_or_else(|| Unsure::Pv(pv.uuid.clone()))?.clone(),
        uuid: pv.uuid.clone(),
        extent_count: pv.extent_count,
        used_extents: used.unwrap_or_default(),
        missing: false,
        duplicate: false,
    })
}
