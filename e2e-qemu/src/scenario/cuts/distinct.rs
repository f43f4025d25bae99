//! Which states are alike: their disks are equal, and so are the files of the journal.
//!
//! Most writes to the journal's disk change no file yet, or no longer. The watcher sees files only, so states that differ in
//! the rest are judged once. The files are those after ext4's own journal was replayed, as a mount does; e2fsck does it
//! here. Where it cannot, a state is like no other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

use super::record::slice;
use crate::host;
use crate::writes::{Cut, Image, State};

/// States that are alike, with the numbers of their cuts.
pub(super) struct Distinct {
    pub(super) image: Image,
    pub(super) cuts: Vec<(usize, Cut)>,
    files: Option<Files>,
}

/// Path and content of each.
type Files = BTreeMap<String, Vec<u8>>;

/// Puts together what is alike.
pub(super) fn distinct(states: impl Iterator<Item = State>) -> anyhow::Result<Vec<Distinct>> {
    let disks = slice(0).start..slice(1).end;
    let mut all: Vec<Distinct> = Vec::new();
    for (number, State { cut, image }) in states.enumerate() {
        let files = files(&image)
            .inspect_err(|why| println!("     | files of the journal: {why:#}"))
            .ok();
        let alike = all.iter_mut().find(|known| {
            files.is_some() && known.files == files && known.image.same_in(&image, &disks)
        });
        match alike {
            Some(known) => known.cuts.push((number, cut)),
            None => all.push(Distinct {
                image,
                cuts: vec![(number, cut)],
                files,
            }),
        }
    }
    Ok(all)
}

/// The files on the journal's disk.
fn files(image: &Image) -> anyhow::Result<Files> {
    let dir = tempfile::tempdir().context("a folder for the journal")?;
    let disk = dir.path().join("disk");
    image.save(&slice(2), &disk)?;
    let replayed = host::command("e2fsck")
        .args(["-y", "-E", "journal_only"])
        .arg(&disk)
        .output()
        .context("e2fsck")?;
    // 1: it replayed something.
    let code = replayed.status.code();
    ensure!(code.is_some_and(|code| code <= 1), "e2fsck: {code:?}");
    let out = dir.path().join("out");
    fs::create_dir(&out)?;
    let dump = format!("rdump / {}", out.display());
    let dumped = host::command("debugfs")
        .args(["-R", &dump])
        .arg(&disk)
        .output()
        .context("debugfs")?;
    ensure!(dumped.status.success(), "debugfs: {}", dumped.status);
    let mut files = Files::new();
    read(&out, &out, &mut files)?;
    // It tells of most errors in words only.
    let said = String::from_utf8_lossy(&dumped.stderr);
    ensure!(said.lines().count() <= 1, "debugfs: {said}");
    Ok(files)
}

/// Folders count too, as names that end in a slash.
fn read(root: &Path, dir: &Path, files: &mut Files) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.strip_prefix(root)?.display().to_string();
        if path.is_dir() {
            files.insert(format!("{name}/"), Vec::new());
            read(root, &path, files)?;
        } else {
            files.insert(name, fs::read(&path)?);
        }
    }
    Ok(())
}
