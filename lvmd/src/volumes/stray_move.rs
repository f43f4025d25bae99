//! Devices that a pvmove left which was killed.
//!
//! LVM makes the device `<vg>-pvmove<n>` before it commits the LV of that name. Killed in between, the device stays, with
//! a uuid that no metadata has, and each later pvmove fails at making one of the same name ("create ioctl ... failed"),
//! until the next boot. Seen with LVM 2.03.31, killed before its fifth write.
//!
//! LVM also makes the devices of those LVs that it moves and that were not active, as a group's `lvol0_pmspare` never is.
//! Killed after its move, such a device stays, and maps what the pvmove left: nothing reaches its LV through it, and LVM
//! does not remove what another device uses. The next activation makes it again, as the metadata says.

use std::io;

use crate::dm::{Control, Listed, Target};
use crate::lvm::model::{Lv, Vg, dm_name_prefix};
use crate::lvm::vg_lock::VgLock;

/// The uuids of such devices of the group, in the order in which they can be removed.
///
/// # Errors
/// When device-mapper cannot be asked.
pub fn find(vg: &Vg) -> io::Result<Vec<String>> {
    let control = Control::open()?;
    let listed = control.list()?;
    let strays = strays(vg, &listed);
    let left = left(vg, &strays, &listed);
    let mut found = Vec::new();
    if !left.is_empty() {
        for uuid in of_group(vg, &listed) {
            let idle = control.device(uuid)?.is_some_and(|it| it.open_count == 0);
            if idle && maps(&control.table(uuid)?.unwrap_or_default(), &left) {
                found.push(uuid.to_owned());
            }
        }
    }
    found.extend(strays);
    Ok(found)
}

/// Removes them while LVM's lock of the VG is held, so that no pvmove is about to commit; `vg` has to have been read since
/// then. The kernel removes none that anything has open, as every device has on which a pvmove is at work.
///
/// # Errors
/// When device-mapper refuses.
pub fn remove(_held: &VgLock, vg: &Vg) -> io::Result<Vec<String>> {
    let found = find(vg)?;
    let control = Control::open()?;
    for uuid in &found {
        control.remove_unused(uuid)?;
    }
    Ok(found)
}

fn of_group<'a>(vg: &Vg, listed: &'a [Listed]) -> impl Iterator<Item = &'a str> {
    let prefix = vg.dm_prefix();
    let uuids = listed.iter().filter_map(|device| device.uuid.as_deref());
    uuids.filter(move |uuid| uuid.starts_with(&prefix))
}

fn strays(vg: &Vg, listed: &[Listed]) -> Vec<String> {
    let name = dm_name_prefix(&vg.name) + "pvmove";
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let named = listed
        .iter()
        .filter(|device| device.name.strip_prefix(&name).is_some_and(is_number));
    let named: Vec<Listed> = named.cloned().collect();
    of_group(vg, &named)
        .filter(|of| !vg.lvs.iter().any(|lv| lv.dm_uuid(vg, "") == *of))
        .map(str::to_owned)
        .collect()
}

/// The numbers of the devices that pvmoves left: strays, and those of empty LVs.
fn left(vg: &Vg, strays: &[String], listed: &[Listed]) -> Vec<String> {
    let rests = vg.lvs.iter().filter(|lv| Lv::is_rest_of_move(lv));
    let rests: Vec<String> = rests.map(|lv| lv.dm_uuid(vg, "")).collect();
    let is_left = |uuid: &String| strays.contains(uuid) || rests.contains(uuid);
    let devices = listed.iter();
    let left = devices.filter(|device| device.uuid.as_ref().is_some_and(is_left));
    left.map(|device| format!("{}:{}", device.devno.0, device.devno.1))
        .collect()
}

fn maps(table: &[Target], below: &[String]) -> bool {
    let mut words = table.iter().flat_map(|target| target.params.split(' '));
    words.any(|word| below.iter().any(|device| device == word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::report;

    #[test]
    fn only_a_device_of_this_group_under_a_name_of_pvmoves_that_no_lv_has_is_a_stray() {
        let report = include_bytes!("../../tests/fixtures/fullreport-lvm2-2.03.31.json");
        let mut vg = report::parse(report).unwrap().remove(0);
        vg.name = "my-vg".into();
        let lv = vg.lvs[0].dm_uuid(&vg, "");
        let stray = vg.dm_prefix() + "0123456789abcdef0123456789abcdef";
        let device = |name: &str, uuid: &str| Listed {
            name: name.into(),
            uuid: Some(uuid.into()),
            devno: (254, 7),
            event_nr: 0,
        };
        let found = |name, uuid| strays(&vg, &[device(name, uuid)]);
        assert_eq!(found("my--vg-pvmove0", &stray).len(), 1);
        assert_eq!(found("my--vg-pvmove0", &lv), [""; 0], "LVM knows it");
        assert_eq!(found("my--vg-pvmoves", &stray), [""; 0]);
        assert_eq!(found("my--vg-data", &stray), [""; 0]);
        assert_eq!(found("my--vg-pvmove0", "LVM-another"), [""; 0]);
    }

    #[test]
    fn what_a_pvmove_left_is_known_under_what_maps_it() {
        let report = include_bytes!("../../tests/fixtures/fullreport-lvm2-2.03.31.json");
        let mut vg = report::parse(report).unwrap().remove(0);
        let device = |uuid: &str, minor| Listed {
            name: "any".into(),
            uuid: Some(uuid.into()),
            devno: (254, minor),
            event_nr: 0,
        };
        let of_lv = vg.lvs[0].dm_uuid(&vg, "");
        let listed = [device("stray", 4), device(&of_lv, 5), device("LVM-x", 6)];
        let strays = ["stray".to_owned()];
        assert_eq!(left(&vg, &strays, &listed), ["254:4"]);
        vg.lvs[0].name = "pvmove0".into();
        vg.lvs[0].segtype = "error".into();
        assert_eq!(left(&vg, &strays, &listed), ["254:4", "254:5"]);
        let table = |params: &str| {
            vec![Target {
                start: 0,
                length: 8192,
                kind: "linear".into(),
                params: params.into(),
            }]
        };
        let below = ["254:4".to_owned()];
        assert!(maps(&table("254:4 0"), &below));
        assert!(!maps(&table("254:40 254"), &below));
        assert!(!maps(&table("98:16 2048"), &below));
    }
}
