//! Health as the keeper sees it.

use tokio::sync::watch;

use super::Seen;
use crate::cmd::Runner;
use crate::config::watch::Watching;
use crate::names;
use crate::runtime::http::{Check, Health};
use crate::volumes::Volumes;

/// Health as the keeper sees it.
#[derive(Debug)]
pub struct KeptHealth<R> {
    pub(super) volumes: Volumes<R>,
    pub(super) watching: Watching,
    pub(super) seen: watch::Receiver<Seen>,
}

impl<R: Runner + Clone> Health for KeptHealth<R> {
    /// A restart cures nothing that LVM has; so only the process itself is asked.
    async fn live(&self) -> Vec<Check> {
        let stuck = self.volumes.engine().stuck();
        let text = stuck
            .iter()
            .map(|(vg, what)| format!("{vg}: {what}"))
            .collect::<Vec<_>>()
            .join("; ");
        // A command that does not end freezes its VG; a restart would forget it.
        vec![Check::ok(
            "commands",
            if stuck.is_empty() {
                "no lvm command is stuck".to_owned()
            } else {
                text
            },
        )]
    }

    async fn ready(&self) -> Vec<Check> {
        let Seen {
            preflight, state, ..
        } = self.seen.borrow().clone();
        let mut checks = vec![match preflight {
            Some(Ok(version)) => Check::ok("lvm", format!("lvm {version}")),
            Some(Err(error)) => Check::failed("lvm", error),
            None => Check::failed("lvm", "not asked yet"),
        }];
        checks.push(match self.volumes.require_lock_dir() {
            Ok(()) => Check::ok("lock-dir", names::LVM_LOCK_DIR),
            Err(error) => Check::failed("lock-dir", error.to_string()),
        });
        match state {
            Some(Ok(state)) => {
                checks.push(Check::ok(
                    "volume-groups",
                    format!(
                        "{} of {} classes are there",
                        state.classes.len(),
                        state.classes.len() + state.absent.len()
                    ),
                ));
                // A class that is down is said, and does not take the others down.
                checks.extend(
                    state
                        .absent
                        .iter()
                        .map(|(class, why)| Check::ok(format!("class {class}"), why.clone())),
                );
                let conditions = state
                    .classes
                    .iter()
                    .flat_map(|class| class.conditions.iter().map(move |c| (class, c)));
                checks.extend(conditions.map(|(class, condition)| {
                    let text = format!("{}: {}", condition.code, condition.message);
                    Check::ok(format!("class {}", class.class), text)
                }));
            }
            Some(Err(error)) => checks.push(Check::failed("volume-groups", error)),
            None => checks.push(Check::failed("volume-groups", "not looked at yet")),
        }
        if let Some(error) = &self.watching.status.borrow().error {
            checks.push(Check::ok(
                "configuration",
                format!("the old one is in use: {error}"),
            ));
        }
        checks
    }
}
