//! What is done for disks that a person wants out of their groups, as [`removal`] says.

mod left;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lvmd::cmd::{Cmd, CmdError, Runner};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::enforce::Step;
use super::found::{found, is_disk_of, is_lost};
use super::{Judged, Watcher};
use crate::apply::leave;
use crate::apply::mirrors::Group;
use crate::apply::moving::Move;
use crate::apply::readable::{Extents, readable};
use crate::commands::{self, Begun};
use crate::config::{Config, DiskClass, DiskRemovalRequest};
use crate::journal::{Claim, Journal, Leaving, Stage};
use crate::node;
use crate::removal::{self, Around, Asked, Next, World};
use crate::resume::Found;
use crate::status::{NodeRequest, RequestState};

/// How much the first piece holds, in bytes.
const FIRST: u64 = 64 << 20;
/// How much a piece holds at most, in bytes.
const LARGEST: u64 = 4 << 30;
/// A piece that took less is followed by a larger one.
const SHORT: Duration = Duration::from_millis(2500);
/// A piece that took more is followed by a smaller one.
const LONG: Duration = Duration::from_secs(10);
/// How long one piece is watched before it is left to the kernel and looked at anew.
const LIMIT: Duration = Duration::from_secs(600);

/// A pvmove under way.
#[derive(Debug)]
struct Piece {
    task: JoinHandle<(Result<(), String>, Duration)>,
    /// How many extents were used on the disk when it began; the same when it ended is a failure.
    used: u64,
}

/// The pvmoves of this process, by PV, and how large the next ones are, in extents.
#[derive(Debug, Default)]
pub(super) struct Moves {
    pieces: HashMap<String, Piece>,
    sizes: HashMap<String, u64>,
}

impl Moves {
    /// Waits until all have ended.
    pub(super) async fn finish(&mut self) {
        for (_, piece) in self.pieces.drain() {
            let _ = piece.task.await;
        }
    }

    /// Whether the piece of this PV has ended; `None` when there is none.
    fn has_ended(&self, pv_uuid: &str) -> Option<bool> {
        Some(self.pieces.get(pv_uuid)?.task.is_finished())
    }

    fn size(&self, pv_uuid: &str, extent: u64) -> u64 {
        let first = (FIRST / extent.max(1)).max(1);
        self.sizes.get(pv_uuid).copied().unwrap_or(first)
    }

    fn took(&mut self, pv_uuid: &str, extent: u64, took: Duration) {
        let size = resized(self.size(pv_uuid, extent), extent, took);
        self.sizes.insert(pv_uuid.to_owned(), size);
    }
}

/// How many extents the next piece has after one of `size` that took so long: a few seconds'
/// worth, so that others have their turn.
fn resized(size: u64, extent: u64, took: Duration) -> u64 {
    let largest = (LARGEST / extent.max(1)).max(1);
    match took {
        took if took < SHORT => (size * 2).min(largest),
        took if took > LONG => (size / 2).max(1),
        _ => size,
    }
}

impl<R: Runner + Clone> Watcher<R> {
    /// The next step for a disk of this class that is to leave; `None` when there is none, or
    /// none that can.
    pub(super) async fn leave(
        &mut self,
        class: &DiskClass,
        config: &Config,
        judged: &[Judged],
        claims: &[Claim],
    ) -> Result<Option<Step>, String> {
        let node_name = self.node_name.clone();
        let asked = |claim: &Claim| -> Option<&DiskRemovalRequest> {
            let mut all = config.removals.iter();
            all.find(|r| r.names(&node_name, &claim.disk, &claim.pv_uuid))
        };
        for claim in claims {
            let request = asked(claim);
            if request.is_none() && claim.leaving.is_none() {
                continue;
            }
            let stays = |uuid: &str| {
                let goes = |c: &&Claim| c.leaving.is_some() || asked(c).is_some();
                !claims.iter().any(|c| c.pv_uuid == uuid && goes(&c))
            };
            let wish = (request, Asked::of(request, config.unheard));
            let step = self.leave_one(class, wish, judged, claim, stays).await?;
            if let Some(step) = step {
                return Ok(Some(step));
            }
        }
        Ok(None)
    }

    async fn leave_one(
        &mut self,
        class: &DiskClass,
        (request, asked): (Option<&DiskRemovalRequest>, Asked),
        judged: &[Judged],
        claim: &Claim,
        stays: impl Fn(&str) -> bool,
    ) -> Result<Option<Step>, String> {
        let uuid = &claim.pv_uuid;
        // Before the look at the group: what it did is seen in that.
        let ended = self.moves.has_ended(uuid);
        let journal = self.journal.as_ref().ok_or("the journal vanished")?;
        let seen = leave::around(&self.node, journal, claim, stays).await?;
        let used = seen
            .as_ref()
            .and_then(|(group, ..)| group.used)
            .unwrap_or(0);
        let extent = class.volume_group.extent_size.0;
        match ended {
            Some(false) => {
                let why = moved(claim, used);
                self.tell(request, claim, RequestState::Moving, why.clone());
                return Ok(Some(Step::Held(why)));
            }
            Some(true) => self.end_piece(uuid, extent, used).await,
            None => {}
        }
        if let Some((group, devices, _)) = &seen
            && let Some(rest) = removal::rest(claim.leaving, group)
            && self.remove_rest(class, claim, rest, devices).await?
        {
            return Ok(Some(Step::Done));
        }
        let journal = self.journal.as_ref().ok_or("the journal vanished")?;
        let world = World {
            found: match found(claim, judged, journal, None, &self.whole) {
                Found::Gone if is_lost(claim, judged) => Found::NoLabel,
                found => found,
            },
            group: seen.as_ref().map(|(group, ..)| group.clone()),
        };
        let (devices, to) = seen
            .map(|(_, devices, to)| (devices, to))
            .unwrap_or_default();
        let facts = judged
            .iter()
            .find(|j| is_disk_of(claim, j))
            .map(|j| &j.facts);
        let disk = facts.map(|facts| PathBuf::from(facts.node()));
        let gone = || "its disk vanished".to_owned();
        let next = match (request.filter(|_| asked == Asked::Yes), claim.leaving) {
            (Some(request), _) if request.lost => {
                let found = found(claim, judged, journal, None, &self.whole);
                give_up(claim, journal, judged, found, world.group)
            }
            (Some(_), None) if claim.stage < Stage::Ready => {
                removal::not_yet_in(claim.stage, &world)
            }
            (_, leaving) => removal::next(asked, leaving, &world),
        };
        if let Some(why) = self.refusals.waits(uuid, Instant::now())
            && matches!(next, Next::Move | Next::Resume | Next::Reduce)
        {
            self.tell(request, claim, RequestState::Waiting, why.clone());
            return Ok(Some(Step::Held(why)));
        }
        let journal = self.journal.as_mut().ok_or("the journal vanished")?;
        match next {
            Next::Nothing => return Ok(None),
            Next::Refuse(why) => {
                self.tell(request, claim, RequestState::Refused, why);
                return Ok(None);
            }
            Next::Wait(why) => {
                self.tell(request, claim, RequestState::Waiting, why.clone());
                return Ok(Some(Step::Held(why)));
            }
            Next::NotNow(why) => {
                self.tell(request, claim, RequestState::Waiting, why);
                return Ok(None);
            }
            Next::Return => {
                info!(disk = %claim.disk, "the request is gone; the disk stays in its group");
                leave::record(journal, claim, None).map_err(|e| node::chain(&e))?;
            }
            Next::Abort => {
                let said = self.move_of(class, claim, &devices)?.back().await;
                let journal = self.journal.as_ref().ok_or("the journal vanished")?;
                let after = leave::around(&self.node, journal, claim, |_| true).await?;
                if after.is_none_or(|(group, ..)| group.moving) {
                    let said = said.err().unwrap_or_default();
                    return Err(format!("the pvmove is not taken back: {said}"));
                }
            }
            Next::Resume => {
                self.begin_piece(class, claim, used, &devices, None)?;
                return Ok(Some(Step::Held(
                    "a pvmove that was left behind goes on".into(),
                )));
            }
            Next::Move => {
                if claim.leaving.is_none() {
                    let total = Some(Leaving::Draining(used));
                    leave::record(journal, claim, total).map_err(|e| node::chain(&e))?;
                    return Ok(Some(Step::Done));
                }
                if let Err(why) = leave::clear_strays(&self.node, &claim.volume_group).await {
                    warn!(group = %claim.volume_group, %why, "what a pvmove left is not removed");
                }
                let most = self.moves.size(uuid, extent);
                let disk = disk.ok_or_else(gone)?;
                let piece = leave::piece(&self.node, class, &devices, &disk, &to, most)
                    .await
                    .map_err(|e| node::chain(&e))?;
                let why = moved(claim, used);
                self.tell(request, claim, RequestState::Moving, why.clone());
                if piece.is_some() {
                    self.begin_piece(class, claim, used, &devices, piece)?;
                }
                return Ok(Some(Step::Held(why)));
            }
            Next::Reduce => {
                let disk = disk.ok_or_else(gone)?;
                if claim.leaving != Some(Leaving::Reducing) {
                    leave::record(journal, claim, Some(Leaving::Reducing))
                        .map_err(|e| node::chain(&e))?;
                }
                leave::reduce(&self.node, journal, class, claim, &devices, &disk)
                    .await
                    .map_err(|e| node::chain(&e))?;
            }
            Next::Tidy => {
                let disk = disk.ok_or_else(gone)?;
                let done = leave::tidy(&self.node, class, &devices, &disk).await;
                done.map_err(|e| node::chain(&e))?;
            }
            Next::RemovePv | Next::EraseLabel => {
                let facts = facts.ok_or_else(gone)?;
                let erase = next == Next::EraseLabel;
                leave::remove_pv(&self.node, journal, class, claim, facts, erase)
                    .await
                    .map_err(|e| node::chain(&e))?;
            }
            Next::Done => self.withdraw(claim)?,
        }
        if let Some(facts) = facts {
            self.readings.forget(&facts.name);
        }
        Ok(Some(Step::Done))
    }

    /// Starts a pvmove, of extents that can be read, or goes on with one; passes go on meanwhile, and leave its group alone.
    fn begin_piece(
        &mut self,
        class: &DiskClass,
        claim: &Claim,
        used: u64,
        devices: &[PathBuf],
        piece: Option<(Extents, Cmd)>,
    ) -> Result<(), String> {
        let one = self.move_of(class, claim, devices)?;
        let (extents, begin) = match piece {
            Some((extents, begin)) => (Some(extents), begin),
            None => (None, self.begun(class, devices, Begun::Resume)?),
        };
        let work = async move {
            if let Some(extents) = extents {
                let read = tokio::task::spawn_blocking(move || readable(&extents)).await;
                read.map_err(|e| e.to_string()).flatten()?;
            }
            one.go(&begin, LIMIT).await
        };
        let task = tokio::spawn(async move {
            let begun = Instant::now();
            (work.await, begun.elapsed())
        });
        let piece = Piece { task, used };
        self.moves.pieces.insert(claim.pv_uuid.clone(), piece);
        Ok(())
    }

    fn move_of(
        &self,
        class: &DiskClass,
        claim: &Claim,
        devices: &[PathBuf],
    ) -> Result<Move<R>, String> {
        Ok(Move {
            runner: self.node.runner().clone(),
            patience: self.node.patience().clone(),
            group: Group {
                name: claim.volume_group.clone(),
                uuid: claim.vg_uuid.clone().ok_or("its group has no UUID yet")?,
            },
            look: self.begun(class, devices, Begun::Look)?,
            abort: self.begun(class, devices, Begun::Abort)?,
        })
    }

    fn begun(&self, class: &DiskClass, devices: &[PathBuf], what: Begun) -> Result<Cmd, String> {
        let call = commands::pvmove_begun(devices, what);
        let vg = Some(class.volume_group.name.as_str());
        let cmd = self.node.tool().call(vg, &call.devices, &call.args);
        cmd.map_err(|e: CmdError| node::chain(&e))
    }

    /// Looks at what a pvmove that ended did.
    async fn end_piece(&mut self, uuid: &str, extent: u64, used: u64) {
        let Some(piece) = self.moves.pieces.remove(uuid) else {
            return;
        };
        let (result, took) = match piece.task.await {
            Ok(ended) => ended,
            Err(error) => {
                warn!(%error, "the task of a pvmove broke");
                return;
            }
        };
        if used < piece.used {
            self.moves.took(uuid, extent, took);
            return;
        }
        let now = Instant::now();
        let why = match result {
            Ok(()) => "lvm reports success, and nothing was moved".to_owned(),
            Err(why) => why,
        };
        warn!(%why, "a piece was not moved");
        self.refusals.refused(uuid.to_owned(), now, now, &why);
    }

    fn tell(
        &mut self,
        request: Option<&DiskRemovalRequest>,
        claim: &Claim,
        state: RequestState,
        message: String,
    ) {
        if let Some(request) = request {
            self.requests.push(NodeRequest {
                kind: "DiskRemovalRequest",
                name: request.name.clone(),
                disk: Some(claim.disk.clone()),
                state,
                message,
            });
        }
    }

    /// The requests of this node as they stand after a pass.
    pub(super) fn requests(&mut self, config: &Config) -> Vec<NodeRequest> {
        let mut told = std::mem::take(&mut self.requests);
        for request in config.removals.iter().filter(|r| r.node == self.node_name) {
            if told
                .iter()
                .any(|t| t.kind == "DiskRemovalRequest" && t.name == request.name)
            {
                continue;
            }
            let journal = self.journal.iter();
            let mut claims = journal.flat_map(crate::journal::Journal::claims);
            let claim = claims.find(|c| request.names(&self.node_name, &c.disk, &c.pv_uuid));
            let (state, message) = match claim {
                None => (RequestState::Done, "no PV of ours is on it".to_owned()),
                Some(_) if !request.certain => (RequestState::Waiting, removal::UNHEARD.to_owned()),
                Some(claim) => (
                    RequestState::Waiting,
                    match config.why_held() {
                        Some(why) => format!("nothing is begun: {why}"),
                        None => format!(
                            "class {} is not in mode Enforce, or did not get to it yet",
                            claim.class
                        ),
                    },
                ),
            };
            told.push(NodeRequest {
                kind: "DiskRemovalRequest",
                name: request.name.clone(),
                disk: claim.map(|c| c.disk.clone()),
                state,
                message,
            });
        }
        told
    }
}

/// See [`removal::given_up`].
fn give_up(
    claim: &Claim,
    journal: &Journal,
    judged: &[Judged],
    found: Found,
    group: Option<Around>,
) -> Next {
    let group = group.filter(|group| is_the_one(claim, &group.uuid));
    let (bearer, unseen) = (bearer(claim, judged), unseen(claim, journal, judged));
    removal::given_up(
        &World { group, found },
        bearer.as_deref(),
        unseen.as_deref(),
    )
}

/// A disk that may tell of the claim's group: one of its other claims that is not there, or one that could not be read.
fn unseen(claim: &Claim, journal: &Journal, judged: &[Judged]) -> Option<String> {
    let group = claim.vg_uuid.as_ref()?;
    let away = journal.claims().find(|other| {
        other.pv_uuid != claim.pv_uuid
            && other.vg_uuid.as_ref() == Some(group)
            && !judged.iter().any(|disk| is_disk_of(other, disk))
    });
    let unread = || judged.iter().find(|disk| disk.reading.is_none());
    away.map(|other| other.disk.to_string())
        .or_else(|| unread().map(|disk| disk.facts.name.clone()))
}

/// Whether the claim is on a group of this UUID; one of its name may be another by now.
fn is_the_one(claim: &Claim, uuid: &str) -> bool {
    claim.vg_uuid.as_ref().is_none_or(|known| known == uuid)
}

/// The name of a disk that tells of the claim's group.
fn bearer(claim: &Claim, judged: &[Judged]) -> Option<String> {
    let group = claim.vg_uuid.as_deref()?;
    let tells = |disk: &&Judged| disk.pv().and_then(|pv| pv.vg_uuid.as_deref()) == Some(group);
    judged
        .iter()
        .find(tells)
        .map(|disk| disk.facts.name.clone())
}

/// How far it has come, for people.
fn moved(claim: &Claim, used: u64) -> String {
    match claim.leaving {
        Some(Leaving::Draining(total)) => format!(
            "{} of {total} extents moved away",
            total.saturating_sub(used)
        ),
        _ => format!("{used} extents are to be moved away"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_a_few_seconds_worth() {
        let extent = 4 << 20;
        let after = |size, seconds| resized(size, extent, Duration::from_secs(seconds));
        assert_eq!(after(16, 1), 32);
        assert_eq!(after(16, 5), 16);
        assert_eq!(after(16, 60), 8);
        assert_eq!(after(1, 60), 1);
        assert_eq!(after(1024, 1), 1024, "4 GiB at most");
        assert_eq!(Moves::default().size("a", extent), 16);
        assert_eq!(Moves::default().size("a", 1 << 30), 1);
    }
}
