//! The care of one class's thin pool: look, decide, act, look again.
//!
//! It stands on its own: no API, no journal of disks and no other class is on its path,
//! so a pool grows while everything else is broken. What [`extend`] decided is done by one
//! lvm command, and believed only when LVM's metadata and the kernel both show it.

mod act;
mod activate;
mod booted;
mod history;
mod observe;
mod stopped;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lvmd::cmd::Runner;
use lvmd::config::DEFAULT_GATE_PERCENT as GATE;
use lvmd::dm;
use lvmd::lvm::lock_dir::{self, Places};
use lvmd::lvm::model::Lv;
use lvmd::lvm::snapshot::{Freeze, VgView};
use lvmd::names;
use lvmd::pool::{self, Active};
use tracing::warn;

pub use self::booted::Booted;
pub use self::history::{Entry, History, Result as EntryResult};
use crate::activation::{Failed, Left};
use crate::config::{Config, DiskClass, Mode, ThinPool};
use crate::extend::rate::Meter;
use crate::extend::{Attempt, Decision, Memory, Part, Rules, decide};
use crate::journal::Home;
use crate::node::NodeReader;
use crate::status::NodeThinPool;
use crate::thin_check::ThinCheck;

/// How soon something that failed outside an extension is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Care<R> {
    node: Arc<NodeReader<R>>,
    owner: String,
    home: Home,
    history: History,
    memory: Memory,
    data: Meter,
    metadata: Meter,
    /// When arming the low-water mark or tagging failed.
    arming_failed: Option<Instant>,
    booted: Booted,
    check: ThinCheck,
    /// Since when it is seen to be inactive.
    inactive_since: Option<Instant>,
    /// The last activation, where it failed.
    failed: Option<Failed>,
    /// The extension of the look that is under way.
    extended: Option<Entry>,
}

/// A pool that is there.
#[derive(Debug, Clone)]
struct Seen {
    view: VgView,
    lv: Lv,
    /// `None`: it is not active.
    active: Option<Active>,
}

/// What one look came to.
#[derive(Debug)]
pub struct Looked {
    /// The pool, as status shows it; `None` while there is none of ours.
    pub shown: Option<NodeThinPool>,
    /// When it is looked at again without an event.
    pub again: Duration,
    /// The extension that this look came to, where it did.
    pub extended: Option<Entry>,
}

impl<R: Runner + Clone> Care<R> {
    /// The care of pools of groups with the tag `basalt.owner=<owner>`, which is that of `home`.
    pub fn new(
        node: Arc<NodeReader<R>>,
        owner: String,
        home: Home,
        history: History,
        booted: Booted,
        check: ThinCheck,
    ) -> Self {
        Self {
            node,
            owner,
            home,
            history,
            memory: Memory::new(Instant::now()),
            data: Meter::default(),
            metadata: Meter::default(),
            arming_failed: None,
            booted,
            check,
            inactive_since: None,
            failed: None,
            extended: None,
        }
    }

    /// Looks once and does what is to be done now. `config` has the class, and says which disks are to leave.
    pub async fn attend(&mut self, class: &DiskClass, config: &Config) -> Looked {
        let poll = |wanted: &ThinPool, soon| {
            let poll = &wanted.auto_extend.poll;
            if soon { poll.fast } else { poll.normal }
        };
        let Some(wanted) = &class.thin_pool else {
            return Looked {
                shown: None,
                again: AGAIN,
                extended: None,
            };
        };
        let seen = match self.look(class, wanted).await {
            Ok(Some(seen)) => seen,
            Ok(None) => {
                return Looked {
                    shown: None,
                    again: poll(wanted, false),
                    extended: None,
                };
            }
            Err(why) => {
                warn!(class = %class.name, %why, "the pool cannot be told");
                return Looked {
                    shown: Some(NodeThinPool::unknown(class, wanted, why)),
                    again: poll(wanted, true),
                    extended: None,
                };
            }
        };
        let (seen, left) = self.activated(class, wanted, seen).await;
        let (seen, decision, acted) = self.care(class, wanted, config, seen).await;
        let shown = self.show(class, wanted, &seen, decision.as_ref(), left.as_ref());
        let soon = acted || decision.as_ref().is_none_or(|decision| decision.soon);
        Looked {
            shown: Some(shown),
            again: poll(wanted, soon),
            extended: self.extended.take(),
        }
    }

    /// The pool as it is; `None` while the group or the pool is not there or not ours.
    async fn look(&self, class: &DiskClass, wanted: &ThinPool) -> Result<Option<Seen>, String> {
        let group = &class.volume_group.name;
        let snapshot = self.node.snapshot(std::slice::from_ref(group)).await?;
        let mut ours = snapshot.vgs.iter().filter(|view| {
            view.vg.name == *group
                && view.vg.owner() == Some(&self.owner)
                && names::tag_value(&view.vg.tags, names::TAG_CLASS) == Some(&class.name)
        });
        let (Some(view), twin) = (ours.next(), ours.next()) else {
            return Ok(None);
        };
        let mut view = view.clone();
        if twin.is_none() {
            // Somebody else's group of the same name: our commands are shown our devices alone.
            view.frozen.retain(|why| *why != Freeze::DuplicateName);
        }
        let Some(lv) = view.vg.pool(&wanted.name) else {
            return Ok(None);
        };
        if names::tag_value(&lv.tags, names::TAG_STATE) == Some(names::STATE_CREATING) {
            return Ok(None);
        }
        let lv = lv.clone();
        self.still(class, &view, &lv).await?;
        let uuids = pool::uuids(&view.vg, &lv);
        let look = move || pool::look(&dm::Control::open()?, &uuids);
        let active = self.ask_kernel(&view, &lv, look).await?;
        Ok(Some(Seen { view, lv, active }))
    }

    /// Asks device-mapper something of a pool, not for ever.
    async fn ask_kernel<T: Send + 'static>(
        &self,
        view: &VgView,
        lv: &Lv,
        ask: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let what = format!("thin pool {}/{}", view.vg.name, lv.name);
        let answer = self.node.patience().ask(&what, ask).await;
        answer
            .map_err(|e| e.to_string())?
            .map_err(|e| e.to_string())
    }

    /// Does what is to be done now. Gives the pool as it is after it, what was decided last,
    /// and whether anything was done.
    async fn care(
        &mut self,
        class: &DiskClass,
        wanted: &ThinPool,
        config: &Config,
        seen: Seen,
    ) -> (Seen, Option<Decision>, bool) {
        let Some(decision) = self.decide(class, wanted, config, &seen) else {
            return (seen, None, false);
        };
        if class.mode != Mode::Enforce {
            return (seen, Some(decision), false);
        }
        // Room before everything else.
        if let Some(action) = decision.action {
            self.act(class, wanted, &seen, action).await;
        } else if !self.arm(class, wanted, &seen).await {
            return (seen, Some(decision), false);
        }
        let after = match self.look(class, wanted).await {
            Ok(Some(after)) => after,
            _ => seen,
        };
        let decision = self.decide(class, wanted, config, &after);
        (after, decision, true)
    }

    /// What is to be done for an active pool.
    fn decide(
        &mut self,
        class: &DiskClass,
        wanted: &ThinPool,
        config: &Config,
        seen: &Seen,
    ) -> Option<Decision> {
        let active = seen.active.as_ref()?;
        let now = Instant::now();
        let usage = observe::usage(active);
        self.data.note(now, usage.0.used);
        self.metadata.note(now, usage.1.used);
        let mut obstacles = Vec::new();
        obstacles.extend(lock_dir_problem());
        let rules = rules(class, wanted, seen);
        // Asked only where it matters: it reads the journal.
        let leaving = rules.follow > 0 && self.home.may_lose_a_disk(&class.name, config);
        let pool = observe::pool(seen, active, &self.data, &self.metadata, obstacles, leaving);
        self.memory.look(now, &pool);
        Some(decide(&rules, &pool, &self.memory))
    }

    fn show(
        &self,
        class: &DiskClass,
        wanted: &ThinPool,
        seen: &Seen,
        decision: Option<&Decision>,
        left: Option<&Left>,
    ) -> NodeThinPool {
        let vg = &seen.view.vg;
        let mut shown = match (&seen.active, decision) {
            (Some(active), Some(decision)) => {
                let armed = pool::mark_is_ours(&seen.lv, active, GATE);
                NodeThinPool::active(class, wanted, vg, &seen.lv, active, decision, armed)
            }
            _ => NodeThinPool::inactive(class, wanted, vg, &seen.lv, left),
        };
        shown.rate = self.data.rate();
        shown.history = self.history.entries().cloned().collect();
        shown
    }

    /// Notes how an extension ended.
    fn note(&mut self, part: Part, attempt: Attempt, before: &crate::extend::Pool, entry: Entry) {
        self.memory.note(Instant::now(), part, attempt, before);
        self.extended = Some(entry.clone());
        self.history.add(entry);
    }
}

fn rules(class: &DiskClass, wanted: &ThinPool, seen: &Seen) -> Rules {
    let vg = &seen.view.vg;
    let extent = vg.extent_size;
    Rules::of(
        class,
        wanted,
        (vg.extent_count, extent),
        (
            seen.lv.size.extents(extent),
            seen.lv.metadata_size.extents(extent),
        ),
    )
}

/// Why nothing may be changed on this node: LVM's lock directory is not the host's.
fn lock_dir_problem() -> Option<String> {
    match Places::here() {
        Ok(places) => lock_dir::prove(&places)
            .err()
            .map(|error| format!("HostNotReady: {error}")),
        Err(error) => Some(format!(
            "HostNotReady: /proc/self/mountinfo cannot be read: {error}"
        )),
    }
}
