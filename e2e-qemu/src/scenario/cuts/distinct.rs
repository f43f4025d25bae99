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
        let alike = all.iter_mut().rev().find(|known| {
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

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 1024;

    /// A disk of the journal whose one file says this.
    fn journal(dir: &Path, says: &str) -> std::path::PathBuf {
        let (files, disk) = (dir.join("files"), dir.join(says));
        fs::create_dir_all(&files).unwrap();
        fs::write(files.join("claim"), says).unwrap();
        let range = slice(2);
        let size = format!("{}k", (range.end - range.start) / BLOCK);
        let mut mke2fs = host::command("mke2fs");
        mke2fs
            .args(["-q", "-t", "ext4", "-b", "1024", "-d"])
            .arg(&files);
        host::capture(mke2fs.arg(&disk).arg(size)).unwrap();
        disk
    }

    /// Where the file's one block is on the disk, counted in blocks.
    fn block_of_the_file(disk: &Path) -> u64 {
        let mut debugfs = host::command("debugfs");
        debugfs.args(["-R", "blocks /claim"]).arg(disk);
        let said = host::capture(&mut debugfs).unwrap();
        String::from_utf8(said).unwrap().trim().parse().unwrap()
    }

    /// Has ext4's own journal say that the file's block is this, and leaves the block as it is.
    fn say_in_the_journal_of_ext4(disk: &Path, block: &[u8]) {
        let (data, script) = (disk.with_extension("data"), disk.with_extension("script"));
        fs::write(&data, block).unwrap();
        let at = block_of_the_file(disk);
        let commands = format!(
            "journal_open\njournal_write -b {at} {}\njournal_close\n",
            data.display()
        );
        fs::write(&script, commands).unwrap();
        let mut debugfs = host::command("debugfs");
        debugfs.args(["-w", "-f"]).arg(&script).arg(disk);
        host::capture(&mut debugfs).unwrap();
    }

    fn image(journal: &Path) -> Image {
        let mut image = Image::default();
        image.write(slice(0).start, &[1; 512]);
        image.write(slice(2).start, &fs::read(journal).unwrap());
        image
    }

    /// The numbers of the states that are alike.
    fn groups(images: Vec<Image>) -> Vec<Vec<usize>> {
        let states = images.into_iter().enumerate().map(|(n, image)| State {
            cut: Cut::After(n),
            image,
        });
        let all = distinct(states).unwrap();
        let numbers = |one: &Distinct| one.cuts.iter().map(|(number, _)| *number).collect();
        all.iter().map(numbers).collect()
    }

    #[test]
    fn alike_is_what_has_the_same_files_and_the_same_disks() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (journal(dir.path(), "old"), journal(dir.path(), "new"));
        let at = block_of_the_file(&old);
        let (old, new) = (image(&old), image(&new));
        let with = |offset: u64, bytes: &[u8]| {
            let mut image = old.clone();
            image.write(offset, bytes);
            image
        };
        let in_no_file = with(slice(2).end - BLOCK, &[7; 512]);
        let in_the_file = with(slice(2).start + at * BLOCK, b"odd");
        let on_a_disk = with(slice(1).start, &[7; 512]);
        let in_a_note = with(slice(4).start, &[7; 512]);
        assert_eq!(
            groups(vec![
                old.clone(),
                in_no_file,
                new.clone(),
                in_the_file,
                on_a_disk,
                in_a_note,
                new,
                old,
            ]),
            [vec![0, 1, 5, 7], vec![2, 6], vec![3], vec![4]]
        );
    }

    #[test]
    fn a_file_says_what_a_mount_would_find() {
        let dir = tempfile::tempdir().unwrap();
        let disk = journal(dir.path(), "old");
        let old = image(&disk);
        let mut block = b"new".to_vec();
        block.resize(1024, 0);
        say_in_the_journal_of_ext4(&disk, &block);
        let replayed = image(&disk);
        assert!(!replayed.same_in(&old, &slice(2)));
        assert_eq!(files(&old).unwrap()["claim"], b"old");
        assert_eq!(files(&replayed).unwrap()["claim"], b"new");
        assert_eq!(groups(vec![old, replayed]), [[0], [1]]);
    }

    #[test]
    fn what_cannot_be_told_is_like_nothing() {
        let rubbish = || {
            let mut image = Image::default();
            image.write(slice(2).start, &[7; 4096]);
            image
        };
        assert!(files(&rubbish()).is_err());
        assert_eq!(groups(vec![rubbish(), rubbish()]), [[0], [1]]);
    }
}
