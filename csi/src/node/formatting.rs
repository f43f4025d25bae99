//! The journal of file systems that are being made.
//!
//! A cut in the middle of mkfs leaves a device that is neither blank nor a file system, and
//! what is neither is never written over. So before mkfs runs, an entry says which volume
//! (by its device-mapper uuid, which no other ever gets) becomes which file system (by a
//! UUID chosen here); it is taken away when mkfs has ended and before anybody can mount or
//! open the volume through us. What is found with an entry was therefore never used, unless
//! another program mounted it meanwhile: upstream's driver after a step back. That is told
//! by the file system's UUID and its superblock, and then the entry counts for nothing.
//!
//! Where a thin pool does not zero new chunks, the first write to one shows what a removed volume had in the rest of it. So
//! the edges, where every file system is told by, are written with zeroes before mkfs; and a file system of another
//! UUID that is found after a cut may be a removed volume's as well as another driver's, and is a person's to decide on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::content::{Content, EDGE};
use super::device::{Open, size};
use super::superblock;
use crate::filesystem::Kind;

/// See the module: one small file for each volume that is being formatted.
#[derive(Debug, Clone)]
pub struct Formatting {
    dir: PathBuf,
}

impl Formatting {
    /// A journal in `state`, a folder that outlives a reboot.
    pub fn new(state: &Path) -> Self {
        Self {
            dir: state.join("formatting"),
        }
    }

    pub(super) fn entry(&self, dm_uuid: &str) -> io::Result<PathBuf> {
        if dm_uuid.is_empty() || dm_uuid.contains('/') {
            return Err(io::Error::other(format!("{dm_uuid:?} is no dm uuid")));
        }
        Ok(self.dir.join(dm_uuid))
    }

    /// The UUID of the file system the volume was to get when it was cut.
    ///
    /// # Errors
    /// It cannot be told whether there is an entry.
    pub(super) fn pending(&self, dm_uuid: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.entry(dm_uuid)?) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes, on disk, that the volume is being formatted, and gives the UUID to use.
    ///
    /// # Errors
    /// It is not noted: nothing may be written to the volume.
    pub(super) fn begin(&self, dm_uuid: &str) -> io::Result<String> {
        let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        let entry = self.entry(dm_uuid)?;
        fs::create_dir_all(&self.dir)?;
        if let Some(state) = self.dir.parent() {
            File::open(state)?.sync_all()?;
        }
        // No dm uuid begins with a dot.
        let new = self.dir.join(format!(".{dm_uuid}"));
        let mut file = File::create(&new)?;
        file.write_all(uuid.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, entry)?;
        File::open(&self.dir)?.sync_all()?;
        Ok(uuid.trim().to_owned())
    }

    /// Takes the entry away, on disk. From here on the volume is its user's.
    ///
    /// # Errors
    /// It may still be there: nobody may use the volume.
    pub(super) fn end(&self, dm_uuid: &str) -> io::Result<()> {
        match fs::remove_file(self.entry(dm_uuid)?) {
            Ok(()) => File::open(&self.dir)?.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether what is on a device is what a cut mkfs left, which nobody ever used. `uuid` is
/// that of the journal's entry; `found` the UUID blkid reads, `first` the device's beginning.
pub(super) fn is_left_over(
    content: &Content,
    found: Option<&str>,
    uuid: &str,
    first: &[u8],
) -> bool {
    match content {
        Content::Blank => false,
        // Upstream's driver would have made it anew, and blkid would know that.
        Content::Unknown(_) => true,
        Content::Known(name) => {
            found == Some(uuid)
                && name
                    .parse::<Kind>()
                    .is_ok_and(|kind| superblock::was_never_mounted(first, kind))
        }
    }
}

/// Whether what is on a device that showed nothing before its mkfs was cut may be what a removed volume left, in a pool
/// that does not zero new chunks.
pub(super) fn may_be_a_removed_ones(content: &Content, found: Option<&str>, uuid: &str) -> bool {
    matches!(content, Content::Known(_)) && found != Some(uuid)
}

/// Makes the edges of a device, where every file system has its beginning, blank again.
/// The kernel refuses to open it so while it is mounted or a program formats it.
///
/// # Errors
/// The kernel's; nothing is to be made on the device then.
pub(super) fn clear(device: &Open) -> io::Result<()> {
    let file = File::options()
        .write(true)
        .custom_flags(nix::libc::O_EXCL)
        .open(&device.path)?;
    let size = size(&device.file)?;
    let length = size.min(EDGE as u64);
    let zeroes = vec![0; usize::try_from(length).unwrap_or(EDGE)];
    file.write_all_at(&zeroes, size - length)?;
    // The beginning last: it is what tells that there is something to clear.
    file.write_all_at(&zeroes, 0)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_there_from_begin_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Formatting::new(dir.path());
        assert_eq!(journal.pending("LVM-a").unwrap(), None);
        journal.end("LVM-a").unwrap();
        let uuid = journal.begin("LVM-a").unwrap();
        assert_eq!(uuid.len(), 36);
        assert_eq!(
            Formatting::new(dir.path()).pending("LVM-a").unwrap(),
            Some(uuid.clone())
        );
        assert_eq!(journal.pending("LVM-b").unwrap(), None);
        assert_ne!(journal.begin("LVM-a").unwrap(), uuid);
        journal.end("LVM-a").unwrap();
        assert_eq!(journal.pending("LVM-a").unwrap(), None);
        assert!(journal.begin("").is_err() && journal.begin("../a").is_err());
    }

    #[test]
    fn a_file_system_of_another_uuid_may_be_a_removed_volumes() {
        let known = Content::Known("xfs".to_owned());
        assert!(may_be_a_removed_ones(&known, Some("another"), "ours"));
        assert!(may_be_a_removed_ones(&known, None, "ours"));
        assert!(!may_be_a_removed_ones(&known, Some("ours"), "ours"));
        let unknown = Content::Unknown("bytes");
        assert!(
            !may_be_a_removed_ones(&unknown, None, "ours"),
            "it is cleared"
        );
        assert!(!may_be_a_removed_ones(&Content::Blank, None, "ours"));
    }

    #[test]
    fn only_what_nobody_ever_used_is_left_over() {
        let mut ext4 = vec![0; EDGE];
        let known = |kind: &str| Content::Known(kind.to_owned());
        let uuid = "11111111-2222-4333-8444-555555555555";
        let is = |content: &Content, found, first: &[u8]| is_left_over(content, found, uuid, first);
        assert!(is(&known("ext4"), Some(uuid), &ext4));
        assert!(is(&Content::Unknown("bytes"), None, &ext4));
        // Another program made it, or mounted it.
        assert!(!is(&known("ext4"), Some("another"), &ext4));
        assert!(!is(&known("ext4"), None, &ext4));
        ext4[1024 + 0x2c] = 1;
        assert!(!is(&known("ext4"), Some(uuid), &ext4));
        // An XFS that says it is being made cannot have been mounted.
        let mut xfs = vec![0; EDGE];
        assert!(!is(&known("xfs"), Some(uuid), &xfs));
        xfs[126] = 1;
        assert!(is(&known("xfs"), Some(uuid), &xfs));
        assert!(!is(&known("btrfs"), Some(uuid), &ext4));
        assert!(!is(&known("swap"), Some(uuid), &xfs));
    }
}
