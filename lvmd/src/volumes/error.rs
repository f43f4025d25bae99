//! Why a request for a volume was not done. One domain error, mapped to gRPC in one place.

use crate::cmd::CmdError;
use crate::config::UnknownClass;
use crate::engine::EngineError;
use crate::lvm::lock_dir::NotTheHosts;
use crate::lvm::reader::ReadError;
use crate::lvm::valid::Invalid;
use crate::units::Bytes;

/// See the module. Each variant says in what state the volume is left, if it is touched at all.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VolumeError {
    /// The device class is not configured.
    #[error(transparent)]
    UnknownClass(#[from] UnknownClass),
    /// A removal names a class that is not configured: whether the volume exists cannot be told.
    #[error(
        "cannot remove volume {name}: {class}; it may still exist, so this is not an answer of \"already removed\""
    )]
    RemovalWithoutClass {
        /// The volume.
        name: String,
        /// What is wrong with the class.
        class: UnknownClass,
    },
    /// The lvcreate option class is not configured.
    #[error(
        "lvcreate option class {0:?} is not configured: add it to lvcreate-option-classes or use another"
    )]
    UnknownOptionClass(String),
    /// A name, tag or size that cannot be.
    #[error(transparent)]
    InvalidName(#[from] Invalid),
    /// A size or word that cannot be.
    #[error("{0}")]
    InvalidArgument(String),
    /// The VG is missing, frozen, or its state cannot be told.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The class's thin pool is not there.
    #[error("thin pool {vg}/{pool} is not there")]
    PoolMissing {
        /// The VG.
        vg: String,
        /// The pool.
        pool: String,
    },
    /// The pool cannot take writes.
    #[error("thin pool {vg}/{pool} cannot take new volumes: {why}")]
    PoolUnusable {
        /// The VG.
        vg: String,
        /// The pool.
        pool: String,
        /// Its mode or what it needs.
        why: String,
    },
    /// It does not fit.
    #[error("no space for {wanted} in device class {class}: {why}")]
    NoSpace {
        /// What was asked for.
        wanted: Bytes,
        /// The class.
        class: String,
        /// What there is, or LVM's words.
        why: String,
    },
    /// The volume is not there.
    #[error("volume {name} does not exist in device class {class}")]
    VolumeMissing {
        /// The volume.
        name: String,
        /// The class.
        class: String,
    },
    /// The source of a snapshot is not there.
    #[error("source volume {name} does not exist in device class {class}")]
    SourceMissing {
        /// The volume.
        name: String,
        /// The class.
        class: String,
    },
    /// A volume of this name exists and is something else than what is asked for.
    #[error("volume {name} exists and is not what is asked for: {why}")]
    Exists {
        /// The volume.
        name: String,
        /// What differs.
        why: String,
    },
    /// The volume exists, but not in this class.
    #[error("volume {name} exists, but not in device class {class}: {why}")]
    OtherClass {
        /// The volume.
        name: String,
        /// The class of the request.
        class: String,
        /// Where it is.
        why: String,
    },
    /// Several volume groups of a class have a volume of this name: which one is meant cannot be told.
    #[error(
        "volume {name} is in several volume groups of device class {class}, {}, and nothing is done with any of them: find out \
         which one has the data, and rename the others with lvrename", vgs.join(" and ")
    )]
    Twice {
        /// The volume.
        name: String,
        /// The class.
        class: String,
        /// The VGs.
        vgs: Vec<String>,
    },
    /// The volume is in a VG that no class has.
    #[error(
        "volume {name} is in volume group {vg}, which no device class has: name {vg} in volume-groups of the class that had it"
    )]
    Unlisted {
        /// The volume.
        name: String,
        /// The VG.
        vg: String,
    },
    /// The volume is in use or protected.
    #[error("volume {name} is not removed: {why}")]
    InUse {
        /// The volume.
        name: String,
        /// What holds it.
        why: String,
    },
    /// A pvmove moves extents that the change would reach.
    #[error(
        "extents of {what} are being moved by {pvmove}, and nothing there is changed meanwhile: ask again when it has ended; if no pvmove is at work any more, `pvmove` goes on with it and `pvmove --abort` takes it back"
    )]
    Moving {
        /// VG and volume or pool.
        what: String,
        /// The LV through which they are moved.
        pvmove: String,
    },
    /// The volume cannot be grown as it is.
    #[error("volume {name} is not grown: {why}")]
    NotGrowable {
        /// The volume.
        name: String,
        /// What has to be done first.
        why: String,
    },
    /// A copy of a thick volume has not all data yet. It goes on by itself.
    #[error("{done} of {of} of volume {name} are copied{}; ask again", why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default())]
    Copying {
        /// The copy.
        name: String,
        /// How much is copied.
        done: Bytes,
        /// Of how much.
        of: Bytes,
        /// What keeps it from going on, when something does.
        why: Option<String>,
    },
    /// A copy of the volume is being made, and it must stay as it is until then.
    #[error(
        "volume {name} is not changed while {copy} is copied from it: ask again when that is done, or remove {copy}"
    )]
    BeingCopied {
        /// The volume.
        name: String,
        /// The copy.
        copy: String,
    },
    /// A copy of a thick volume can never be finished.
    #[error(
        "volume {name} is no whole copy and never will be: {why}; remove it and ask for another"
    )]
    CopyLost {
        /// The copy.
        name: String,
        /// What is lost.
        why: String,
    },
    /// Snapshots of thick volumes.
    #[error(
        "device class {0} is thick: snapshots need a thin class, or `thick-snapshots: copy` in lvmd's device class"
    )]
    ThickSnapshot(String),
    /// A snapshot smaller than its source.
    #[error("a snapshot of {source_bytes} cannot be {wanted}: ask for at least the source's size")]
    SmallerThanSource {
        /// What was asked for.
        wanted: Bytes,
        /// The source's size.
        source_bytes: Bytes,
    },
    /// LVM failed and the volume is as it was before.
    #[error("{what} failed and nothing was changed: {source_text}")]
    Failed {
        /// What was tried.
        what: String,
        /// LVM's words.
        source_text: String,
    },
    /// LVM ended, but the state is not what was asked for.
    #[error("{what} is not shown to be done: {why}")]
    Unverified {
        /// What was tried.
        what: String,
        /// What is seen instead.
        why: String,
    },
    /// The lock directory is not the host's.
    #[error("nothing is changed on this node: {0}")]
    LockDir(#[from] NotTheHosts),
    /// Whether a command is at work in a VG cannot be told.
    #[error(
        "whether volume group {vg} is being changed by a command of earlier cannot be told: {why}"
    )]
    Locked {
        /// The VG.
        vg: String,
        /// What the lock says.
        why: String,
    },
    /// device-mapper cannot be read.
    #[error("device-mapper cannot be read: {0}")]
    Mapper(String),
}

impl From<ReadError> for VolumeError {
    fn from(error: ReadError) -> Self {
        Self::Engine(EngineError::Read(error))
    }
}

/// LVM's code for a command line that it does not take (lvm2 `tools/errors.h`,
/// `EINVALID_CMD_LINE`).
const INVALID_COMMAND_LINE: i32 = 3;

/// Whether LVM refused the command line itself.
pub(super) fn says_invalid(error: &CmdError) -> bool {
    matches!(error, CmdError::Failed { code, .. } if *code == INVALID_COMMAND_LINE)
}

/// Whether lvm's words say that space is what is missing. Only an explanation: that the
/// volume was not made or not grown was seen in the metadata before.
pub(super) fn says_no_space(error: &CmdError) -> bool {
    let text = error.stderr().to_ascii_lowercase();
    [
        "insufficient",
        "not enough",
        "is above threshold",
        "reached threshold",
        "free space in pool",
    ]
    .iter()
    .any(|words| text.contains(words))
}
