//! Healing and arming, in the background: each VG by itself, because it waits for the VG's
//! turn, and what failed again later and later.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::warn;

use crate::cmd::Runner;
use crate::volumes::{NodeState, Volumes, Wreck};

/// After how long what failed is tried again the first time; doubled each time.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest such pause.
const AGAIN_MAX: Duration = Duration::from_secs(300);

/// What is seen again after this was not left by a command that is still at work. (One that
/// is makes a device wait for milliseconds.)
const LASTING: Duration = Duration::from_secs(5);

/// How often at most a VG is looked at for what was cut off, which asks for each of its devices.
const CHECK: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Care<R> {
    volumes: Volumes<R>,
    patients: HashMap<String, Patient>,
}

#[derive(Debug, Default)]
struct Patient {
    /// Gives whether all went well.
    job: Option<JoinHandle<bool>>,
    failures: u32,
    not_before: Option<Instant>,
    /// When it may be looked at again for what was cut off.
    next_check: Option<Instant>,
    /// It was to be looked at before that.
    left_out: bool,
    /// What looks cut off, and since when.
    cut_off: Vec<(Wreck, Instant)>,
}

impl<R: Runner + Clone> Care<R> {
    pub(super) fn new(volumes: Volumes<R>) -> Self {
        Self {
            volumes,
            patients: HashMap::new(),
        }
    }

    /// Begins what `state` shows to be needed.
    pub(super) async fn attend(&mut self, state: &NodeState) {
        self.patients
            .values_mut()
            .for_each(|patient| patient.left_out = false);
        let config = self.volumes.config();
        for vg in config.classes.volume_groups() {
            let classes = || state.members.iter().filter(|c| c.volume_group == vg);
            if !classes().any(|class| class.frozen.is_empty()) {
                // It is looked at again when it comes back.
                self.volumes.engine().forget(vg);
                continue;
            }
            let unarmed = |code: &&str| *code == crate::pool::NOT_ARMED;
            let rearm: Vec<String> = classes()
                .filter(|c| c.conditions.iter().map(|c| c.code).any(|c| unarmed(&c)))
                .map(|class| class.class.clone())
                .collect();
            let patient = self.patients.entry(vg.to_owned()).or_default();
            if !patient.is_free().await {
                continue;
            }
            let at_work = self.volumes.engine().is_busy(vg);
            let lasting = if patient.is_due(at_work, Instant::now()) {
                let found = self.volumes.cut_off(vg).await.unwrap_or_default();
                patient.lasting(found, Instant::now())
            } else {
                false
            };
            let heal = lasting || !self.volumes.engine().is_sound(vg) || patient.failures > 0;
            if heal || !rearm.is_empty() {
                let (volumes, vg) = (self.volumes.clone(), vg.to_owned());
                let work = async move { treat(&volumes, &vg, heal, &rearm).await };
                patient.job = Some(self.volumes.spawn(work));
            }
        }
    }
}

impl<R> Care<R> {
    /// When there is something to attend to although nothing happens.
    pub(super) fn again(&self) -> Option<Instant> {
        let left_out = self.patients.values().filter(|patient| patient.left_out);
        left_out.filter_map(|patient| patient.next_check).min()
    }
}

impl Patient {
    /// Whether it is time to look for what was cut off; if not, it is made up for. While a
    /// command of ours is `at_work` what is seen is its doing.
    fn is_due(&mut self, at_work: bool, now: Instant) -> bool {
        self.left_out = at_work || self.next_check.is_some_and(|at| now < at);
        if at_work || !self.left_out {
            self.next_check = Some(now + CHECK);
        }
        !self.left_out
    }

    /// Whether something of what looks cut off now has looked so for long.
    fn lasting(&mut self, found: Vec<Wreck>, now: Instant) -> bool {
        let before = std::mem::take(&mut self.cut_off);
        let since = |wreck: &Wreck| before.iter().find(|(seen, _)| seen == wreck);
        let aged = found.into_iter().map(|wreck| {
            let first = since(&wreck).map_or(now, |(_, first)| *first);
            (wreck, first)
        });
        self.cut_off = aged.collect();
        let mut all = self.cut_off.iter();
        all.any(|(_, first)| now.duration_since(*first) >= LASTING)
    }

    /// Whether something may begin; notes how the last thing ended.
    async fn is_free(&mut self) -> bool {
        if let Some(job) = self.job.take_if(|job| job.is_finished()) {
            if job.await.unwrap_or(false) {
                *self = Self::default();
            } else {
                let pause = AGAIN.saturating_mul(1 << self.failures.min(10));
                self.failures = self.failures.saturating_add(1);
                self.not_before = Some(Instant::now() + pause.min(AGAIN_MAX));
            }
        }
        self.job.is_none() && self.not_before.is_none_or(|at| at <= Instant::now())
    }
}

async fn treat<R: Runner + Clone>(
    volumes: &Volumes<R>,
    vg: &str,
    heal: bool,
    rearm: &[String],
) -> bool {
    let mut well = true;
    if heal {
        match volumes.heal_vg(vg).await {
            Ok(reports) => well = reports.iter().all(|r| r.outcome() != "failed"),
            Err(error) => {
                warn!(%vg, %error, "cannot be looked at for wrecks yet");
                well = false;
            }
        }
    }
    for class in rearm {
        if let Err(error) = volumes.rearm(class, vg).await {
            warn!(%vg, %class, %error, "the pool's low-water mark is not armed");
            well = false;
        }
    }
    well
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_was_left_out_is_made_up_for() {
        let (mut patient, start) = (Patient::default(), Instant::now());
        assert!(patient.is_due(false, start) && !patient.left_out);
        assert!(!patient.is_due(false, start + CHECK / 2) && patient.left_out);
        assert_eq!(patient.next_check, Some(start + CHECK));
        assert!(!patient.is_due(true, start + CHECK) && patient.left_out);
        assert!(patient.is_due(false, start + CHECK * 2) && !patient.left_out);
    }

    #[test]
    fn what_is_seen_again_later_has_lasted_and_what_comes_and_goes_has_not() {
        let suspended = |name: &str| Wreck::Suspended {
            name: name.into(),
            ours: true,
        };
        let (mut patient, start) = (Patient::default(), Instant::now());
        assert!(!patient.lasting(vec![suspended("a")], start));
        let both = vec![suspended("a"), suspended("b")];
        assert!(!patient.lasting(both, start + LASTING / 2));
        assert!(patient.lasting(vec![suspended("a")], start + LASTING));
        // Another time, it begins anew.
        assert!(!patient.lasting(vec![], start + LASTING));
        assert!(!patient.lasting(vec![suspended("a")], start + LASTING * 2));
    }
}
