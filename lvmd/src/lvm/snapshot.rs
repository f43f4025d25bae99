//! All volume groups of the node at one moment, with the devices they are on.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;

use crate::lvm::devices::{Labelled, Scan};
use crate::lvm::label::CommitKey;
use crate::lvm::model::Vg;

/// All VGs at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The VGs, in LVM's order.
    pub vgs: Vec<VgView>,
    /// Devices that could not be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// A VG and where it is.
#[derive(Debug, Clone)]
pub struct VgView {
    /// What LVM says of it.
    pub vg: Vg,
    /// The device of each of its PVs, matched by the uuid in the label.
    pub devices: Vec<PathBuf>,
    /// Why it must not be changed; empty when it may.
    pub frozen: Vec<Freeze>,
    /// The committed metadata is not the same on all its PVs: a write was cut off or
    /// refused, or goes on.
    pub copies_differ: bool,
}

/// Why a VG must not be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freeze {
    /// PVs are missing. LVM would happily go on, and the disk that comes back would be stale.
    Partial(Vec<String>),
    /// The same PV is on several devices: a clone or an undetected second path.
    DuplicatePv(String, Vec<PathBuf>),
    /// The device of this PV is smaller than the extents on it.
    Shrunk(String, PathBuf),
    /// Two VGs have this name.
    DuplicateName,
    /// `vgexport`ed.
    Exported,
    /// It belongs to another host.
    ForeignSystemId(String),
    /// Managed by lvmlockd or clvmd.
    Shared,
    /// An lvm command of ours does not end.
    StuckCommand(String),
}

impl Freeze {
    /// The stable code, as in conditions, metrics and logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Partial(_) => "VGPartial",
            Self::DuplicatePv(..) => "DuplicatePV",
            Self::Shrunk(..) => "DiskShrunk",
            Self::DuplicateName => "DuplicateVGName",
            Self::Exported => "Exported",
            Self::ForeignSystemId(_) => "ForeignSystemID",
            Self::Shared => "Shared",
            Self::StuckCommand(_) => "StuckCommand",
        }
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partial(uuids) => write!(
                f,
                "VGPartial: PVs are missing: {}; plug their disks in again",
                uuids.join(", ")
            ),
            Self::DuplicatePv(uuid, devices) => {
                let devices: Vec<_> = devices.iter().map(|d| d.display().to_string()).collect();
                write!(
                    f,
                    "DuplicatePV: PV {uuid} is on {}; unplug the copy",
                    devices.join(" and ")
                )
            }
            Self::Shrunk(uuid, device) => write!(
                f,
                "DiskShrunk: PV {uuid} does not fit on {} any more; give the disk its size back",
                device.display()
            ),
            Self::DuplicateName => f.write_str(
                "DuplicateVGName: two VGs have this name; unplug or rename the foreign one",
            ),
            Self::Exported => f.write_str("Exported: run vgimport to use it here"),
            Self::ForeignSystemId(id) => write!(
                f,
                "ForeignSystemID: it belongs to the host with system id {id:?}"
            ),
            Self::Shared => f.write_str("Shared: it is managed by a cluster lock manager"),
            Self::StuckCommand(what) => write!(f, "StuckCommand: {what}"),
        }
    }
}

impl Snapshot {
    /// Joins LVM's report with the labels on the devices.
    pub fn join(vgs: Vec<Vg>, scan: &Scan) -> Self {
        let mut by_uuid: HashMap<&str, Vec<&Labelled>> = HashMap::new();
        for device in &scan.labelled {
            by_uuid
                .entry(&device.label.pv_uuid)
                .or_default()
                .push(device);
        }
        let mut names: HashMap<String, usize> = HashMap::new();
        for vg in &vgs {
            *names.entry(vg.name.clone()).or_default() += 1;
        }
        let views = vgs.into_iter().map(|vg| {
            let twin = names.get(&vg.name).is_some_and(|count| *count > 1);
            view(vg, &by_uuid, twin)
        });
        Self {
            vgs: views.collect(),
            unreadable: scan.unreadable.clone(),
        }
    }

    /// The VG of this name. Of two with the same name the first is given; it is frozen.
    pub fn vg(&self, name: &str) -> Option<&VgView> {
        self.vgs.iter().find(|view| view.vg.name == name)
    }
}

fn view(mut vg: Vg, by_uuid: &HashMap<&str, Vec<&Labelled>>, twin: bool) -> VgView {
    let mut frozen = Vec::new();
    let mut devices = Vec::new();
    let mut missing = Vec::new();
    let mut copies = HashSet::new();
    for pv in &mut vg.pvs {
        match by_uuid.get(pv.uuid.as_str()).map(Vec::as_slice) {
            Some([device]) if !pv.missing => {
                devices.push(device.path.clone());
                // lvm may have said another of its names, which commands do not see.
                pv.device = device.path.display().to_string();
                let extents = pv.extent_count.saturating_mul(vg.extent_size.0);
                let end = extents.saturating_add(device.label.data_start);
                if device.size.is_some_and(|size| size < end) {
                    frozen.push(Freeze::Shrunk(pv.uuid.clone(), device.path.clone()));
                }
                copies.extend(device.keys.iter().filter_map(CommitKey::text));
            }
            Some([first, _, ..]) => {
                let paths = by_uuid[pv.uuid.as_str()]
                    .iter()
                    .map(|d| d.path.clone())
                    .collect();
                frozen.push(Freeze::DuplicatePv(pv.uuid.clone(), paths));
                devices.push(first.path.clone());
            }
            _ => missing.push(pv.uuid.clone()),
        }
    }
    if !missing.is_empty() || vg.missing_pvs > 0 {
        frozen.push(Freeze::Partial(missing));
    }
    if twin {
        frozen.push(Freeze::DuplicateName);
    }
    if vg.exported {
        frozen.push(Freeze::Exported);
    }
    // LVM without a system id of its own treats every other as foreign (lvmsystemid(7)).
    if !vg.system_id.is_empty() {
        frozen.push(Freeze::ForeignSystemId(vg.system_id.clone()));
    }
    if vg.shared {
        frozen.push(Freeze::Shared);
    }
    VgView {
        vg,
        devices,
        frozen,
        copies_differ: copies.len() > 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::devices::Rank;
    use crate::lvm::label::Label;
    use crate::lvm::report;

    const REPORT: &[u8] = include_bytes!("../../tests/fixtures/fullreport-lvm2-2.03.31.json");

    fn device(path: &str, pv_uuid: &str) -> Labelled {
        let label = Label {
            pv_uuid: pv_uuid.into(),
            device_size: 0,
            data_start: 1 << 20,
            mdas: vec![],
            partitioned: false,
        };
        Labelled {
            path: path.into(),
            devno: (8, 0),
            size: None,
            label,
            keys: vec![],
            rank: Rank::Disk,
        }
    }

    fn scan(devices: Vec<Labelled>) -> Scan {
        Scan {
            labelled: devices,
            unreadable: vec![],
        }
    }

    #[test]
    fn devices_are_matched_by_uuid_not_by_name() {
        let vgs = report::parse(REPORT).unwrap();
        let uuids: Vec<_> = vgs[0].pvs.iter().map(|pv| pv.uuid.clone()).collect();
        let whole = Snapshot::join(
            vgs.clone(),
            &scan(vec![
                device("/dev/sdz", &uuids[1]),
                device("/dev/sdy", &uuids[0]),
            ]),
        );
        let view = whole.vg("vg").unwrap();
        assert_eq!(
            view.devices,
            [PathBuf::from("/dev/sdy"), PathBuf::from("/dev/sdz")]
        );
        assert!(view.frozen.is_empty());

        let partial = Snapshot::join(vgs.clone(), &scan(vec![device("/dev/sdy", &uuids[0])]));
        assert_eq!(
            partial.vg("vg").unwrap().frozen,
            [Freeze::Partial(vec![uuids[1].clone()])]
        );

        let cloned = Snapshot::join(
            vgs.clone(),
            &scan(vec![
                device("/dev/a", &uuids[0]),
                device("/dev/b", &uuids[1]),
                device("/dev/c", &uuids[0]),
            ]),
        );
        assert!(matches!(
            &cloned.vg("vg").unwrap().frozen[..],
            [Freeze::DuplicatePv(..)]
        ));

        let twins = Snapshot::join(
            [vgs.clone(), vgs].concat(),
            &scan(vec![
                device("/dev/sdz", &uuids[1]),
                device("/dev/sdy", &uuids[0]),
            ]),
        );
        assert!(
            twins
                .vgs
                .iter()
                .all(|view| view.frozen == [Freeze::DuplicateName])
        );
    }

    #[test]
    fn a_disk_that_became_smaller_than_its_extents_freezes_the_group() {
        let vgs = report::parse(REPORT).unwrap();
        let pv = &vgs[0].pvs[0];
        let needed = pv.extent_count * vgs[0].extent_size.0 + (1 << 20);
        let frozen = |size| {
            let mut devices = vec![
                device("/dev/a", &pv.uuid),
                device("/dev/b", &vgs[0].pvs[1].uuid),
            ];
            devices[0].size = Some(size);
            let joined = Snapshot::join(vgs.clone(), &scan(devices));
            joined.vg("vg").unwrap().frozen.clone()
        };
        assert_eq!(frozen(needed), []);
        assert_eq!(frozen(2 * needed), []);
        let shrunk = Freeze::Shrunk(pv.uuid.clone(), "/dev/a".into());
        assert_eq!(frozen(needed - 512), [shrunk]);
    }

    #[test]
    fn metadata_that_is_not_the_same_on_all_disks_is_noticed() {
        let vgs = report::parse(REPORT).unwrap();
        let key = |offset, crc, flags| CommitKey {
            offset,
            size: 900,
            crc,
            flags,
        };
        let differ = |second: CommitKey| {
            let mut devices = vec![
                device("/dev/a", &vgs[0].pvs[0].uuid),
                device("/dev/b", &vgs[0].pvs[1].uuid),
            ];
            devices[0].keys = vec![key(512, 7, 0)];
            devices[1].keys = vec![second];
            let joined = Snapshot::join(vgs.clone(), &scan(devices));
            joined.vg("vg").unwrap().copies_differ
        };
        assert!(
            !differ(key(4096, 7, 0)),
            "the same text elsewhere in the ring"
        );
        assert!(differ(key(512, 8, 0)));
        assert!(!differ(key(512, 8, 1)), "an ignored area may be old");
    }
}
