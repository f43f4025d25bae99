//! What one lvm sees as `/dev`: the PVs it may see, under their own names, and next to nothing else.
//!
//! Every lvm command walks all of `/dev`, and asks sysfs about each volume it meets there; beside 100 volumes that is
//! more than half of its time. It is not told of a folder of its own by `devices/scan`, because it writes the names it
//! scanned into the metadata (`device = `), where other tools go by them: here they are what they are for everybody.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod};

/// Where lvm makes its own nodes, seen from inside ([`super::nodes`]); the dot keeps scans out of it.
pub(super) const NODES: &str = ".lvm";

/// What lvm and what it calls open beside devices, and their minor numbers (major 1; Linux, admin-guide/devices.txt).
const MEMORY: [(&str, u64); 5] = [
    ("null", 3),
    ("zero", 5),
    ("full", 7),
    ("random", 8),
    ("urandom", 9),
];

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Block(u64),
    Character(u64),
    Link(PathBuf),
}

/// The names in `/dev` by which lvm is to know these devices: their own, and of what device-mapper made the one that people
/// know, which lvm writes into the metadata where it may.
pub(super) fn names(devices: &[PathBuf]) -> Vec<PathBuf> {
    let mapped = devices.iter().filter_map(|device| mapped(device));
    devices.iter().cloned().chain(mapped).collect()
}

fn mapped(device: &Path) -> Option<PathBuf> {
    let number = fs::metadata(device).ok()?.rdev();
    let sys = format!("/sys/dev/block/{}:{}/dm/name", major(number), minor(number));
    let name = fs::read_to_string(sys).ok()?;
    let path = Path::new("/dev/mapper").join(name.trim_end());
    let is_it = path != device && fs::metadata(&path).is_ok_and(|found| found.rdev() == number);
    is_it.then_some(path)
}

/// Makes `dir` a `/dev` with `names` as they are in the real one, and what is in [`NODES`] already. No command may be
/// using it.
///
/// # Errors
/// A device is not there, or a node cannot be made.
pub(super) fn refresh(dir: &Path, names: &[PathBuf]) -> io::Result<()> {
    let mut missing = wanted(names)?;
    fs::create_dir_all(dir)?;
    remove_others(dir, Path::new(""), &mut missing)?;
    for (name, entry) in missing {
        let path = dir.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        match entry {
            Entry::Block(number) => mknod(&path, SFlag::S_IFBLK, mode, number)?,
            Entry::Character(number) => mknod(&path, SFlag::S_IFCHR, mode, number)?,
            Entry::Link(to) => symlink(to, &path)?,
        }
    }
    Ok(())
}

fn wanted(names: &[PathBuf]) -> io::Result<BTreeMap<PathBuf, Entry>> {
    let memory = MEMORY.map(|(name, minor)| (name.into(), Entry::Character(makedev(1, minor))));
    let mut wanted = BTreeMap::from(memory);
    for path in names {
        let wrong = |why: &str| io::Error::other(format!("{} {why}", path.display()));
        let name = path.strip_prefix("/dev");
        let name = name.map_err(|_| wrong("is not in /dev"))?;
        let found =
            fs::metadata(path).map_err(|error| wrong(&format!("cannot be seen: {error}")))?;
        if !found.file_type().is_block_device() {
            return Err(wrong("is no block device"));
        }
        let node = Entry::Block(found.rdev());
        // lvm prefers a link to what it leads to, so a link stays one.
        if path.is_symlink() {
            let target = fs::canonicalize(path)?;
            let behind = target
                .strip_prefix("/dev")
                .map_err(|_| wrong("leads out of /dev"))?;
            wanted.insert(behind.to_owned(), node);
            wanted.insert(name.to_owned(), Entry::Link(target));
        } else {
            wanted.insert(name.to_owned(), node);
        }
    }
    Ok(wanted)
}

/// Removes from `folder` of `dir` what is not wanted; of what is wanted, those that are `missing` stay there.
fn remove_others(
    dir: &Path,
    folder: &Path,
    missing: &mut BTreeMap<PathBuf, Entry>,
) -> io::Result<()> {
    for entry in fs::read_dir(dir.join(folder))? {
        let entry = entry?;
        let name = folder.join(entry.file_name());
        if name == Path::new(NODES) {
            continue;
        }
        let (path, found) = (entry.path(), entry.metadata()?);
        if missing
            .get(&name)
            .is_some_and(|entry| is(entry, &path, &found))
        {
            missing.remove(&name);
        } else if !found.is_dir() {
            fs::remove_file(path)?;
        } else if missing
            .keys()
            .any(|wanted| *wanted != name && wanted.starts_with(&name))
        {
            remove_others(dir, &name, missing)?;
        } else {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

fn is(wanted: &Entry, path: &Path, found: &Metadata) -> bool {
    let kind = found.file_type();
    match wanted {
        Entry::Block(number) => kind.is_block_device() && found.rdev() == *number,
        Entry::Character(number) => kind.is_char_device() && found.rdev() == *number,
        Entry::Link(to) => fs::read_link(path).is_ok_and(|there| there == *to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_device_in_dev_is_refused_by_name() {
        for (path, why) in [
            ("/etc/passwd", "not in /dev"),
            ("/dev/null", "no block device"),
        ] {
            let error = wanted(&[path.into()]).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_others_left_goes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["vg", "mapper", "sdb", ".lvm/mapper"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        let others = ["vg/lv", "mapper/vg-lv", "mapper/luks", "sda"];
        for name in others.iter().chain(&[".lvm/mapper/vg-lv"]) {
            fs::write(at(name), "").unwrap();
        }
        let disk = ("sda".into(), Entry::Block(makedev(8, 0)));
        let link = ("mapper/luks".into(), Entry::Link("../dm-0".into()));
        let group_s = ("sdb".into(), Entry::Block(makedev(8, 16)));
        let mut missing = BTreeMap::from([disk, link, group_s]);
        remove_others(dir.path(), Path::new(""), &mut missing).unwrap();
        assert_eq!(
            missing.len(),
            3,
            "files and folders are no nodes: they are made anew"
        );
        for name in others {
            assert!(!at(name).exists(), "{name}");
        }
        assert!(!at("vg").exists() && !at("sdb").exists() && at(".lvm/mapper/vg-lv").exists());
    }
}
