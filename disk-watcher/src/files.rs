//! Files that stand in for disks, to try things out where there is no disk to give away
//! (`spec.select.files`).
//!
//! A file is made once, with all its blocks, and never over another file. It is known again by its
//! inode and its time of birth, which the journal keeps, so a copy or another file of its name is
//! not it. It is attached to a loop device at each start, before pools are activated; a loop device
//! counts as a disk only while the kernel says that such a file is behind it.

mod loop_device;
mod make;
mod place;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use lvmd::units::{Bytes, MIB};
use rustix::fs::{AtFlags, StatxFlags, statx};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

pub(crate) use self::loop_device::device_behind;
pub use self::place::refused;
use crate::config::Config;
use crate::facts::{DiskFacts, DiskId, Transport};
use crate::journal::{Journal, JournalError};
use crate::status::{FileState, NodeFile};

/// The smallest file we make.
pub const MIN: Bytes = Bytes(64 * MIB);

/// A file that a class wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedFile {
    /// Where.
    pub path: PathBuf,
    /// How large.
    pub size: Bytes,
}

/// A file that we made, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MadeFile {
    /// Its id as a disk.
    pub id: DiskId,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub size: Bytes,
    /// What tells it from all other files of its file system.
    pub inode: Inode,
    /// Whether it was seen to have its name. Until then it may have vanished in a cut.
    pub named: bool,
}

/// An inode that is not taken for the one that has its number later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inode {
    /// Its number.
    pub number: u64,
    /// When it was made, in seconds since 1970 by the clock of then.
    pub born: i64,
    /// The nanoseconds of that.
    pub born_nanos: u32,
}

/// Why there is no disk of a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A rule speaks against it.
    #[error("{}: {why}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The rule, and the way out.
        why: String,
    },
    /// The system does.
    #[error("{}: cannot {what} it: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What it says.
        source: io::Error,
    },
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl FileError {
    fn io(path: &Path, what: &'static str, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            what,
            source,
        }
    }
}

/// Attaches what was made in earlier runs, and makes what the classes that may act want. Says how
/// each file stands.
pub fn keep(config: &Config, journal: &mut Journal) -> Vec<NodeFile> {
    let mut seen = Vec::new();
    for class in &config.classes {
        for wanted in &class.select.files {
            let done = match (class.may_change_disks(), journal.file(&wanted.path)) {
                (true, _) => make::make(journal, wanted).and_then(|made| attached(&made)),
                (false, Some(made)) => attached(made),
                (false, None) => Ok((
                    FileState::Planned,
                    match class.recalled {
                        Some(why) => why.to_string(),
                        None => format!("mode is {:?}; Enforce makes it", class.mode),
                    },
                )),
            };
            let (state, message) = done.unwrap_or_else(refusal);
            seen.push(NodeFile {
                path: wanted.path.clone(),
                size: wanted.size,
                class: class.name.clone(),
                state,
                message,
            });
        }
    }
    // A disk of ours stays one when its class no longer names its file.
    let dropped: Vec<MadeFile> = (journal.files().values())
        .filter(|made| seen.iter().all(|file| file.path != made.path))
        .cloned()
        .collect();
    for made in dropped {
        if !journal.claims().any(|claim| claim.disk == made.id) {
            // Nobody misses it; its name is free again.
            if let (Err(error), true) = (made.path.symlink_metadata(), made.named)
                && error.kind() == io::ErrorKind::NotFound
                && let Err(error) = journal.forget_file(&made.path)
            {
                warn!(error = %crate::node::chain(&error), "a file cannot be forgotten");
            }
            continue;
        }
        let (state, message) = attached(&made).unwrap_or_else(refusal);
        seen.push(NodeFile {
            path: made.path,
            size: made.size,
            class: String::new(),
            state,
            message,
        });
    }
    seen
}

/// Attaches what was made and is in use; makes nothing.
pub fn keep_made(journal: &mut Journal) -> Vec<NodeFile> {
    keep(&Config::default(), journal)
}

fn refusal(error: FileError) -> (FileState, String) {
    (FileState::Refused, crate::node::chain(&error))
}

/// Has a loop device for a file of ours.
fn attached(made: &MadeFile) -> Result<(FileState, String), FileError> {
    let path = &made.path;
    let io = |what| move |source| FileError::io(path, what, source);
    let file = (File::options().read(true).write(true).open(path)).map_err(io("open"))?;
    let stat = file.metadata().map_err(io("look at"))?;
    if Inode::of(&file).map_err(io("look at"))?.as_ref() != Some(&made.inode) {
        return Err(FileError::Refused {
            path: path.clone(),
            why:
                "this is not the file that was made here; put that one back, or take the name out \
                  of spec.select.files"
                    .to_owned(),
        });
    }
    if stat.len() != made.size.0 {
        return Err(FileError::Refused {
            path: path.clone(),
            why: format!(
                "it was made with {} and now has {}; give it its size back",
                made.size,
                Bytes(stat.len())
            ),
        });
    }
    let device = match loop_device::of(&file).map_err(io("look for a loop device of"))? {
        Some(device) => device,
        None => {
            let device = loop_device::attach(&file, path).map_err(io("attach"))?;
            info!(file = %path.display(), device = %device.display(), "attached");
            device
        }
    };
    Ok((FileState::Attached, device.display().to_string()))
}

/// Gives the loop devices of our files their identity as disks.
pub fn recognise<'a>(disks: &mut [DiskFacts], made: impl Iterator<Item = &'a MadeFile> + Clone) {
    for disk in disks {
        if disk.driver.as_deref() != Some("loop") || disk.size.is_none_or(|size| size.0 == 0) {
            continue;
        }
        if let Some(made) = made.clone().find(|made| is_behind(made, disk)) {
            disk.wwid = Some(made.id.to_string());
            disk.transport = Some(Transport::File);
            disk.file = Some(made.clone());
        }
    }
}

/// Whether this file of ours is behind this loop device now.
pub fn is_behind(made: &MadeFile, disk: &DiskFacts) -> bool {
    let behind = || -> io::Result<bool> {
        let file = File::options().read(true).open(&made.path)?;
        let device = File::open(disk.node())?;
        let same = crate::identity::Device::of(&device)?;
        Ok(made.named
            && Some(same.dev) == disk.dev
            && Some(same.diskseq) == disk.diskseq
            && disk.size == Some(made.size)
            && Inode::of(&file)?.as_ref() == Some(&made.inode)
            && loop_device::is_behind(&file, &device)?)
    };
    behind().unwrap_or(false)
}

impl Inode {
    /// The inode of an open file; `None` where the file system keeps no time of birth.
    ///
    /// # Errors
    /// statx(2) fails.
    fn of(file: &File) -> io::Result<Option<Self>> {
        let want = StatxFlags::INO | StatxFlags::BTIME;
        let stat = statx(file, c"", AtFlags::EMPTY_PATH, want)?;
        let known = StatxFlags::from_bits_retain(stat.stx_mask).contains(want);
        Ok(known.then_some(Self {
            number: stat.stx_ino,
            born: stat.stx_btime.tv_sec,
            born_nanos: stat.stx_btime.tv_nsec,
        }))
    }
}

impl DiskId {
    /// The id of a file of ours, as a disk.
    fn for_file(owner: &str, path: &Path, inode: &Inode) -> Self {
        use sha2::{Digest, Sha256};
        let words = format!("{owner} {} {inode:?}", path.display());
        let digest = Sha256::digest(words.as_bytes());
        let short: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
        Self::from(format!("file.{short}"))
    }
}

#[cfg(test)]
mod tests;
