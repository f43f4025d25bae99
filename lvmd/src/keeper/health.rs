//! Health as the keeper sees it.

use tokio::sync::watch;

use super::Seen;
use crate::cmd::Runner;
use crate::config::watch::Watching;
use crate::host;
use crate::names;
use crate::pool::{Condition, needs_somebody};
use crate::runtime::http::{Check, Health};
use crate::volumes::{NodeState, Volumes};

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
        let text = stuck.iter().map(|(vg, what)| format!("{vg}: {what}"));
        let text: Vec<_> = text.collect();
        // A command that does not end freezes its VG; a restart would forget it.
        vec![match text.is_empty() {
            true => Check::ok("commands", "no lvm command is stuck"),
            false => Check::warns("commands", text.join("; ")),
        }]
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
        let config = self.volumes.config();
        let wants_thin = config.classes.members().any(|class| class.pool().is_some());
        checks.extend(host::checks(wants_thin));
        checks.push(host::sandbox(self.volumes.engine().tool()));
        match state {
            Some(Ok(state)) => checks.extend(classes(&state)),
            Some(Err(error)) => checks.push(Check::failed("volume-groups", error)),
            None => checks.push(Check::failed("volume-groups", "not looked at yet")),
        }
        if let Some(error) = &self.watching.status.borrow().error {
            checks.push(Check::warns(
                "configuration",
                format!("the old one is in use: {error}"),
            ));
        }
        checks
    }
}

/// The classes. One that is down is said, and does not take the others down.
fn classes(state: &NodeState) -> Vec<Check> {
    let (there, away) = (state.classes.len(), state.absent.len());
    let places = state.classes.iter();
    let places = places.map(|class| format!("{} in {}", class.class, class.volume_group));
    let places: Vec<_> = places.collect();
    let colon = if places.is_empty() { "" } else { ": " };
    let count = format!(
        "{there} of {} classes are there{colon}{}",
        there + away,
        places.join(", ")
    );
    let others = (!state.others.is_empty()).then(|| {
        let names = state.others.join(", ");
        Check::ok("other-groups", format!("no device class names {names}"))
    });
    let conditions = state.classes.iter().flat_map(|class| {
        let of = |it: &Condition| of_class(&class.class, it.code, &it.message);
        class.conditions.iter().map(of)
    });
    [Check::ok("volume-groups", count)]
        .into_iter()
        .chain(state.absent.iter().map(|(class, why)| absent(class, why)))
        .chain(conditions)
        .chain(others)
        .collect()
}

/// A class no VG or pool of which is there.
pub fn absent(class: &str, why: &str) -> Check {
    Check::warns(format!("class {class}"), why)
}

/// What a person should know of a class.
pub fn of_class(class: &str, code: &str, message: &str) -> Check {
    let name = format!("class {class}");
    let text = match message.starts_with(code) {
        true => message.to_owned(),
        false => format!("{code}: {message}"),
    };
    match needs_somebody(code) {
        true => Check::warns(name, text),
        false => Check::ok(name, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::snapshot::Freeze;
    use crate::runtime::http::Verdict;
    use crate::units::Bytes;
    use crate::volumes::ClassState;

    /// The class `ssd` with these conditions, and one that is away.
    fn state(conditions: &[(&'static str, &str)]) -> NodeState {
        let condition = |(code, message): &(&'static str, &str)| Condition {
            code,
            // As of a class with several groups.
            abnormal: false,
            message: (*message).to_owned(),
        };
        NodeState {
            classes: vec![ClassState {
                class: "ssd".into(),
                volume_group: "vg".into(),
                is_default: true,
                free: Bytes(0),
                vg_free: Bytes(0),
                vg_size: Bytes(0),
                pool: None,
                frozen: Vec::new(),
                conditions: conditions.iter().map(condition).collect(),
            }],
            absent: vec![("hdd".into(), "volume group h is not there".into())],
            ..NodeState::default()
        }
    }

    #[test]
    fn what_is_away_frozen_or_has_failed_is_for_a_person_and_keeps_nobody_from_its_job() {
        let partial = Freeze::Partial(vec!["uuid".into()]);
        let stuck = Freeze::StuckCommand("lvcreate".into());
        let all = state(&[
            (partial.code(), &partial.to_string()),
            (stuck.code(), &stuck.to_string()),
            ("PoolFailed", "pool p has failed"),
            ("VGMissing", "volume group b: it is not there"),
        ]);
        let checks = classes(&all);
        assert_eq!(checks[0].text, "1 of 2 classes are there: ssd in vg");
        let told: Vec<_> = checks[1..].iter().map(|check| &*check.text).collect();
        assert_eq!(
            told,
            [
                "volume group h is not there",
                "VGPartial: PVs are missing: uuid; plug their disks in again",
                "StuckCommand: lvcreate",
                "PoolFailed: pool p has failed",
                "VGMissing: volume group b: it is not there",
            ]
        );
        let warns = |check: &Check| check.verdict == Verdict::Warns;
        assert!(checks[1..].iter().all(warns), "{checks:?}");
    }

    #[test]
    fn groups_that_no_class_names_are_said() {
        let all = NodeState {
            others: vec!["data".into(), "root".into()],
            ..NodeState::default()
        };
        let checks = classes(&all);
        assert_eq!(checks[0].text, "0 of 0 classes are there");
        assert_eq!(
            checks[1],
            Check::ok("other-groups", "no device class names data, root")
        );
    }

    #[test]
    fn what_is_as_somebody_wants_it_is_only_told() {
        let checks = classes(&state(&[
            ("PoolErrorIfNoSpace", "writes fail at once"),
            ("PoolInactive", "pool p is not active"),
        ]));
        let ok: Vec<_> = checks.iter().map(|check| check.verdict).collect();
        assert_eq!(
            ok,
            [Verdict::Ok, Verdict::Warns, Verdict::Ok, Verdict::Ok],
            "{checks:?}"
        );
    }
}
