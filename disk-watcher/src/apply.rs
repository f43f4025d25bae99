//! One step of an onboarding: the record, one lvm command, the look at what it did.

mod adopt;
mod disk;
mod group;
mod grow;
pub mod leave;
mod leftover;
pub mod mirrors;
pub mod moving;
pub mod readable;
mod rewrite;
pub mod same;
pub mod wipe;
mod wreck;

use lvmd::cmd::{CmdError, Runner};
use tracing::{info, warn};

pub use self::adopt::adopt;
pub use self::disk::{claim, label};
pub use self::group::{extend_group, finish_pool, group, make_group, make_pool};
pub use self::grow::grow;
pub use self::leftover::clean_pool;
pub use self::rewrite::rewrite;
pub use self::wreck::clean_wreck;
pub(crate) use self::wreck::proven;
use crate::commands::LvmCall;
use crate::config::DiskClass;
use crate::content::Whole;
use crate::facts::DiskId;
use crate::journal::{Claim, Journal, JournalError, Stage};
use crate::node::NodeReader;
use crate::rules::Progress;

/// The low-water threshold of a pool when it is made, in percent.
pub const THRESHOLD: u8 = 70;

/// A step that was not done, or not seen to be done.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The disk is not what was judged.
    #[error("disk {disk} is left alone: {why}")]
    Changed {
        /// The disk.
        disk: DiskId,
        /// What changed.
        why: String,
    },
    /// It has to be blank, and all of it is being read.
    #[error("disk {disk} waits until all of it was read: {progress}")]
    Reads {
        /// The disk.
        disk: DiskId,
        /// How far that is.
        progress: Progress,
    },
    /// The journal cannot be written; nothing was changed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// lvm failed, and the state shows that the step is not done.
    #[error("{step} is not done: {why}")]
    NotDone {
        /// The step.
        step: String,
        /// What lvm said, or what is seen.
        why: String,
    },
}

impl ApplyError {
    /// Why a disk is not taken whose bytes, all or those behind a place, are like that; `None`:
    /// each is zero.
    fn unless_blank(disk: &DiskId, found: Whole) -> Option<Self> {
        match found {
            Whole::Blank => None,
            Whole::Reading(progress) => Some(Self::Reads {
                disk: disk.clone(),
                progress,
            }),
            Whole::NotZero(at) => Some(Self::changed(disk)(format!("byte {at} is not zero"))),
            Whole::Unknown(why) => Some(Self::changed(disk)(why)),
        }
    }

    /// Says why this disk is not what was judged.
    fn changed(disk: &DiskId) -> impl Fn(String) -> Self {
        let disk = disk.clone();
        move |why| Self::Changed {
            disk: disk.clone(),
            why,
        }
    }
}

/// Runs one command; what it did is for the caller to see.
pub async fn run<R: Runner + Clone>(
    node: &NodeReader<R>,
    class: &DiskClass,
    call: &LvmCall,
) -> Result<(), CmdError> {
    let cmd = node
        .tool()
        .call(Some(&class.volume_group.name), &call.devices, &call.args)?;
    info!(command = %cmd, "running");
    let result = node.runner().run(cmd).await;
    if let Err(error) = &result {
        warn!(%error, "lvm failed; what is there decides");
    }
    result.map(drop)
}

/// Records that a disk has come further.
pub fn advance(
    journal: &mut Journal,
    claim: &Claim,
    stage: Stage,
    vg_uuid: Option<&str>,
) -> Result<(), ApplyError> {
    let mut next = claim.clone();
    next.stage = stage;
    next.vg_uuid = vg_uuid.map(str::to_owned).or(next.vg_uuid);
    journal.record(next)?;
    info!(disk = %claim.disk, pv_uuid = %claim.pv_uuid, ?stage, "done");
    Ok(())
}

fn not_done(step: &str, why: String) -> ApplyError {
    ApplyError::NotDone {
        step: step.to_owned(),
        why,
    }
}

fn words(said: Result<(), CmdError>, otherwise: &str) -> String {
    said.err().map_or_else(
        || format!("lvm reports success, and {otherwise}"),
        |error| error.to_string(),
    )
}
