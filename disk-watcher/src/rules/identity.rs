//! Rules about which disk it is: one of a kind, and not one path of several.

use super::{Code, Evidence, Peer, Reasons};
use crate::config::DiskClass;
use crate::facts::{DiskFacts, Identified, UdevRecord};

pub(super) fn it_is_one_of_a_kind(
    evidence: &Evidence<'_>,
    class: Option<&DiskClass>,
    reasons: &mut Reasons,
) {
    let disk = evidence.facts;
    match disk.identify() {
        Identified::As(_) => {}
        Identified::Junk(values) => reasons.add(
            Code::JunkId,
            format!("{values:?} is what makers write when there is no number"),
        ),
        Identified::Missing if class.is_some_and(|c| c.safety.allow_unique_id_missing) => {}
        Identified::Missing => reasons.add(Code::NoId, "it has neither WWID nor serial number"),
    }
    for twin in disk.part.iter().flat_map(|part| &part.twins) {
        reasons.add(
            Code::DuplicateId,
            format!("partition {twin} has its GUID too"),
        );
    }
    multipath(evidence, reasons);
    let Some(me) = Peer::of(disk.whole()) else {
        return;
    };
    for other in evidence.peers.iter().filter(|peer| peer.name != me.name) {
        match (&me.wwid, &other.wwid) {
            (Some(mine), Some(theirs)) => {
                if mine == theirs {
                    reasons.add(
                        Code::DuplicateId,
                        format!("{} has WWID {mine} too", other.name),
                    );
                    reasons.add(
                        Code::MultipathSuspect,
                        format!("{} may be another path to it: one WWID", other.name),
                    );
                }
            }
            // Namespaces and LUNs share a serial number; it only counts where a WWID
            // cannot tell them apart.
            _ => {
                if let Some(id) = me
                    .serial_id
                    .as_ref()
                    .filter(|_| me.serial_id == other.serial_id)
                {
                    reasons.add(Code::DuplicateId, format!("{} is {id} too", other.name));
                }
            }
        }
    }
}

fn multipath(evidence: &Evidence<'_>, reasons: &mut Reasons) {
    let disk = evidence.facts;
    for holder in &disk.holders {
        if holder
            .dm_uuid
            .as_deref()
            .is_some_and(|uuid| uuid.starts_with("mpath-"))
        {
            reasons.add(Code::MultipathMember, format!("{} is its map", holder.name));
        }
    }
    let is_path = |udev: &UdevRecord| {
        udev.property("DM_MULTIPATH_DEVICE_PATH") == Some("1")
            || udev.property("ID_FS_TYPE") == Some("mpath_member")
    };
    if is_path(&disk.udev) || is_path(&disk.whole().udev) {
        reasons.add(
            Code::MultipathMember,
            "udev says that multipath has taken it",
        );
    }
    let names = multipath_names(disk);
    for wwid in &evidence.host.multipath_wwids {
        if names.contains(wwid) {
            reasons.add(
                Code::MultipathMember,
                format!("{wwid} is in multipath's wwids file"),
            );
        }
    }
}

/// The disk's WWID as multipath writes it: a digit for the type, then the number.
fn multipath_names(disk: &DiskFacts) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(wwid) = &disk.wwid {
        names.push(wwid.clone());
        for (prefix, digit) in [("t10.", '1'), ("eui.", '2'), ("naa.", '3')] {
            if let Some(number) = wwid.strip_prefix(prefix) {
                names.push(format!("{digit}{number}"));
            }
        }
    }
    for key in ["ID_SERIAL", "SCSI_IDENT_SERIAL", "ID_WWN", "DM_SERIAL"] {
        names.extend(disk.whole().udev.property(key).map(str::to_owned));
    }
    names
}
