//! What is done for claims besides the steps of a class in force: pvmoves that an earlier run left behind come to their end
//! while nothing is begun, and claims of classes that are gone are forgotten on request.

use std::path::PathBuf;
use std::time::Instant;

use lvmd::cmd::Runner;
use tracing::{info, warn};

use super::{Watcher, found, give_up};
use crate::apply::{self, leave};
use crate::commands;
use crate::config::{Config, DiskClass, DiskRemovalRequest};
use crate::journal::{Claim, Journal};
use crate::node;
use crate::pass::Judged;
use crate::removal::{self, Asked, Next};
use crate::status::RequestState;

impl<R: Runner + Clone> Watcher<R> {
    /// Brings pvmoves to their end that an earlier run left behind, while nothing else is begun, as with a bad file.
    pub(in crate::pass) async fn end_what_was_left(&mut self, config: &Config) {
        let claims = self.journal.iter().flat_map(Journal::claims);
        let leaving = claims.filter(|claim| claim.leaving.is_some());
        let leaving: Vec<Claim> = leaving.cloned().collect();
        for claim in &leaving {
            if let Some(class) = config.class(&claim.class)
                && let Err(why) = self.end_one_left(class, claim).await
            {
                warn!(disk = %claim.disk, %why, "a pvmove that was left behind does not go on");
            }
        }
    }

    async fn end_one_left(&mut self, class: &DiskClass, claim: &Claim) -> Result<(), String> {
        let uuid = &claim.pv_uuid;
        let ended = self.moves.has_ended(uuid);
        if ended == Some(false) || self.refusals.waits(uuid, Instant::now()).is_some() {
            return Ok(());
        }
        let journal = self.journal.as_ref().ok_or("the journal vanished")?;
        let seen = leave::around(&self.node, journal, claim, |_| true).await?;
        let Some((group, devices, _)) = seen else {
            return Ok(());
        };
        let used = group.used.unwrap_or(0);
        if ended == Some(true) {
            let extent = class.volume_group.extent_size.0;
            self.end_piece(uuid, extent, used).await;
        } else if removal::is_left_behind(class.mode, claim.leaving, &group) {
            self.begin_piece(class, claim, used, &devices, None)?;
        }
        Ok(())
    }

    /// Removes the empty LV that a pvmove left which was cut off after its move. Says whether it is gone; else everything
    /// goes on beside it, and it is tried again.
    pub(super) async fn remove_rest(
        &mut self,
        class: &DiskClass,
        claim: &Claim,
        rest: &str,
        devices: &[PathBuf],
    ) -> Result<bool, String> {
        let key = format!("{}/{rest}", claim.volume_group);
        let begun = Instant::now();
        if self.refusals.waits(&key, begun).is_some() {
            return Ok(false);
        }
        // LVM removes nothing that another device maps.
        if let Err(why) = leave::clear_strays(&self.node, &claim.volume_group).await {
            warn!(lv = %key, %why, "what maps it is not removed");
        }
        let call = commands::remove_rest(class, devices, rest);
        let said = apply::run(&self.node, class, &call).await;
        let journal = self.journal.as_ref().ok_or("the journal vanished")?;
        let after = leave::around(&self.node, journal, claim, |_| true).await?;
        if after.is_some_and(|(group, ..)| group.rest.as_deref() == Some(rest)) {
            let why = said.err().map(|e| e.to_string()).unwrap_or_default();
            warn!(lv = %key, %why, "what a pvmove left is not removed");
            self.refusals.refused(key, begun, Instant::now(), &why);
            return Ok(false);
        }
        info!(lv = %key, "what a pvmove left that was cut off is removed");
        Ok(true)
    }

    /// Forgets disks that a person says are gone for good, whose classes are not there any more: nothing else is done for
    /// those, and without that their claims would stand in the way of other classes for ever.
    pub(in crate::pass) async fn forget_without_class(
        &mut self,
        config: &Config,
        judged: &[Judged],
    ) -> bool {
        let claims = self.journal.iter().flat_map(Journal::claims);
        let claims = claims.filter(|claim| config.class(&claim.class).is_none());
        let claims: Vec<Claim> = claims.cloned().collect();
        let mut acted = false;
        for claim in &claims {
            let mut all = config.removals.iter();
            let named =
                |r: &&DiskRemovalRequest| r.names(&self.node_name, &claim.disk, &claim.pv_uuid);
            let request = all.find(named);
            // A class may be told of later, and the request may have been taken back.
            if request.is_none()
                || config.unheard
                || Asked::of(request, config.unheard) != Asked::Yes
            {
                continue;
            }
            let (state, why) = match self.forgettable(request, judged, claim).await {
                Ok(Next::Done) => match self.withdraw(claim) {
                    Ok(()) => {
                        acted = true;
                        continue;
                    }
                    Err(why) => (RequestState::Waiting, why),
                },
                Ok(Next::Refuse(why)) => (RequestState::Refused, why),
                Ok(Next::NotNow(why) | Next::Wait(why)) | Err(why) => (RequestState::Waiting, why),
                Ok(_) => continue,
            };
            self.tell(request, claim, state, why);
        }
        acted
    }

    async fn forgettable(
        &self,
        request: Option<&DiskRemovalRequest>,
        judged: &[Judged],
        claim: &Claim,
    ) -> Result<Next, String> {
        if !request.is_some_and(|request| request.lost) {
            return Ok(Next::Refuse(format!(
                "class {} is not there any more; write it again, in mode Enforce, to have the disk leave its group, or add \
                 `lost: true` where its label is gone",
                claim.class
            )));
        }
        let journal = self.journal.as_ref().ok_or("the journal vanished")?;
        let seen = leave::around(&self.node, journal, claim, |_| true).await?;
        let found = found(claim, judged, journal, None, &self.whole);
        Ok(give_up(
            claim,
            journal,
            judged,
            found,
            seen.map(|(group, ..)| group),
        ))
    }

    pub(super) fn withdraw(&mut self, claim: &Claim) -> Result<(), String> {
        let journal = self.journal.as_mut().ok_or("the journal vanished")?;
        journal
            .let_go(&claim.pv_uuid)
            .map_err(|e| node::chain(&e))?;
        info!(disk = %claim.disk, pv_uuid = %claim.pv_uuid, group = %claim.volume_group, "removed");
        Ok(())
    }
}
