//! LVM's description of each group of ours, kept as files: what brings a group back when
//! the beginnings of its disks are lost.
//!
//! lvm's own backups are off, since the root is read-only. The texts are what lvm wrote to
//! the disks, read without lvm and only when a group was changed; vgcfgrestore(8) reads them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lvmd::lvm::devices::{read_label, read_text};
use lvmd::lvm::snapshot::VgView;
use lvmd::names;
use tracing::warn;

use crate::journal::{self, JournalError};
use crate::probe::lvm::{VgText, describe};

/// How many changes of a group are kept.
pub const KEPT: usize = 10;

/// The backups in a journal.
#[derive(Debug, Clone)]
pub struct Backups {
    dir: PathBuf,
}

/// One kept description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its file.
    pub path: PathBuf,
    /// What it says.
    pub vg: VgText,
}

impl Backups {
    /// Those of the journal in this folder.
    pub fn of(journal: &Path) -> Self {
        Self {
            dir: journal.join("groups"),
        }
    }

    /// Keeps the present description of each group that `owner` owns and that is kept not
    /// yet. What cannot be read now is read at the next look.
    pub fn keep_all<'a>(&self, owner: &str, groups: impl Iterator<Item = &'a VgView>) {
        for view in groups.filter(|view| view.vg.owner() == Some(owner)) {
            if self.path(&view.vg.uuid, view.vg.seqno).exists() {
                continue;
            }
            if let Err(why) = self.keep(view) {
                warn!(group = %view.vg.name, seqno = view.vg.seqno, %why, "its description is not kept yet");
            }
        }
    }

    fn keep(&self, view: &VgView) -> Result<(), String> {
        let text = view
            .devices
            .iter()
            .find_map(|device| committed(device, view))
            .ok_or("no disk of it gave the one that lvm goes by")?;
        self.store(&view.vg.uuid, view.vg.seqno, &text)
            .map_err(|e| crate::node::chain(&e))
    }

    fn store(&self, uuid: &str, seqno: u64, text: &[u8]) -> Result<(), JournalError> {
        let path = self.path(uuid, seqno);
        let dir = path.parent().unwrap_or(&self.dir);
        fs::create_dir_all(dir).map_err(|source| JournalError::Io {
            path: dir.to_owned(),
            source,
        })?;
        journal::durable(&path, text)?;
        let mut kept = files(dir);
        kept.sort();
        let over = kept.len().saturating_sub(KEPT);
        for old in &kept[..over] {
            // One too many does no harm.
            let _ = fs::remove_file(old);
        }
        Ok(())
    }

    /// The newest change of the group with this UUID that is kept; `None`: none is.
    pub fn newest_seqno(&self, uuid: &str) -> Option<u64> {
        let kept = files(&self.dir.join(uuid)).into_iter();
        let seqnos = kept.filter_map(|path| path.file_stem()?.to_str()?.parse().ok());
        seqnos.max()
    }

    /// The last changes of the group with this UUID that are kept, newest first and at most so
    /// many, each with its number. What cannot be read is left out.
    pub fn last(&self, uuid: &str, count: usize) -> Vec<(u64, Vec<u8>)> {
        let mut kept = files(&self.dir.join(uuid));
        kept.sort();
        let read = |path: PathBuf| {
            let seqno = path.file_stem()?.to_str()?.parse().ok()?;
            Some((seqno, fs::read(&path).ok()?))
        };
        kept.into_iter()
            .rev()
            .take(count)
            .filter_map(read)
            .collect()
    }

    /// The newest description of each group, by name.
    ///
    /// # Errors
    /// When the folder cannot be read. A file that is not understood is left out, and the
    /// one before it is given.
    pub fn newest(&self) -> io::Result<Vec<Backup>> {
        let mut newest = Vec::new();
        for group in fs::read_dir(&self.dir)? {
            let mut kept = files(&group?.path());
            kept.sort();
            let mut whole = kept.into_iter().rev().map(Backup::read);
            newest.extend(whole.find_map(Result::ok));
        }
        newest.sort_by(|a, b| a.vg.name.cmp(&b.vg.name));
        Ok(newest)
    }

    /// Names sort as numbers do.
    fn path(&self, uuid: &str, seqno: u64) -> PathBuf {
        self.dir.join(uuid).join(format!("{seqno:020}.vg"))
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_some_and(|x| x == "vg"))
        .collect()
}

impl Backup {
    /// A description that a person took out of where it was kept.
    ///
    /// # Errors
    /// When it cannot be read or describes no group.
    pub fn read(path: PathBuf) -> io::Result<Self> {
        let text = fs::read_to_string(&path)?;
        let vg = describe(&text).ok_or_else(|| {
            let what = format!("{} does not describe a volume group", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?;
        Ok(Self { path, vg })
    }
}

/// The committed text on this device, when it is the one that LVM shows.
fn committed(device: &Path, view: &VgView) -> Option<Vec<u8>> {
    let (label, keys) = read_label(device).ok()??;
    let areas = label.mdas.iter().zip(&keys);
    let mut texts = areas
        .filter(|(_, key)| key.text().is_some())
        .filter_map(|(area, key)| read_text(device, *area, key).ok());
    texts.find(|text| {
        describe(&String::from_utf8_lossy(text))
            .is_some_and(|vg| vg.uuid == view.vg.uuid && vg.seqno == view.vg.seqno)
    })
}

/// The commands by which a person brings a group back, as text. They are never run here.
pub fn restore_plan(backup: &Backup) -> String {
    let Backup { path, vg } = backup;
    let file = path.display();
    let class = names::tag_value(&vg.tags, names::TAG_CLASS).unwrap_or("none");
    let mut text = format!(
        "# Group {} ({}) of class {class}, as of change {}\n",
        vg.name, vg.uuid, vg.seqno
    );
    text.push_str(
        "# 1. Stop disk-watcher, lvmd and everything that uses the group's volumes.\n\
         # 2. For each disk whose label is lost, and for no other; DISK is where it is now:\n",
    );
    for pv in &vg.pvs {
        text.push_str(&format!(
            "lvm pvcreate --uuid {} --restorefile {file} DISK\n",
            pv.uuid
        ));
    }
    text.push_str(
        "# 3. When lvm pvs shows all of them. With a thin pool lvm asks for --force too, since what the pool itself\n\
         #    keeps is not in this file: it must be as it was at this change.\n",
    );
    text.push_str(&format!(
        "lvm vgcfgrestore --file {file} {name}\nlvm vgchange -ay {name}\n",
        name = vg.name
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seqno: u64) -> String {
        format!(
            "fast {{\nid = \"kElRyR-yYhZ-ZH3a-5oHN-vWQu-qCsC-wcGjTa\"\nseqno = {seqno}\ntags = [\"basalt.class=fast\"]\nphysical_volumes {{\npv0 {{\nid = \"jKfGrb-1uxT-d4Qm-aLSW-cqqP-PcIF-cFODYZ\"\nstatus = [\"ALLOCATABLE\"]\n}}\n}}\n}}\n"
        )
    }

    const UUID: &str = "kElRyR-yYhZ-ZH3a-5oHN-vWQu-qCsC-wcGjTa";

    #[test]
    fn the_last_ten_changes_are_kept_and_the_newest_whole_one_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let backups = Backups::of(dir.path());
        assert!(backups.newest().is_err(), "nothing was ever kept");
        for seqno in 1..=12 {
            backups.store(UUID, seqno, text(seqno).as_bytes()).unwrap();
        }
        assert_eq!(files(&backups.dir.join(UUID)).len(), KEPT);
        assert_eq!(backups.newest().unwrap()[0].vg.seqno, 12);
        let last = backups.last(UUID, 2);
        assert_eq!(last, [12, 11].map(|n| (n, text(n).into_bytes())));
        backups.store(UUID, 13, b"fast { torn").unwrap();
        assert_eq!(backups.newest().unwrap()[0].vg.seqno, 12);
    }

    #[test]
    fn a_plan_names_each_pv_and_forces_nothing() {
        let backup = Backup {
            path: "/j/13.vg".into(),
            vg: describe(&text(13)).unwrap(),
        };
        let plan = restore_plan(&backup);
        let commands: Vec<&str> = plan.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(
            commands,
            [
                "lvm pvcreate --uuid jKfGrb-1uxT-d4Qm-aLSW-cqqP-PcIF-cFODYZ --restorefile /j/13.vg DISK",
                "lvm vgcfgrestore --file /j/13.vg fast",
                "lvm vgchange -ay fast",
            ]
        );
    }
}
