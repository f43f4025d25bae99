//! Device nodes for lvm alone.
//!
//! Next to udevd an lvm that does not wait for it makes what is missing itself: a node in
//! `/dev/mapper` and a link in `/dev/<vg>`. udevd never replaces a node by its own link,
//! and when another lvm removes or renames the volume before udevd got to it, nobody takes
//! the node away; its number is soon another volume's. So our lvm gets a `devices/dir` of
//! its own, and every name in `/dev` is udevd's. It lies in `/dev`, since nodes do not
//! work on a `/run` mounted nodev; the dot keeps scans out of it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::model::dm_name_prefix;
use crate::dm::{self, Listed};

/// Makes `dir` what an lvm that changes `vg` may find as its `devices/dir`: a node for each
/// device that `vg` has now, and nothing else. No command may be using it.
///
/// # Errors
/// When device-mapper cannot be read, or a node cannot be made.
pub(super) fn refresh(dir: &Path, vg: &str) -> io::Result<()> {
    let devices = match dm::Control::open() {
        Ok(control) => control.list()?,
        // The module is not loaded: there are no devices.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    // lvm makes the group's folder itself, and no group whose folder is there already.
    match fs::remove_dir_all(dir.join(vg)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mapper = dir.join("mapper");
    fs::create_dir_all(&mapper)?;
    let mut missing = wanted(vg, &devices);
    for entry in fs::read_dir(&mapper)? {
        let entry = entry?;
        let (name, found) = (entry.file_name(), entry.metadata()?);
        let name = name.to_str().unwrap_or_default();
        if found.file_type().is_block_device() && missing.get(name) == Some(&found.rdev()) {
            missing.remove(name);
        } else if name != "control" {
            fs::remove_file(entry.path())?;
        }
    }
    for (name, number) in missing {
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        mknod(&mapper.join(name), SFlag::S_IFBLK, mode, number)?;
    }
    Ok(())
}

/// The number of each device whose name says that it is of `vg`. device-mapper's names are
/// `<vg>-<lv>` with each dash in a part doubled, and no part begins with one.
fn wanted<'a>(vg: &str, devices: &'a [Listed]) -> HashMap<&'a str, u64> {
    let prefix = dm_name_prefix(vg);
    devices
        .iter()
        .filter(|device| {
            let rest = device.name.strip_prefix(&prefix);
            rest.is_some_and(|lv| !lv.starts_with('-'))
        })
        .map(|device| {
            let (major, minor) = device.devno;
            (
                device.name.as_str(),
                makedev(u64::from(major), u64::from(minor)),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_the_devices_of_its_own_name_only() {
        let device = |name: &str, minor| Listed {
            name: name.into(),
            uuid: None,
            devno: (254, minor),
            event_nr: 0,
        };
        let devices = [
            device("vg-a", 0),
            device("vg-a--b_tmeta", 1),
            device("vg--x-a", 2),
            device("vgx-a", 3),
            device("other", 4),
        ];
        let names = |vg| {
            let mut names: Vec<_> = wanted(vg, &devices).into_iter().collect();
            names.sort_unstable();
            names
        };
        let at = |minor| makedev(254, minor);
        assert_eq!(names("vg"), [("vg-a", at(0)), ("vg-a--b_tmeta", at(1))]);
        assert_eq!(names("vg-x"), [("vg--x-a", at(2))]);
    }
}
