//! What we began, on disk before it is begun.
//!
//! A claim is written and synced before the first byte of a disk is changed. It holds
//! the UUID the PV is going to have, so after a power cut a half-made PV is provably
//! ours to finish, and a foreign one provably is not. One file per claim, replaced by
//! rename; one process per journal, kept apart by a lock.

mod files;
#[cfg(test)]
mod format;
mod home;
mod left;
mod machine;
mod making;
mod names;
mod record;
mod slots;
mod wipes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use lvmd::units::Bytes;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::files::Files;
pub use self::home::Home;
pub use self::machine::{Kin, Machine};
pub use self::making::Making;
pub use self::names::Bound;
use self::record::{read_json, write_json};
pub(crate) use self::record::{recall, remember};
pub use self::slots::Slots;
pub use self::wipes::Wiped;
use crate::config::RequireZeroed;
use crate::facts::DiskId;

/// How far a disk has come. Each step is done when it was seen to be done, not when its
/// command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// Our intent is on record; the disk may still be blank.
    Claimed,
    /// It carries our PV label.
    Labelled,
    /// It is in its group.
    Grouped,
    /// The group has all that its class asks for.
    Ready,
}

/// One disk we take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// The UUID of its PV, chosen before it is made.
    pub pv_uuid: String,
    /// The disk.
    pub disk: DiskId,
    /// The class that took it.
    pub class: String,
    /// The name of its group.
    pub volume_group: String,
    /// The UUID of its group, once that is seen.
    pub vg_uuid: Option<String>,
    /// Its size in bytes when it was taken.
    pub size: Bytes,
    /// How much of it was seen to be zero when it was taken.
    pub zeroes: RequireZeroed,
    /// The digest of its contents when it was taken.
    pub fingerprint: String,
    /// How far it has come.
    pub stage: Stage,
    /// How far it has come on its way out, where a person asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Leaving>,
}

/// How far a disk has come on its way out of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leaving {
    /// What is on it is being moved away, a piece at a time: so many extents at the beginning.
    Draining(u64),
    /// Nothing is on it, and vgreduce may have been run.
    Reducing,
}

/// Names of groups, each with the class that it was made for.
pub type Held = BTreeSet<(String, String)>;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    owner: String,
    claims: BTreeMap<String, Claim>,
    names: BTreeMap<String, Bound>,
    slots: Slots,
    files: Files,
    left: left::Left,
    _lock: Flock<File>,
}

/// The journal cannot be used; no disk is acted on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refuses.
    #[error("journal {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another disk-watcher has it.
    #[error("journal {} is in use by another disk-watcher; one runs on a node", .0.display())]
    InUse(PathBuf),
    /// It was made on another machine.
    #[error(
        "journal {} was made on another machine or under another name of the node, or that cannot be told; if this node was renamed or \
         reinstalled and no other node has this journal, say so with --accept-journal {code} (ACCEPT_JOURNAL={code})",
        path.display()
    )]
    OtherMachine {
        /// Its folder.
        path: PathBuf,
        /// What a person hands back.
        code: String,
    },
    /// A file in it is not what we wrote.
    #[error(
        "journal {} is damaged: {why}; no disk is acted on until a person has looked; if a later disk-watcher wrote it, run that one again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Journal {
    /// Opens the journal in `dir`, making it on the first start.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let claims_dir = dir.join("claims");
        fs::create_dir_all(&claims_dir).map_err(at(&claims_dir))?;
        let lock_path = dir.join("lock");
        let file = File::options()
            .create(true)
            .append(true)
            .open(&lock_path)
            .map_err(at(&lock_path))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| JournalError::InUse(dir.to_owned()))?;
        let owner = owner(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            owner,
            claims: claims_in(dir)?,
            names: names::read(dir)?,
            slots: slots::read(dir)?,
            files: files::read(dir)?,
            left: left::read(dir)?,
            _lock: lock,
        })
    }

    /// The value of our tag `basalt.owner`: made at the first start, never changed.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// All claims.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.claims.values()
    }

    /// Which groups disks were taken for, and for which classes.
    pub fn held(&self) -> Held {
        let claims = self.claims.values();
        claims
            .map(|claim| (claim.volume_group.clone(), claim.class.clone()))
            .collect()
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The claim on the PV with this UUID.
    pub fn claim(&self, pv_uuid: &str) -> Option<&Claim> {
        self.claims.get(pv_uuid)
    }

    /// Writes a claim, so that it survives a power cut from now on.
    ///
    /// # Errors
    /// When it is not on disk; the claim then counts as not written.
    pub fn record(&mut self, claim: Claim) -> Result<(), JournalError> {
        write_json(&self.path(&claim.pv_uuid), &claim)?;
        self.claims.insert(claim.pv_uuid.clone(), claim);
        Ok(())
    }

    /// Takes back a claim whose disk was never changed.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn withdraw(&mut self, pv_uuid: &str) -> Result<(), JournalError> {
        let path = self.path(pv_uuid);
        fs::remove_file(&path).map_err(at(&path))?;
        self.claims.remove(pv_uuid);
        Ok(())
    }

    /// Keeps the beginning of a disk before our own wreck on it is erased.
    ///
    /// # Errors
    /// When it is not on disk; nothing may be erased then.
    pub fn keep(&self, pv_uuid: &str, head: &[u8]) -> Result<PathBuf, JournalError> {
        let dir = self.dir.join("wrecks");
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        let digest = Sha256::digest(head);
        let short: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
        let path = dir.join(format!("{pv_uuid}-{short}.head"));
        durable(&path, head)?;
        Ok(path)
    }

    /// What was kept of this PV; nothing when it was never about to be erased.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn kept(&self, pv_uuid: &str) -> Result<Vec<Vec<u8>>, JournalError> {
        let dir = self.dir.join("wrecks");
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(at(&dir))?,
        };
        let mut heads = Vec::new();
        for entry in entries {
            let path = entry.map_err(at(&dir))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(pv_uuid) && name.ends_with(".head") {
                heads.push(fs::read(&path).map_err(at(&path))?);
            }
        }
        Ok(heads)
    }

    /// The UUID a disk's PV gets: the same disk, class and owner give the same one, so a
    /// claim that was lost with the journal is found again.
    pub fn pv_uuid(&self, disk: &DiskId, class: &str) -> String {
        let mut hash = Sha256::new();
        for part in ["basalt pv 1", &self.owner, disk.as_str(), class] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        lvm_uuid(&hash.finalize())
    }

    fn path(&self, pv_uuid: &str) -> PathBuf {
        self.dir.join("claims").join(format!("{pv_uuid}.json"))
    }
}

/// 32 letters and digits in LVM's form 6-4-4-4-4-4-6, from 32 bytes of a digest.
fn lvm_uuid(digest: &[u8]) -> String {
    const LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let letters: Vec<u8> = digest
        .iter()
        .take(32)
        .map(|b| LETTERS[usize::from(*b) % 62])
        .collect();
    lvmd::lvm::label::format_uuid(&letters).unwrap_or_default()
}

/// The value of our tag `basalt.owner`, where there is a journal in this folder. Nothing else of
/// the journal is read.
///
/// # Errors
/// When it cannot be read or is no id.
pub fn owner_in(dir: &Path) -> Result<Option<String>, JournalError> {
    let path = dir.join("owner");
    match fs::read_to_string(&path) {
        Ok(text) if lvmd::lvm::valid::tag(text.trim()).is_ok() => Ok(Some(text.trim().to_owned())),
        Ok(text) => Err(JournalError::Damaged {
            path,
            why: format!("{text:?} is no id"),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(JournalError::Io { path, source }),
    }
}

/// The claims of the journal in this folder, by their PVs, as they are on disk. Nothing else of it is read, and it need not be ours.
///
/// # Errors
/// When one cannot be read or is not what we wrote.
fn claims_in(dir: &Path) -> Result<BTreeMap<String, Claim>, JournalError> {
    let dir = dir.join("claims");
    let mut claims = BTreeMap::new();
    for entry in fs::read_dir(&dir).map_err(at(&dir))? {
        let path = entry.map_err(at(&dir))?.path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let Some(claim) = read_json::<Claim>(&path)? else {
            continue;
        };
        if path.file_stem().and_then(|s| s.to_str()) != Some(&claim.pv_uuid) {
            return Err(JournalError::Damaged {
                path,
                why: format!("it speaks of PV {}", claim.pv_uuid),
            });
        }
        claims.insert(claim.pv_uuid.clone(), claim);
    }
    Ok(claims)
}

/// Reads our id, or makes one from the kernel's random source.
fn owner(dir: &Path) -> Result<String, JournalError> {
    if let Some(owner) = owner_in(dir)? {
        return Ok(owner);
    }
    let path = dir.join("owner");
    let source = Path::new("/proc/sys/kernel/random/uuid");
    let mut id = String::new();
    File::open(source)
        .and_then(|mut f| f.read_to_string(&mut id))
        .map_err(at(source))?;
    durable(&path, id.as_bytes())?;
    Ok(id.trim().to_owned())
}

/// Replaces a file by one that is on disk before it has the name.
pub(crate) fn durable(path: &Path, data: &[u8]) -> Result<(), JournalError> {
    let next = path.with_extension("next");
    let write = || {
        let mut file = File::create(&next)?;
        file.write_all(data)?;
        file.sync_all()?;
        fs::rename(&next, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().map_err(at(path))
}

fn at(path: &Path) -> impl Fn(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(journal: &Journal) -> Claim {
        let disk = DiskId::from("naa.1".to_owned());
        Claim {
            pv_uuid: journal.pv_uuid(&disk, "fast"),
            disk,
            class: "fast".into(),
            volume_group: "fast".into(),
            vg_uuid: None,
            size: Bytes(1 << 30),
            zeroes: RequireZeroed::Full,
            fingerprint: "f".into(),
            stage: Stage::Claimed,
            leaving: None,
        }
    }

    #[test]
    fn a_claim_and_our_id_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        let (owner, made) = (journal.owner().to_owned(), claim(&journal));
        journal.record(made.clone()).unwrap();
        assert!(
            matches!(Journal::open(dir.path()), Err(JournalError::InUse(_))),
            "one process per journal"
        );
        drop(journal);
        let mut again = Journal::open(dir.path()).unwrap();
        assert_eq!(again.owner(), owner);
        let slots = |uuid: &str| Slots::from([(uuid.to_owned(), vec!["slot".to_owned()])]);
        again.see_slots(slots(&made.pv_uuid)).unwrap();
        again.see_slots(slots("other")).unwrap();
        drop(again);
        let mut again = Journal::open(dir.path()).unwrap();
        assert_eq!(again.slots(), &slots(&made.pv_uuid), "of claims alone");
        assert_eq!(again.claim(&made.pv_uuid), Some(&made));
        assert_eq!(
            again.pv_uuid(&made.disk, "fast"),
            made.pv_uuid,
            "the same disk gets the same uuid"
        );
        assert_ne!(again.pv_uuid(&made.disk, "slow"), made.pv_uuid);
        again.withdraw(&made.pv_uuid).unwrap();
        drop(again);
        assert_eq!(Journal::open(dir.path()).unwrap().claims().count(), 0);
    }

    #[test]
    fn which_pv_a_disk_had_is_known_for_as_long_as_somebody_asks_that_it_stays_away() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        let made = claim(&journal);
        let uuid = made.pv_uuid.clone();
        let pvs = |journal: &Journal| {
            let all = journal.pvs_of(&made.disk).map(str::to_owned);
            all.collect::<Vec<_>>()
        };
        journal.record(made.clone()).unwrap();
        assert_eq!(pvs(&journal), [uuid.as_str()]);
        journal.let_go(&uuid).unwrap();
        drop(journal);
        let mut journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.claims().count(), 0);
        assert_eq!(pvs(&journal), [uuid.as_str()]);
        journal
            .keep_left(|asked, disk| asked == uuid && *disk == made.disk)
            .unwrap();
        assert_eq!(pvs(&journal), [uuid.as_str()]);
        journal.keep_left(|_, _| false).unwrap();
        drop(journal);
        assert_eq!(pvs(&Journal::open(dir.path()).unwrap()), [""; 0]);
    }

    #[test]
    fn a_uuid_has_lvms_form() {
        let uuid = lvm_uuid(&[7; 32]);
        assert_eq!(
            uuid.split('-').map(str::len).collect::<Vec<_>>(),
            [6, 4, 4, 4, 4, 4, 6]
        );
    }

    #[test]
    fn a_damaged_journal_stops_everything() {
        let dir = tempfile::tempdir().unwrap();
        drop(Journal::open(dir.path()).unwrap());
        fs::write(dir.path().join("claims/x.json"), "{").unwrap();
        assert!(matches!(
            Journal::open(dir.path()),
            Err(JournalError::Damaged { .. })
        ));
    }

    #[test]
    fn a_file_half_written_by_a_power_cut_is_not_a_claim() {
        let dir = tempfile::tempdir().unwrap();
        drop(Journal::open(dir.path()).unwrap());
        fs::write(dir.path().join("claims/x.next"), "{").unwrap();
        assert_eq!(Journal::open(dir.path()).unwrap().claims().count(), 0);
    }
}
