//! A guest's own folder on the host: disk images, sockets, console, and the plan for its supervisor.
//!
//! The folder is locked as long as its owner lives. Its owner removes it; if the owner is killed, the supervisor
//! does; if that is killed too, the next guest that boots does.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::spec::{Content, Disk};

const PREFIX: &str = "basalt-guest-";

/// A folder is made before it is locked; one younger than this may still be about to be.
const YOUNG: Duration = Duration::from_mins(1);

/// The folder; removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: tempfile::TempDir,
    _lock: Flock<File>,
}

impl Scratch {
    /// Makes a folder in `base`, after removing those whose owners are gone.
    pub(crate) fn create(base: &Path) -> io::Result<Self> {
        sweep(base);
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base)?;
        let file = File::create(dir.path().join("lock"))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| io::Error::from(errno))?;
        Ok(Self { dir, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Makes the image of a disk and returns its path.
    pub(crate) fn image(&self, name: &str, disk: &Disk) -> io::Result<PathBuf> {
        let path = self.path().join(format!("{name}.img"));
        let file = match &disk.content {
            Content::Empty => File::create_new(&path)?,
            Content::CopyOf(source) => {
                copy_sparse(source, &path)?;
                File::options().write(true).open(&path)?
            }
        };
        if file.metadata()?.len() < disk.size {
            file.set_len(disk.size)?;
        }
        Ok(path)
    }
}

/// Removes folders in `base` that nobody holds.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let old = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > YOUNG));
        if !old || !name.to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(file) = File::create(entry.path().join("lock")) else {
            continue;
        };
        if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Copies a file block by block, leaving out blocks of zeroes.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    use io::{Read, Seek, SeekFrom, Write};
    let mut source = File::open(from)?;
    let mut target = File::create_new(to)?;
    let mut block = vec![0; 1 << 16];
    loop {
        let n = source.read(&mut block)?;
        if n == 0 {
            break;
        }
        if block[..n].iter().all(|byte| *byte == 0) {
            target.seek(SeekFrom::Current(i64::try_from(n).unwrap_or(0)))?;
        } else {
            target.write_all(&block[..n])?;
        }
    }
    let end = target.stream_position()?;
    target.set_len(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_held_folder_survives_the_sweep_and_an_orphan_does_not() {
        let base = tempfile::tempdir().unwrap();
        let held = Scratch::create(base.path()).unwrap();
        let orphan = base.path().join(format!("{PREFIX}orphan"));
        fs::create_dir(&orphan).unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * YOUNG;
        for dir in [held.path(), &orphan] {
            File::open(dir).unwrap().set_modified(long_ago).unwrap();
        }
        sweep(base.path());
        assert!(held.path().exists());
        assert!(!orphan.exists());
    }

    #[test]
    fn images_are_sparse_and_copies_are_equal() {
        let base = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(base.path()).unwrap();
        let first = scratch.image("a", &Disk::new(8 << 20)).unwrap();
        let mut content = vec![0; 3 << 20];
        content[1 << 20] = 7;
        fs::write(&first, &content).unwrap();
        let copy = scratch.image("b", &Disk::copy_of(&first, 8 << 20)).unwrap();
        let back = fs::read(&copy).unwrap();
        assert_eq!(back.len(), 8 << 20);
        assert_eq!(back[..content.len()], content[..]);
        assert!(fs::metadata(&copy).unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn the_folder_ends_with_its_owner() {
        let base = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(base.path()).unwrap();
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }
}
