//! What is done for a class: step after step, as [`resume`] says, until there is nothing
//! left to do or something holds it up.

use std::path::PathBuf;
use std::time::Instant;

use lvmd::cmd::Runner;
use tracing::{error, info, warn};

use super::found::{begun_on, found, id_of, is_abandoned, is_disk_of};
use super::{Judged, Watcher};
use crate::apply::{self, ApplyError};
use crate::config::{Config, DiskClass, RequireZeroed};
use crate::content::{DATA_START, Readings, Whole, WholeReads};
use crate::identity::Identity;
use crate::journal::{Claim, Journal, Stage};
use crate::node;
use crate::resume::{self, Found, Next};
use crate::rules::{Code, Verdict};

/// How many steps one class may take in one pass; a guard against running in circles.
const STEPS: usize = 64;

impl<R: Runner + Clone> Watcher<R> {
    /// Takes a class as far as it goes now. Says whether anything was done, and what holds it up.
    pub(super) async fn enforce(
        &mut self,
        class: &DiskClass,
        config: &Config,
        judged: &[Judged],
        is_still: &mut (dyn FnMut() -> bool + Send),
    ) -> (bool, Option<String>) {
        let mut acted = false;
        for _ in 0..STEPS {
            if !is_still() {
                return (acted, Some("the configuration changed".to_owned()));
            }
            match self.step(class, config, judged).await {
                Ok(Step::Done) => acted = true,
                Ok(Step::Nothing) => return (acted, None),
                Ok(Step::Held(why)) => return (acted, Some(why)),
                Err(why) => {
                    error!(class = %class.name, %why, "a step was not done");
                    return (acted, Some(why));
                }
            }
        }
        (
            acted,
            Some(format!("{STEPS} steps in one pass; it runs in circles")),
        )
    }

    async fn step(
        &mut self,
        class: &DiskClass,
        config: &Config,
        judged: &[Judged],
    ) -> Result<Step, String> {
        let Some(journal) = &mut self.journal else {
            return Ok(Step::Nothing);
        };
        let claims: Vec<Claim> = journal
            .claims()
            .filter(|c| c.class == class.name)
            .cloned()
            .collect();
        if let Some(claim) = claims.iter().find(|claim| is_abandoned(claim, judged)) {
            if let Some(disk) = begun_on(claim, &claims, judged)
                && let Some(id) = id_of(&disk.facts)
            {
                if claim.zeroes == RequireZeroed::Full
                    && let Whole::Reading(progress) = self.whole.ask(&disk.facts, DATA_START)
                {
                    let name = &disk.facts.name;
                    return Ok(Step::Held(format!(
                        "a claim of an earlier boot is decided on once all of {name} was read: {progress}"
                    )));
                }
                info!(was = %claim.disk, disk = %id, pv_uuid = %claim.pv_uuid, "the pvcreate of an earlier boot goes on");
                let claim = Claim {
                    disk: id,
                    ..claim.clone()
                };
                journal.record(claim).map_err(|e| node::chain(&e))?;
                return Ok(Step::Done);
            }
            // Right after a boot no disk has settled: which one it was begun on is told later.
            let may_be_it = |disk: &&Judged| {
                let mut reasons = disk.judgement.reasons.iter();
                disk.facts.size == Some(claim.size)
                    && reasons.any(|reason| reason.code == Code::NotSettled)
            };
            if let Some(disk) = judged.iter().find(may_be_it) {
                let name = &disk.facts.name;
                return Ok(Step::Held(format!(
                    "a claim of an earlier boot is decided on once {name} has settled"
                )));
            }
            info!(disk = %claim.disk, pv_uuid = %claim.pv_uuid, "the claim of an earlier boot is withdrawn");
            journal
                .withdraw(&claim.pv_uuid)
                .map_err(|e| node::chain(&e))?;
            return Ok(Step::Done);
        }
        if let Some(step) = self.leave(class, config, judged, &claims).await? {
            return Ok(step);
        }
        let journal = self.journal.as_mut().ok_or("the journal vanished")?;
        let group = apply::group(&self.node, class, journal).await?;
        let (mut seen, mut left) = (Vec::new(), None);
        for claim in &claims {
            let mut found = found(claim, judged, journal, group.as_ref(), &self.whole);
            if found == Found::NoLabel && claim.stage < Stage::Grouped {
                let disk = judged.iter().find(|j| is_disk_of(claim, j));
                let against = disk.and_then(|j| j.judgement.against_its_label(&class.name));
                let now = Instant::now();
                if let Some(why) = self.unlabelled.judged(&claim.pv_uuid, against, now) {
                    left = Some(waits(claim, &why));
                    found = Found::Refused(why);
                }
            }
            seen.push((claim, found));
        }
        let next = resume::next(class, &seen, group.as_ref());
        let by_uuid = |uuid: &str| {
            let claim = claims
                .iter()
                .find(|c| c.pv_uuid == uuid)
                .ok_or("a claim vanished")?;
            let facts = judged
                .iter()
                .find(|j| is_disk_of(claim, j))
                .map(|j| &j.facts)
                .ok_or("its disk vanished")?;
            Ok::<_, String>((claim.clone(), facts))
        };
        let members = |uuids: &[String]| {
            uuids
                .iter()
                .map(|uuid| {
                    by_uuid(uuid).map(|(claim, facts)| (claim, PathBuf::from(facts.node())))
                })
                .collect::<Result<Vec<_>, _>>()
        };
        // Whatever began is finished before new disks join.
        if group
            .as_ref()
            .is_none_or(|group| resume::may_grow(group, &claims))
            && matches!(next, Next::Nothing | Next::Wait(_) | Next::MakeGroup(_))
            && claim_new(
                &self.whole,
                journal,
                &mut self.readings,
                class,
                judged,
                &claims,
            )?
        {
            return Ok(Step::Done);
        }
        let journal = self.journal.as_mut().ok_or("the journal vanished")?;
        match next {
            Next::Nothing => Ok(left.map_or(Step::Nothing, Step::Held)),
            Next::Wait(why) => Ok(Step::Held(match left {
                Some(left) => format!("{why}; {left}"),
                None => why,
            })),
            Next::Frozen(why) => Ok(Step::Held(format!("frozen: {why}"))),
            Next::Finish => {
                let uuid = group.as_ref().map(|g| g.uuid.clone());
                for claim in claims.iter().filter(|c| {
                    c.stage != Stage::Ready
                        && group
                            .as_ref()
                            .is_some_and(|g| g.pv_uuids.contains(&c.pv_uuid))
                }) {
                    apply::advance(journal, claim, Stage::Ready, uuid.as_deref())
                        .map_err(|e| node::chain(&e))?;
                }
                Ok(Step::Done)
            }
            Next::Label(uuid) => {
                let (claim, facts) = by_uuid(&uuid)?;
                let disk = judged.iter().find(|j| is_disk_of(&claim, j));
                let against = disk.and_then(|j| j.judgement.against_its_label(&class.name));
                if let Some(against) = against {
                    return Ok(Step::Held(waits(&claim, &against.why)));
                }
                let whole = &self.whole;
                let done = apply::label(&self.node, whole, journal, class, &claim, facts).await;
                self.readings.forget(&facts.name);
                match &done {
                    Ok(()) => self.unlabelled.labelled(&uuid),
                    Err(ApplyError::Changed { why, .. }) => {
                        self.unlabelled.read(&uuid, why.clone(), Instant::now());
                    }
                    Err(_) => {}
                }
                done_or_held(done)
            }
            Next::CleanWreck(uuid) => {
                let (claim, facts) = by_uuid(&uuid)?;
                self.readings.forget(&facts.name);
                let whole = &self.whole;
                done_or_held(apply::clean_wreck(&self.node, whole, journal, &claim, facts).await)
            }
            Next::MakeGroup(uuids) => {
                let members = members(&uuids)?;
                apply::make_group(&self.node, journal, class, &members)
                    .await
                    .map(|()| Step::Done)
                    .map_err(|e| node::chain(&e))
            }
            Next::Extend(uuids) => {
                let members = members(&uuids)?;
                apply::extend_group(&self.node, journal, class, &members)
                    .await
                    .map(|()| Step::Done)
                    .map_err(|e| node::chain(&e))
            }
            Next::Grow(uuid) => {
                let (claim, facts) = by_uuid(&uuid)?;
                if let Some(why) = self.refusals.waits(&uuid, Instant::now()) {
                    return Ok(Step::Held(why));
                }
                let disk = judged.iter().find(|j| is_disk_of(&claim, j));
                let against = disk.and_then(|j| j.judgement.against_a_member());
                if let Some(reason) = against {
                    return Ok(Step::Held(format!(
                        "the PV of {} waits to grow: {reason}",
                        claim.disk
                    )));
                }
                let begun = Instant::now();
                let whole = &self.whole;
                let done = apply::grow(&self.node, whole, journal, class, &claim, facts).await;
                self.readings.forget(&facts.name);
                done_or_held(done).inspect_err(|why| {
                    self.refusals.refused(uuid, begun, Instant::now(), why);
                })
            }
            Next::Rewrite => {
                let key = &class.volume_group.name;
                if let Some(why) = self.refusals.waits(key, Instant::now()) {
                    return Ok(Step::Held(why));
                }
                let begun = Instant::now();
                let done = apply::rewrite(&self.node, journal, class).await;
                done.map(|()| Step::Done).map_err(|error| {
                    let why = node::chain(&error);
                    self.refusals
                        .refused(key.clone(), begun, Instant::now(), &why);
                    why
                })
            }
            Next::Adopt => apply::adopt(&self.node, journal, class)
                .await
                .map(|()| Step::Done)
                .map_err(|e| node::chain(&e)),
            Next::CleanPool { uuid, .. } => apply::clean_pool(&self.node, journal, class, &uuid)
                .await
                .map(|()| Step::Done)
                .map_err(|e| node::chain(&e)),
            Next::MakePool => apply::make_pool(&self.node, journal, class)
                .await
                .map(|()| Step::Done)
                .map_err(|e| node::chain(&e)),
            Next::FinishPool => apply::finish_pool(&self.node, journal, class)
                .await
                .map(|()| Step::Done)
                .map_err(|e| node::chain(&e)),
        }
    }
}

/// What is said of a claimed disk that gets no label.
fn waits(claim: &Claim, why: &str) -> String {
    format!("the claimed disk {} waits: {why}", claim.disk)
}

/// What came of one step.
pub(super) enum Step {
    Done,
    Nothing,
    Held(String),
}

/// A disk that is still being read is waited for.
fn done_or_held(done: Result<(), ApplyError>) -> Result<Step, String> {
    match done {
        Ok(()) => Ok(Step::Done),
        Err(error @ ApplyError::Reads { .. }) => Ok(Step::Held(error.to_string())),
        Err(error) => Err(node::chain(&error)),
    }
}

/// Writes claims on all disks the class may have now. Says whether there was one.
fn claim_new(
    whole: &WholeReads,
    journal: &mut Journal,
    readings: &mut Readings,
    class: &DiskClass,
    judged: &[Judged],
    claims: &[Claim],
) -> Result<bool, String> {
    let mut count = u32::try_from(claims.len()).unwrap_or(u32::MAX);
    let mut total = claims.iter().map(|c| c.size.0).sum::<u64>();
    let mut claimed = false;
    for judged in judged {
        let cleared = matches!(&judged.judgement.verdict, Verdict::Cleared { class: name } if *name == class.name);
        let (Some(id), Some(reading), Some(size)) =
            (id_of(&judged.facts), &judged.reading, judged.facts.size)
        else {
            continue;
        };
        let id = &id;
        if !cleared || claims.iter().any(|c| c.disk == *id) {
            continue;
        }
        let limits = &class.limits;
        if limits.max_disks.is_some_and(|max| count >= max)
            || limits.max_total.is_some_and(|max| total + size.0 > max.0)
        {
            info!(disk = %id, class = %class.name, "LimitReached by the disks claimed before it");
            continue;
        }
        let identity = Identity {
            id: id.clone(),
            device: reading.device,
            fingerprint: reading.fingerprint.clone(),
        };
        match apply::claim(whole, journal, class, &judged.facts, id, &identity) {
            Ok(_) => {
                claimed = true;
                count += 1;
                total += size.0;
            }
            Err(ApplyError::Changed { disk, why }) => {
                warn!(%disk, %why, "left alone; it is judged again");
                // Of a partition not all that is written through its disk is counted apart from the others'.
                readings.forget(&judged.facts.name);
                if judged.facts.part.is_some() {
                    whole.forget(Some(&judged.facts.name));
                }
            }
            Err(error @ ApplyError::Reads { .. }) => info!(%error, "left alone for now"),
            Err(error) => return Err(node::chain(&error)),
        }
    }
    Ok(claimed)
}
