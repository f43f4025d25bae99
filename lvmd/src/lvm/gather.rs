//! Which VGs can be told from what lies on the disks, and which devices lvm must look at.
//! Pure.
//!
//! A VG is told when each of its PVs is on exactly one device, all copies of its metadata
//! are the same and none is ignored, and [`describe`] is sure. Everything else that
//! carries a part of a VG is left for lvm: all of it at once, so that lvm sees what
//! belongs together.

use std::collections::HashMap;
use std::sync::Arc;

use crate::lvm::describe::{self, Unsure};
use crate::lvm::devices::{Labelled, Rank, Scan};
use crate::lvm::label::CommitKey;
use crate::lvm::metadata::Group;
use crate::lvm::model::Vg;

/// What names a text: where it is kept, its length and its checksum. A VG on virtual
/// devices never mixes with its twin on disks.
pub type TextKey = (Rank, u64, u32);

/// What was read of each text.
pub type Texts = HashMap<TextKey, Result<Arc<Group>, Unsure>>;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gathered {
    /// The VGs that are told, and what they lie on.
    pub vgs: Vec<(Rank, Vg)>,
    /// Devices that lvm must look at, as indices of [`Scan::labelled`].
    pub left: Vec<usize>,
    /// Why, for each VG by its name, or by a device where the name is not known.
    pub unsure: Vec<(String, Unsure)>,
}

/// The texts of a device, one for each metadata area in use.
pub fn text_keys(device: &Labelled) -> impl Iterator<Item = TextKey> {
    let texts = device.keys.iter().filter_map(CommitKey::text);
    texts.map(|(size, crc)| (device.rank, size, crc))
}

/// Sorts the devices of `scan` by VG. VGs whose uuid is in `distrusted` are left for lvm.
pub fn vgs(scan: &Scan, texts: &Texts, distrusted: &[String]) -> Gathered {
    let mut gathered = Gathered::default();
    let mut left = vec![false; scan.labelled.len()];
    // By rank and VG uuid: the texts of that VG, and the devices they were found on.
    let mut groups: Vec<((Rank, &str), Found<'_>)> = Vec::new();
    for (index, device) in scan.labelled.iter().enumerate() {
        for key in text_keys(device) {
            match texts.get(&key) {
                Some(Ok(group)) => {
                    let id = (key.0, group.uuid.as_str());
                    let at = groups.iter().position(|(known, _)| *known == id);
                    let at = at.unwrap_or_else(|| {
                        groups.push((id, Found::new(group)));
                        groups.len() - 1
                    });
                    groups[at].1.add(index, key);
                }
                Some(Err(unsure)) => {
                    let known = gathered.unsure.iter().any(|(_, known)| known == unsure);
                    if !known {
                        let device = device.path.display().to_string();
                        gathered.unsure.push((device, unsure.clone()));
                    }
                    left[index] = true;
                }
                None => left[index] = true,
            }
        }
    }
    for ((rank, uuid), found) in groups {
        let told = if distrusted.iter().any(|vg| vg == uuid) {
            Err(Unsure::Distrusted)
        } else {
            tell(scan, rank, &found, &left)
        };
        match told {
            Ok(vg) => gathered.vgs.push((rank, vg)),
            Err(unsure) => {
                gathered.unsure.push((found.group.name.clone(), unsure));
                for index in found.devices {
                    left[index] = true;
                }
                // PVs without metadata of their own.
                for (index, device) in scan.labelled.iter().enumerate() {
                    let member = |pv: &crate::lvm::metadata::group::Pv| {
                        pv.uuid == device.label.pv_uuid && device.rank == rank
                    };
                    left[index] |= found.group.pvs.iter().any(member);
                }
            }
        }
    }
    // What a text that nobody understands names may be without metadata, too.
    if left.contains(&true) {
        for (index, device) in scan.labelled.iter().enumerate() {
            let told = gathered.vgs.iter().flat_map(|(_, vg)| &vg.pvs);
            let is_told = told.into_iter().any(|pv| pv.uuid == device.label.pv_uuid);
            left[index] |= !is_told && text_keys(device).next().is_none();
        }
    }
    gathered.left = (0..left.len()).filter(|index| left[*index]).collect();
    gathered
}

/// A VG's text as it was first found, and where it and others of the VG are.
struct Found<'g> {
    group: &'g Arc<Group>,
    keys: Vec<TextKey>,
    devices: Vec<usize>,
}

impl<'g> Found<'g> {
    fn new(group: &'g Arc<Group>) -> Self {
        Self {
            group,
            keys: Vec::new(),
            devices: Vec::new(),
        }
    }

    fn add(&mut self, device: usize, key: TextKey) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
        if !self.devices.contains(&device) {
            self.devices.push(device);
        }
    }
}

fn tell(scan: &Scan, rank: Rank, found: &Found<'_>, left: &[bool]) -> Result<Vg, Unsure> {
    let [_] = found.keys[..] else {
        return Err(Unsure::Copies);
    };
    let group = found.group;
    let mut devices = HashMap::new();
    for pv in &group.pvs {
        let mut on = scan
            .labelled
            .iter()
            .enumerate()
            .filter(|(_, device)| device.label.pv_uuid == pv.uuid);
        let (Some((index, device)), None) = (on.next(), on.next()) else {
            return Err(Unsure::Pv(pv.uuid.clone()));
        };
        let in_use = device.keys.iter().all(|key| key.text().is_some());
        if !in_use || left[index] || device.rank != rank {
            return Err(Unsure::Copies);
        }
        if device.label.partitioned {
            return Err(Unsure::Flag {
                object: device.path.display().to_string(),
                flag: "partitioned".into(),
            });
        }
        devices.insert(pv.uuid.as_str(), device.path.display().to_string());
    }
    // Metadata on a device that is no PV of this VG: one that was away when it was removed.
    let members = &group.pvs;
    let stranger = found.devices.iter().find(|index| {
        let uuid = &scan.labelled[**index].label.pv_uuid;
        !members.iter().any(|pv| pv.uuid == *uuid)
    });
    if let Some(stranger) = stranger {
        let uuid = scan.labelled[*stranger].label.pv_uuid.clone();
        return Err(Unsure::Pv(uuid));
    }
    describe::vg(group, &devices)
}

#[cfg(test)]
mod tests;
