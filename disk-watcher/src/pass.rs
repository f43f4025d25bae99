//! One pass: look at everything, judge every disk, do what the classes say, show it.

mod enforce;
mod found;
mod labels;
mod leave;
mod member;
mod names;
mod refusals;
mod requested;
mod show;
mod unlabelled;
mod wipe;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use lvmd::cmd::Runner;
use lvmd::units::Bytes;
use tracing::{error, warn};

pub(crate) use self::found::{boot_id, id_of};
use self::leave::Moves;
use self::refusals::Refusals;
use self::unlabelled::Unlabelled;
use self::wipe::Wiping;
use crate::backup::Backups;
use crate::busy::OpenDevices;
use crate::config::{Config, DiskClass, RequireZeroed};
use crate::content::{self, Reading, Readings, WholeReads};
use crate::events::{DiskEvent, Quiet};
use crate::facts::{DiskFacts, Root};
use crate::journal::{Claim, Files, Held, Journal, Slots, Stage};
use crate::native::ObjectClaims;
use crate::node::{self, HOSTS_ROOT, Node, NodeReader};
use crate::partition::Wanted;
use crate::rules::{self, ClassUsage, Consent, Evidence, Judgement, Verdict};
use crate::select::Selection;
use crate::status::{
    self, FileState, NodeCheck, NodeFile, NodeRequest, NodeStatus, NodeVolumeGroup,
};

/// What a pass needs and keeps for the next one.
#[derive(Debug)]
pub struct Watcher<R> {
    node: NodeReader<R>,
    /// `None`: nothing is ever changed, as with `disk-watcher status`.
    journal: Option<Journal>,
    readings: Readings,
    whole: WholeReads,
    /// The name of this node, as approvals write it.
    node_name: String,
    /// When each disk was last heard of; `None`: nobody listens, so nothing is known to be unsettled.
    quiet: Option<Quiet>,
    /// Something happened to a disk since the last pass.
    heard: bool,
    refusals: Refusals,
    unlabelled: Unlabelled,
    moves: Moves,
    wiping: Option<Wiping>,
    /// What was said of requests in this pass.
    requests: Vec<NodeRequest>,
    /// How the files that stand in for disks were found in this pass.
    files: Vec<NodeFile>,
    preflight: Vec<NodeCheck>,
    /// Why there is no journal, where there should be one.
    no_journal: Option<String>,
}

/// A disk with all that is known of it.
struct Judged {
    facts: DiskFacts,
    judgement: Judgement,
    reading: Option<Reading>,
}

impl Judged {
    /// The LVM label on it.
    fn pv(&self) -> Option<&rules::PvSeen> {
        self.reading.as_ref()?.report.pv.as_ref()
    }
}

impl<R: Runner + Clone> Watcher<R> {
    /// A watcher that calls lvm through `runner` and acts only with a journal.
    pub fn new(
        runner: R,
        journal: Option<Journal>,
        quiet: Option<Quiet>,
        node_name: String,
    ) -> Self {
        Self {
            node: NodeReader::new(runner),
            journal,
            readings: Readings::default(),
            whole: WholeReads::default(),
            quiet,
            heard: false,
            refusals: Refusals::default(),
            unlabelled: Unlabelled::default(),
            moves: Moves::default(),
            wiping: None,
            requests: Vec::new(),
            files: Vec::new(),
            preflight: Vec::new(),
            no_journal: None,
            node_name,
        }
    }

    /// Whether it may act.
    pub fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Gives it the journal, or says why it has none and does not act.
    pub fn set_journal(&mut self, journal: Result<Journal, String>) {
        match journal {
            Ok(journal) => (self.journal, self.no_journal) = (Some(journal), None),
            Err(why) => {
                if self.no_journal.as_ref() != Some(&why) {
                    error!(%why, "no disk is taken, removed or wiped; pools are cared for");
                }
                (self.journal, self.no_journal) = (None, Some(why));
            }
        }
    }

    /// Notes an event, for the rule NotSettled and so that LVM's labels are read anew. A disk that
    /// changed is read anew.
    pub fn heard(&mut self, heard: &crate::events::Heard) {
        self.heard = true;
        match &heard.event {
            DiskEvent::Changed(name) | DiskEvent::Removed(name) => {
                self.readings.forget(name);
                self.whole.forget(Some(name));
            }
            DiskEvent::Resync => self.whole.forget(None),
            DiskEvent::Recheck(_) => {}
        }
        if let Some(quiet) = &mut self.quiet {
            quiet.note(&heard.event, heard.quiet_since);
        }
    }

    /// Which groups the journal holds, and for which classes.
    pub fn held(&self) -> Option<Held> {
        self.journal.as_ref().map(Journal::held)
    }

    /// Returns when a disk was read whole, or could not be.
    pub async fn read_whole(&self) {
        self.whole.ended().await;
    }

    /// Ends what goes on between passes: disks are not read on, a piece that is being moved comes to its end, a
    /// wipe is stopped after the step that is under way.
    pub async fn finish(&mut self) {
        self.whole.forget(None);
        if let Some(wiping) = self.wiping.take() {
            wiping.stop().await;
        }
        self.moves.finish().await;
    }

    /// In which time the next disk will have been quiet for as long as a class asks; `None`
    /// when all have been.
    pub fn settles_in(&self, config: &Config) -> Option<Duration> {
        let (quiet, now) = (self.quiet.as_ref()?, Instant::now());
        let all = config.classes.iter().map(|class| class.limits.settle);
        all.filter_map(|settle| quiet.settles_in(settle, now)).min()
    }

    /// One pass over all disks.
    ///
    /// # Errors
    /// When the disks cannot even be listed.
    pub async fn pass(&mut self, config: &Config) -> std::io::Result<NodeStatus> {
        self.pass_while(config, &mut || true).await
    }

    /// One pass that begins no step of a class once the configuration is not what it was:
    /// `is_still` is asked before each.
    ///
    /// # Errors
    /// When the disks cannot even be listed.
    pub async fn pass_while(
        &mut self,
        config: &Config,
        is_still: &mut (dyn FnMut() -> bool + Send),
    ) -> std::io::Result<NodeStatus> {
        if std::mem::take(&mut self.heard) {
            self.node.forget().await;
        }
        // One that only looks leaves that to the one that acts.
        self.whole.begin_pass(self.journal.is_some());
        self.keep_files(config);
        self.forget_left(config);
        let (mut judged, mut groups) = self.judge_all(&self.with_bound_names(config)).await?;
        self.bind_names(config, &judged);
        let config = &self.with_bound_names(config);
        let mut remarks: BTreeMap<String, String> = BTreeMap::new();
        self.note_slots(&judged);
        self.wipe_disks(config, &judged, &groups).await;
        for class in &config.classes {
            let why = class.recalled.map(|why| why.to_string());
            remarks.extend(why.map(|why| (class.name.clone(), why)));
        }
        if self.journal.is_some() && config.why_held().is_none() {
            let mut acted = self.forget_without_class(config, &judged).await;
            for class in config
                .classes
                .iter()
                .filter(|class| class.may_change_disks())
            {
                let (did, remark) = self.enforce(class, config, &judged, is_still).await;
                acted |= did;
                remarks.extend(remark.map(|text| (class.name.clone(), text)));
            }
            if acted {
                (judged, groups) = self.judge_all(config).await?;
            }
        }
        // Not where another acts: that one does it.
        if self.journal.is_some() && config.held.is_some() && config.other_acts.is_none() {
            self.end_what_was_left(config).await;
        }
        self.whole.end_pass();
        Ok(NodeStatus {
            looks: 0,
            preflight: self.checks(config),
            disks: self.show(config, &judged, &groups, &remarks),
            files: self.files.clone(),
            requests: self.requests(config),
            groups,
            pools: Vec::new(),
        })
    }

    /// What has to hold on the node, and with ourselves.
    fn checks(&self, config: &Config) -> Vec<NodeCheck> {
        let mut checks = self.preflight.clone();
        let held = config.held.clone();
        checks.push(NodeCheck::new(NodeCheck::CONFIGURATION, held));
        if let Some(other) = &config.other_acts {
            checks.push(NodeCheck::new(NodeCheck::ACTS, Some(other.clone())));
        }
        if self.journal.is_some() || self.no_journal.is_some() {
            let why = self.no_journal.clone();
            checks.push(NodeCheck::new(NodeCheck::JOURNAL, why));
        }
        checks
    }

    /// Makes and attaches files; what is wrong with one is said once.
    fn keep_files(&mut self, config: &Config) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let files = match config.why_held() {
            None => crate::files::keep(config, journal),
            Some(_) => crate::files::keep_made(journal),
        };
        for file in files.iter().filter(|file| !self.files.contains(file)) {
            if file.state == FileState::Refused {
                warn!(class = %file.class, why = %file.message, "no disk of this file");
            }
        }
        self.files = files;
    }

    /// Keeps where the disks of ours are.
    fn note_slots(&mut self, judged: &[Judged]) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let mut seen = Slots::new();
        for claim in journal.claims() {
            let mut disks = judged.iter().filter(|j| found::is_disk_of(claim, j));
            if let (Some(disk), None) = (disks.next(), disks.next()) {
                let links = disk.facts.links().iter();
                let links = links.filter(|link| link.starts_with("/dev/disk/by-path/"));
                seen.insert(claim.pv_uuid.clone(), links.cloned().collect());
            }
        }
        if let Err(error) = journal.see_slots(seen) {
            warn!(error = %node::chain(&error), "where disks are cannot be kept");
        }
    }

    async fn judge_all(
        &mut self,
        config: &Config,
    ) -> std::io::Result<(Vec<Judged>, Vec<NodeVolumeGroup>)> {
        let wanted: Vec<String> = self
            .journal
            .iter()
            .flat_map(Journal::claims)
            .filter(|c| c.stage >= Stage::Grouped)
            .map(|c| c.volume_group.clone())
            .collect();
        let makes_pools = |class: &DiskClass| class.thin_pool.is_some() && !class.is_idle();
        let needs_thin = config.classes.iter().any(makes_pools);
        let none = Files::new();
        let files = self.journal.as_ref().map_or(&none, Journal::files);
        let claims = self.journal.iter().flat_map(Journal::claims);
        let parts = Wanted::new(&config.classes, claims);
        let mut node = self.node.read(&wanted, needs_thin, files, &parts).await?;
        labels::put(&mut node.disks, &config.disk_labels, &self.node_name);
        self.preflight.clone_from(&node.preflight);
        let open = OpenDevices::read(&Root::host());
        let mut looked = Vec::new();
        for facts in &node.disks {
            let class = match crate::select::decide(&crate::select::explain(&config.classes, facts))
            {
                Selection::Class(name) => config.class(&name),
                _ => None,
            };
            let zeroes = class.map_or(RequireZeroed::None, |c| {
                c.safety.zeroes_required(facts.size.unwrap_or_default())
            });
            let id = id_of(facts).map_or_else(|| facts.name.clone(), |id| id.to_string());
            let wanted = class.is_some();
            let whole = &self.whole;
            let mut seen = (self.readings).look(facts, &id, zeroes, wanted, &open, whole);
            // A group inside of somebody's volume or file is a guest's, whatever its tags say.
            if rules::is_no_disk(facts) {
                seen.without_label();
            }
            looked.push(seen);
        }
        let owners = config.owners.clone().on(Path::new(HOSTS_ROOT));
        // Twice: how many disks a class has at hand is known only after the first time.
        let everything = u32::MAX;
        let first = self.judge(config, &node, &owners, &looked, &|_| everything);
        let mut candidates: HashMap<String, u32> = HashMap::new();
        for judgement in &first {
            if let Verdict::Cleared { class } = &judgement.verdict {
                *candidates.entry(class.clone()).or_default() += 1;
            }
        }
        let judgements = self.judge(config, &node, &owners, &looked, &|class| {
            candidates.get(class).copied().unwrap_or(0)
        });
        let owner = self.journal.as_ref().map(Journal::owner);
        if let (Some(journal), Ok(snapshot)) = (&self.journal, &node.snapshot) {
            Backups::of(journal.dir()).keep_all(journal.owner(), snapshot.vgs.iter());
        }
        let groups = node
            .snapshot
            .as_ref()
            .map_or_else(|_| vec![], |s| status::groups(s, config, owner));
        let all = node.disks.into_iter().zip(judgements).zip(looked);
        let judged = all
            .map(|((facts, judgement), looked)| Judged {
                facts,
                judgement,
                reading: looked.reading,
            })
            .collect();
        Ok((judged, groups))
    }

    fn judge(
        &self,
        config: &Config,
        node: &Node,
        owners: &ObjectClaims,
        looked_at: &[content::Looked],
        candidates: &dyn Fn(&str) -> u32,
    ) -> Vec<Judgement> {
        let ours = match &self.journal {
            Some(journal) => node::ours(Some(journal)),
            // Only looking: our id is of no use and must not hide what the rules say.
            None => rules::Ours {
                owner: Some("unknown".into()),
                ..Default::default()
            },
        };
        let now = Instant::now();
        let checks = node.preflight.iter();
        let problems: Vec<String> = checks.filter_map(|check| check.problem.clone()).collect();
        let owner_of = |disk| node.native.owner_of(disk).or_else(|| owners.owner_of(disk));
        node.disks
            .iter()
            .zip(looked_at)
            .map(|(facts, looked)| {
                let class =
                    match crate::select::decide(&crate::select::explain(&config.classes, facts)) {
                        Selection::Class(name) => Some(name),
                        _ => None,
                    };
                let claimed = self.claimed_otherwise(facts, class.as_deref());
                let evidence = Evidence {
                    facts,
                    host: &node.host,
                    preflight: &problems,
                    ours: &ours,
                    lvm: node.lvm.as_ref().map_err(String::as_str),
                    peers: &node.peers,
                    content: looked.content.clone(),
                    around: whole_of(facts, node, looked_at).map(|whole| &whole.content),
                    claim: looked.claim.clone(),
                    usage: class
                        .map(|name| self.usage(node, config.class(&name), candidates(&name))),
                    quiet_for: Some(
                        self.quiet
                            .as_ref()
                            .map_or(Duration::MAX, |q| q.quiet_for(&facts.whole().name, now)),
                    ),
                    native_owner: owner_of(facts),
                    claimed,
                    removal: self.removal_of(config, facts, looked.reading.as_ref()),
                    consent: Consent {
                        node: &self.node_name,
                        fingerprint: looked.reading.as_ref().map(|r| r.fingerprint.as_str()),
                        bound: self.bound_fingerprint(facts),
                    },
                };
                rules::judge(&config.classes, &evidence)
            })
            .collect()
    }

    /// A claim of the journal that this disk would be taken over, whatever stands on it now: another
    /// class's on it, or one on the disk that it is a partition of. What was lost of a PV may be
    /// brought back as long as nobody writes over the rest.
    fn claimed_otherwise(&self, facts: &DiskFacts, class: Option<&str>) -> Option<String> {
        let id = id_of(facts)?;
        let related = |claim: &&Claim| match claim.disk == id {
            true => class.is_some_and(|class| class != claim.class),
            false => id.is_part_of(&claim.disk),
        };
        let claim = self
            .journal
            .iter()
            .flat_map(Journal::claims)
            .find(related)?;
        Some(format!(
            "{} is claimed for class {} (PV {}); once it is unplugged, or has its label no more and no group counts on it, a DiskRemovalRequest with lost: true takes that back",
            claim.disk, claim.class, claim.pv_uuid
        ))
    }

    fn usage(&self, node: &Node, class: Option<&DiskClass>, candidates: u32) -> ClassUsage {
        let Some(class) = class else {
            return ClassUsage::default();
        };
        let claims: Vec<&Claim> = self
            .journal
            .iter()
            .flat_map(Journal::claims)
            .filter(|c| c.class == class.name)
            .collect();
        let group = node
            .snapshot
            .as_ref()
            .ok()
            .and_then(|s| s.vg(&class.volume_group.name));
        ClassUsage {
            disks: u32::try_from(claims.len()).unwrap_or(u32::MAX),
            size: Bytes(claims.iter().map(|c| c.size.0).sum()),
            candidates,
            group_exists: group.is_some(),
            closed: group.is_some_and(|group| {
                let is_ours = |uuid: &str| claims.iter().any(|c| c.pv_uuid == uuid);
                !group.vg.pvs.iter().all(|pv| is_ours(&pv.uuid))
            }),
            established: group.is_some() || claims.iter().any(|c| c.stage >= Stage::Grouped),
        }
    }
}

/// What stands on the disk that this is a partition of.
fn whole_of<'a>(
    facts: &DiskFacts,
    node: &Node,
    looked: &'a [content::Looked],
) -> Option<&'a content::Looked> {
    let whole = &facts.part.as_ref()?.disk.name;
    let mut all = node.disks.iter().zip(looked);
    let (_, looked) = all.find(|(disk, _)| disk.name == *whole)?;
    Some(looked)
}
