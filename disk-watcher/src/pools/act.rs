//! One lvm command for a pool, and the look that decides whether it worked.

use std::time::Instant;

use lvmd::cmd::Runner;
use lvmd::lvm::mutation::Mutation;
use lvmd::names;
use lvmd::pool;
use lvmd::units::Bytes;
use tracing::{error, info};

use super::{AGAIN, Care, Entry, Seen, observe};
use crate::config::{DiskClass, ThinPool};
use crate::extend::{Action, Attempt, Part};
use crate::{apply, commands};
use lvmd::config::DEFAULT_GATE_PERCENT as GATE;

impl<R: Runner + Clone> Care<R> {
    /// Does it, and notes how it ended.
    pub(super) async fn act(
        &mut self,
        class: &DiskClass,
        wanted: &ThinPool,
        seen: &Seen,
        action: Action,
    ) {
        match action {
            Action::Extend(part, to) => self.extend(class, wanted, seen, part, to).await,
            Action::ErrorWhenFull(error) => {
                let change = Mutation::ErrorWhenFull {
                    name: wanted.name.clone(),
                    error,
                };
                let said = self.run(class, wanted, seen, &change).await;
                let shows = |after: &Seen| {
                    let now = after.active.as_ref().map(|a| a.table.asks_error);
                    (now == Some(error))
                        .then_some(())
                        .ok_or_else(|| "the kernel does not have it".to_owned())
                };
                match self.verify(class, wanted, said, shows).await {
                    Ok(()) => {
                        info!(class = %class.name, error, "writes to a full pool now fail at once, or wait again")
                    }
                    Err(why) => {
                        error!(class = %class.name, %why, "what happens to writes when the pool is full could not be changed")
                    }
                }
            }
        }
    }

    async fn extend(
        &mut self,
        class: &DiskClass,
        wanted: &ThinPool,
        seen: &Seen,
        part: Part,
        to: u64,
    ) {
        let extent = seen.view.vg.extent_size;
        let to_bytes = Bytes(to.saturating_mul(extent.0));
        let (from, change) = match part {
            Part::Data => (
                seen.lv.size,
                Mutation::Extend {
                    name: wanted.name.clone(),
                    extents: to,
                },
            ),
            Part::Metadata => (
                seen.lv.metadata_size,
                Mutation::ExtendMetadata {
                    name: wanted.name.clone(),
                    bytes: to_bytes.0,
                },
            ),
        };
        let Some(active) = &seen.active else { return };
        let before = observe::pool(seen, active, &self.data, &self.metadata, Vec::new(), false);
        let usage = match part {
            Part::Data => before.data_bytes,
            Part::Metadata => before.metadata_bytes,
        };
        info!(class = %class.name, ?part, percent = usage.percent(), %from, to = %to_bytes, "extending the pool");
        let started = Instant::now();
        let said = self.run(class, wanted, seen, &change).await;
        let shows = |after: &Seen| {
            let has = match part {
                Part::Data => after.lv.size,
                Part::Metadata => after.lv.metadata_size,
            };
            if has < to_bytes {
                return Err(format!("LVM's metadata shows {has}"));
            }
            let Some(active) = &after.active else {
                return Err("it is not active any more".to_owned());
            };
            match pool::not_grown(&after.lv, active).first() {
                Some(part) => Err(part.to_string()),
                None => Ok(()),
            }
        };
        let ended = self.verify(class, wanted, said, shows).await;
        let took = started.elapsed();
        let attempt = match &ended {
            Ok(()) => {
                info!(class = %class.name, ?part, to = %to_bytes, ?took, "the pool is extended");
                Attempt::Grew
            }
            Err(why) => {
                error!(class = %class.name, ?part, to = %to_bytes, %why, "the pool could not be extended");
                Attempt::Failed
            }
        };
        let entry = Entry::now(part, from, to_bytes, took, ended.err());
        self.note(part, attempt, &before, entry);
    }

    /// Sees to it that the pool's tag and the kernel's low-water mark are the class's
    /// threshold. Says whether anything was done.
    pub(super) async fn arm(&mut self, class: &DiskClass, wanted: &ThinPool, seen: &Seen) -> bool {
        let Some(active) = &seen.active else {
            return false;
        };
        let tag = names::tag(names::TAG_THRESHOLD, &threshold(wanted).to_string());
        let is_tag = |t: &&String| {
            names::tag_value(std::slice::from_ref(*t), names::TAG_THRESHOLD).is_some()
        };
        let tags: Vec<String> = seen.lv.tags.iter().filter(is_tag).cloned().collect();
        let tagged = tags == [tag.clone()];
        let armed = pool::mark_is_ours(&seen.lv, active, GATE);
        let waits = self.arming_failed.is_some_and(|at| at.elapsed() < AGAIN);
        let may = seen.view.frozen.is_empty()
            && observe::conversion(&seen.view.vg).is_none()
            && active.status.is_writable();
        if tagged && armed || waits || !may || super::lock_dir_problem().is_some() {
            return false;
        }
        // The tag first: the mark is judged by it.
        let change = if tagged {
            Mutation::Refresh {
                name: wanted.name.clone(),
            }
        } else {
            Mutation::Retag {
                name: wanted.name.clone(),
                uuid: Some(seen.lv.uuid.clone()),
                remove: tags,
                add: vec![tag.clone()],
            }
        };
        let said = self.run(class, wanted, seen, &change).await;
        let shows = |after: &Seen| {
            let armed = after
                .active
                .as_ref()
                .is_some_and(|a| pool::mark_is_ours(&after.lv, a, GATE));
            if !after.lv.tags.contains(&tag) {
                Err("the tag is not there".to_owned())
            } else if tagged && !armed {
                Err("the kernel has another low-water mark".to_owned())
            } else {
                Ok(())
            }
        };
        match self.verify(class, wanted, said, shows).await {
            Ok(()) => {
                self.arming_failed = None;
                info!(class = %class.name, threshold = threshold(wanted), tagged, "the pool's threshold is set");
            }
            Err(why) => {
                self.arming_failed = Some(Instant::now());
                error!(class = %class.name, %why, "the pool's threshold could not be set; it is looked at by the clock");
            }
        }
        true
    }

    /// Runs one command on the pool; what lvm said is for the message only.
    async fn run(
        &self,
        class: &DiskClass,
        wanted: &ThinPool,
        seen: &Seen,
        change: &Mutation,
    ) -> String {
        let call = commands::mutation(class, &seen.view.devices, change, threshold(wanted));
        match apply::run(&self.node, class, &call).await {
            Ok(()) => "lvm reports success".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// Looks whether the change is there.
    async fn verify(
        &self,
        class: &DiskClass,
        wanted: &ThinPool,
        said: String,
        shows: impl Fn(&Seen) -> Result<(), String>,
    ) -> Result<(), String> {
        let after = match self.look(class, wanted).await {
            Ok(Some(after)) => after,
            Ok(None) => return Err(format!("the pool is gone; {said}")),
            Err(why) => return Err(format!("{why}; {said}")),
        };
        shows(&after).map_err(|why| format!("{why}; {said}"))
    }
}

/// The threshold of the pool, in percent, as LVM takes it.
pub(super) fn threshold(wanted: &ThinPool) -> u8 {
    let threshold = wanted.auto_extend.data.threshold;
    threshold.whole_percent().unwrap_or(pool::DEFAULT_THRESHOLD)
}
