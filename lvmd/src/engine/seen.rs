//! What commands did that outlives who asked for them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tracing::{info, warn};

use super::lock;
use crate::cmd::{CmdError, Output};
use crate::lvm::mutation::Mutation;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seen {
    stuck: Mutex<HashMap<String, Stuck>>,
    sound: Mutex<HashSet<String>>,
    changes: watch::Sender<u64>,
}

/// A command of ours that got SIGTERM and still runs.
#[derive(Debug)]
struct Stuck {
    what: String,
    ended: watch::Receiver<bool>,
}

impl Seen {
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn note_change(&self) {
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    pub(super) fn is_sound(&self, vg: &str) -> bool {
        lock(&self.sound).contains(vg)
    }

    pub(super) fn set_sound(&self, vg: &str, sound: bool) {
        if sound {
            lock(&self.sound).insert(vg.to_owned());
        } else {
            lock(&self.sound).remove(vg);
        }
    }

    /// VGs with a command that does not end, and what it is.
    pub(super) fn stuck(&self) -> Vec<(String, String)> {
        let mut stuck = lock(&self.stuck);
        stuck.retain(|_, command| !*command.ended.borrow());
        stuck
            .iter()
            .map(|(vg, command)| (vg.clone(), command.what.clone()))
            .collect()
    }

    /// Notes and logs how a command ended.
    pub(super) fn ended(
        self: &Arc<Self>,
        vg: &str,
        change: &[Mutation],
        result: &Result<Output, CmdError>,
        in_time: bool,
    ) {
        if !in_time || result.as_ref().is_err_and(CmdError::is_abnormal) {
            self.set_sound(vg, false);
        }
        match result {
            Ok(out) => {
                info!(vg, ?change, elapsed = ?out.elapsed, "changed");
                // Said after every change, since lvm's own backups are off.
                let usual = "WARNING: This metadata update is NOT backed up.";
                if !out.stderr.is_empty() && out.stderr != usual {
                    info!(vg, stderr = %out.stderr, "lvm remarks");
                }
            }
            Err(error) => warn!(vg, ?change, %error, "lvm failed"),
        }
        if let Err(error @ CmdError::Stuck { ended, .. }) = result {
            self.freeze(vg, error.to_string(), ended.clone());
        }
        self.note_change();
    }

    fn freeze(self: &Arc<Self>, vg: &str, what: String, mut ended: watch::Receiver<bool>) {
        warn!(vg, "frozen until the command ends");
        let stuck = Stuck {
            what,
            ended: ended.clone(),
        };
        lock(&self.stuck).insert(vg.to_owned(), stuck);
        let (seen, vg) = (self.clone(), vg.to_owned());
        tokio::spawn(async move {
            let _ = ended.wait_for(|ended| *ended).await;
            info!(vg, "the command that did not end has ended");
            seen.note_change();
        });
    }
}
