//! The self-check: does lvm say the same?

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::{debug, error};

use super::{ReadError, Reader};
use crate::cmd::Runner;
use crate::dm::Control;
use crate::lvm::compare::{self, Difference};
use crate::lvm::live;
use crate::lvm::model::Vg;
use crate::lvm::snapshot::Snapshot;

/// How often both are asked before a difference is believed: a volume may be opened
/// between two questions.
const ROUNDS: u32 = 3;
/// How often both are asked at most; a round in which the metadata changed does not count.
const ATTEMPTS: u32 = 12;
/// How long between two rounds.
const PAUSE: Duration = Duration::from_millis(300);

/// What a self-check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many VGs were read directly and compared.
    pub vgs: usize,
    /// What differs in each round; the VGs are read by lvm from now on.
    pub differences: Vec<Difference>,
    /// LVs whose device does not fit their metadata; lvm is asked about them anyway.
    pub unsure: Vec<String>,
}

/// What one round found.
struct Round {
    vgs: usize,
    /// By the uuid of the VG.
    differences: Vec<(String, Difference)>,
    unsure: Vec<String>,
}

impl<R: Runner> Reader<R> {
    /// Compares every VG that is read directly with what lvm says of it. One of which the
    /// same difference is found in each of three rounds is left to lvm until the program is
    /// started again: what a writer fills, somebody opens or another tool changes differs in
    /// one round or another way in each.
    ///
    /// # Errors
    /// When state cannot be told, lvm fails, or the metadata did not stay as it was for long
    /// enough.
    pub async fn self_check(&self, wanted: &[String]) -> Result<Checked, ReadError> {
        let mut left: Option<Vec<(String, Difference)>> = None;
        let (mut rounds, mut attempts) = (0, 0);
        let mut checked = (0, Vec::new());
        while rounds < ROUNDS {
            if attempts == ATTEMPTS {
                return Err(ReadError::Restless);
            }
            if attempts > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            attempts += 1;
            let Some(found) = self.compare(wanted).await? else {
                debug!("the volume groups changed during the self-check");
                continue;
            };
            rounds += 1;
            let Round {
                vgs,
                mut differences,
                unsure,
            } = found;
            if let Some(before) = left.take() {
                differences.retain(|difference| before.contains(difference));
            }
            if differences.is_empty() {
                return Ok(Checked {
                    vgs,
                    differences: Vec::new(),
                    unsure,
                });
            }
            left = Some(differences);
            checked = (vgs, unsure);
        }
        let left = left.unwrap_or_default();
        for (vg, difference) in &left {
            error!(%vg, %difference, "read wrongly; from now on lvm is asked about this VG");
            let mut distrusted = self
                .distrusted
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if !distrusted.contains(vg) {
                distrusted.push(vg.clone());
                self.observer.distrusted(vg);
            }
        }
        if !left.is_empty() {
            self.forget().await;
        }
        let (vgs, unsure) = checked;
        Ok(Checked {
            vgs,
            differences: left.into_iter().map(|(_, difference)| difference).collect(),
            unsure,
        })
    }

    /// Asks both once; `None` when the metadata changed meanwhile.
    async fn compare(&self, wanted: &[String]) -> Result<Option<Round>, ReadError> {
        let (before, _) = self.look(wanted).await?;
        let read = |snapshot: &Snapshot| -> Vec<Vg> {
            let vgs = snapshot.vgs.iter().map(|view| &view.vg);
            vgs.filter(|vg| !vg.by_lvm).cloned().collect()
        };
        let direct = read(&before);
        let (mut found, mut unsure) = (Vec::new(), Vec::new());
        for view in before.vgs.iter().filter(|view| !view.vg.by_lvm) {
            let reported = self.report_on(&view.devices).await?;
            let vg = &view.vg;
            let Some(by_lvm) = reported.into_iter().find(|by_lvm| by_lvm.uuid == vg.uuid) else {
                // It was removed meanwhile, or lvm does not use the devices it is on.
                found.push((vg.uuid.clone(), compare::unknown_to_lvm(vg)));
                continue;
            };
            let mut differences = compare::vg(vg, &by_lvm);
            let (asked, of) = (vg.clone(), format!("the volumes of {}", vg.name));
            let lvs = self
                .patience
                .ask(&of, move || volumes(&asked, &by_lvm))
                .await;
            match lvs {
                Ok(Ok((lvs, odd))) => {
                    differences.extend(lvs);
                    unsure.extend(odd);
                }
                Ok(Err(error)) => return Err(ReadError::Devices(error.to_string())),
                Err(hangs) => return Err(ReadError::Devices(hangs.to_string())),
            }
            found.extend(differences.into_iter().map(|d| (vg.uuid.clone(), d)));
        }
        let (after, _) = self.look(wanted).await?;
        let moved = !Arc::ptr_eq(&before, &after) && read(&after) != direct;
        Ok((!moved).then_some(Round {
            vgs: direct.len(),
            differences: found,
            unsure,
        }))
    }
}

/// Where the LVs of a VG differ, and those whose device does not fit their metadata.
fn volumes(vg: &Vg, by_lvm: &Vg) -> std::io::Result<(Vec<Difference>, Vec<String>)> {
    let control = Control::open()?;
    let (mut differences, mut unsure) = (Vec::new(), Vec::new());
    for (lv, by_lvm) in vg.lvs.iter().zip(&by_lvm.lvs) {
        match live::show(vg, lv, &control) {
            Ok(shown) => differences.extend(compare::lv(lv, shown, by_lvm)),
            Err(live::LiveError::Unsure(odd)) => unsure.push(odd.to_string()),
            Err(live::LiveError::Mapper(error)) => return Err(error),
        }
    }
    Ok((differences, unsure))
}
