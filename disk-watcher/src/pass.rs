//! One pass: look at everything, judge every disk, do what the classes say, show it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lvmd::cmd::Runner;
use lvmd::lvm::devices::read_label;
use lvmd::units::Bytes;
use tracing::{error, info, warn};

use crate::apply;
use crate::commands;
use crate::config::{Config, DiskClass, Mode, RequireZeroed};
use crate::content::{self, Reading, Readings};
use crate::events::Quiet;
use crate::facts::{DiskFacts, DiskId, Identified};
use crate::identity::Identity;
use crate::journal::{Claim, Journal, Stage};
use crate::node::{self, Node, NodeReader};
use crate::resume::{self, Found, Next};
use crate::rules::{self, ClassUsage, Evidence, Judgement, Verdict};
use crate::select::Selection;
use crate::status::{DiskState, NodeDisk};

/// How many steps one class may take in one pass; a guard against running in circles.
const STEPS: usize = 64;

/// What a pass needs and keeps for the next one.
#[derive(Debug)]
pub struct Watcher<R> {
    node: NodeReader<R>,
    /// `None`: nothing is ever changed, as with `disk-watcher status`.
    journal: Option<Journal>,
    readings: Readings,
    /// When each disk was last heard of; `None`: nobody listens, so nothing is known to be unsettled.
    quiet: Option<Quiet>,
}

/// A disk with all that is known of it.
struct Judged {
    facts: DiskFacts,
    judgement: Judgement,
    reading: Option<Reading>,
}

impl<R: Runner + Clone> Watcher<R> {
    /// A watcher that calls lvm through `runner` and acts only with a journal.
    pub fn new(runner: R, journal: Option<Journal>, quiet: Option<Quiet>) -> Self {
        Self {
            node: NodeReader::new(runner),
            journal,
            readings: Readings::default(),
            quiet,
        }
    }

    /// Notes an event, for the rule NotSettled.
    pub fn heard(&mut self, event: &crate::events::DiskEvent) {
        if let Some(quiet) = &mut self.quiet {
            quiet.note(event, Instant::now());
        }
    }

    /// One pass over all disks.
    ///
    /// # Errors
    /// When the disks cannot even be listed.
    pub async fn pass(&mut self, config: &Config) -> std::io::Result<Vec<NodeDisk>> {
        let mut judged = self.judge_all(config).await?;
        let mut remarks: BTreeMap<String, String> = BTreeMap::new();
        if self.journal.is_some() {
            let mut acted = false;
            for class in config
                .classes
                .iter()
                .filter(|class| class.mode == Mode::Enforce)
            {
                let (did, remark) = self.enforce(class, &judged).await;
                acted |= did;
                remarks.extend(remark.map(|text| (class.name.clone(), text)));
            }
            if acted {
                judged = self.judge_all(config).await?;
            }
        }
        Ok(self.show(config, &judged, &remarks))
    }

    async fn judge_all(&mut self, config: &Config) -> std::io::Result<Vec<Judged>> {
        let wanted: Vec<String> = self
            .journal
            .iter()
            .flat_map(Journal::claims)
            .filter(|c| c.stage >= Stage::Grouped)
            .map(|c| c.volume_group.clone())
            .collect();
        let needs_thin = config.classes.iter().any(|class| class.thin_pool.is_some());
        let node = self.node.read(&wanted, needs_thin).await?;
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
            looked.push(self.readings.look(facts, &id, zeroes));
        }
        // Twice: how many disks a class has at hand is known only after the first time.
        let everything = u32::MAX;
        let first = self.judge(config, &node, &looked, &|_| everything);
        let mut candidates: HashMap<String, u32> = HashMap::new();
        for judgement in &first {
            if let Verdict::Cleared { class } = &judgement.verdict {
                *candidates.entry(class.clone()).or_default() += 1;
            }
        }
        let judgements = self.judge(config, &node, &looked, &|class| {
            candidates.get(class).copied().unwrap_or(0)
        });
        let all = node.disks.into_iter().zip(judgements).zip(looked);
        Ok(all
            .map(|((facts, judgement), looked)| Judged {
                facts,
                judgement,
                reading: looked.reading,
            })
            .collect())
    }

    fn judge(
        &self,
        config: &Config,
        node: &Node,
        looked: &[content::Looked],
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
        node.disks
            .iter()
            .zip(looked)
            .map(|(facts, looked)| {
                let class =
                    match crate::select::decide(&crate::select::explain(&config.classes, facts)) {
                        Selection::Class(name) => Some(name),
                        _ => None,
                    };
                let evidence = Evidence {
                    facts,
                    host: &node.host,
                    preflight: &node.preflight,
                    ours: &ours,
                    lvm: node.lvm.as_ref().map_err(String::as_str),
                    peers: &node.peers,
                    content: looked.content.clone(),
                    claim: looked.claim.clone(),
                    usage: class
                        .map(|name| self.usage(node, config.class(&name), candidates(&name))),
                    quiet_for: Some(
                        self.quiet
                            .as_ref()
                            .map_or(Duration::MAX, |q| q.quiet_for(&facts.name, now)),
                    ),
                    native_owner: None,
                };
                rules::judge(&config.classes, &evidence)
            })
            .collect()
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
            // Adding disks to a group that is set up is not built yet, so every later disk waits.
            established: group.is_some() || claims.iter().any(|c| c.stage >= Stage::Grouped),
        }
    }

    /// Takes a class as far as it goes now. Says whether anything was done, and what holds it up.
    async fn enforce(&mut self, class: &DiskClass, judged: &[Judged]) -> (bool, Option<String>) {
        let mut acted = false;
        for _ in 0..STEPS {
            match self.step(class, judged).await {
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

    async fn step(&mut self, class: &DiskClass, judged: &[Judged]) -> Result<Step, String> {
        let Some(journal) = &mut self.journal else {
            return Ok(Step::Nothing);
        };
        let owner = journal.owner().to_owned();
        let claims: Vec<Claim> = journal
            .claims()
            .filter(|c| c.class == class.name)
            .cloned()
            .collect();
        let group = apply::group(&self.node, class, &owner).await?;
        let found: Vec<(&Claim, Found)> = claims
            .iter()
            .map(|claim| (claim, found(claim, judged)))
            .collect();
        let next = resume::next(class, &found, group.as_ref());
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
        // New disks join while there is no group yet; whatever began is finished first.
        if group.is_none()
            && matches!(next, Next::Nothing | Next::Wait(_) | Next::MakeGroup(_))
            && claim_new(journal, class, judged, &claims)?
        {
            return Ok(Step::Done);
        }
        let journal = self.journal.as_mut().ok_or("the journal vanished")?;
        match next {
            Next::Nothing => Ok(Step::Nothing),
            Next::Wait(why) => Ok(Step::Held(why)),
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
                let done = apply::label(&self.node, journal, class, &claim, facts).await;
                self.readings.forget(&facts.name);
                done.map(|()| Step::Done).map_err(|e| node::chain(&e))
            }
            Next::CleanWreck(uuid) => {
                let (claim, facts) = by_uuid(&uuid)?;
                self.readings.forget(&facts.name);
                apply::clean_wreck(journal, &claim, facts)
                    .map(|()| Step::Done)
                    .map_err(|e| node::chain(&e))
            }
            Next::MakeGroup(uuids) => {
                let members = uuids
                    .iter()
                    .map(|uuid| {
                        by_uuid(uuid).map(|(claim, facts)| (claim, PathBuf::from(facts.node())))
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                apply::make_group(&self.node, journal, class, &members)
                    .await
                    .map(|()| Step::Done)
                    .map_err(|e| node::chain(&e))
            }
            Next::MakePool => apply::make_pool(&self.node, class, &owner)
                .await
                .map(|()| Step::Done)
                .map_err(|e| node::chain(&e)),
            Next::FinishPool => apply::finish_pool(&self.node, class, &owner)
                .await
                .map(|()| Step::Done)
                .map_err(|e| node::chain(&e)),
        }
    }

    fn show(
        &self,
        config: &Config,
        judged: &[Judged],
        remarks: &BTreeMap<String, String>,
    ) -> Vec<NodeDisk> {
        let claims: Vec<&Claim> = self.journal.iter().flat_map(Journal::claims).collect();
        let mut disks: Vec<NodeDisk> = judged
            .iter()
            .map(|j| self.show_one(config, j, &claims, remarks))
            .collect();
        // A disk of ours that is not there is shown, not forgotten.
        for claim in claims {
            if !judged.iter().any(|j| is_disk_of(claim, j)) {
                disks.push(NodeDisk {
                    name: None,
                    id: Some(claim.disk.clone()),
                    links: vec![],
                    size: Some(claim.size),
                    model: None,
                    serial: None,
                    transport: None,
                    class: Some(claim.class.clone()),
                    state: DiskState::Missing,
                    reasons: vec![],
                    selection: vec![],
                    pv_uuid: Some(claim.pv_uuid.clone()),
                    volume_group: Some(claim.volume_group.clone()),
                    plan: vec![],
                });
            }
        }
        disks
    }

    fn show_one(
        &self,
        config: &Config,
        judged: &Judged,
        claims: &[&Claim],
        remarks: &BTreeMap<String, String>,
    ) -> NodeDisk {
        let mut disk = NodeDisk::judged(&judged.facts, &judged.judgement);
        if let Some(claim) = claims.iter().find(|claim| is_disk_of(claim, judged)) {
            disk.class = Some(claim.class.clone());
            disk.pv_uuid = Some(claim.pv_uuid.clone());
            disk.volume_group = Some(claim.volume_group.clone());
            disk.state = match (claim.stage, remarks.get(&claim.class)) {
                (_, Some(why)) if why.starts_with("frozen") => DiskState::Frozen,
                (Stage::Claimed, _) => DiskState::Claimed,
                (Stage::Labelled, _) => DiskState::Labelled,
                (Stage::Grouped, _) => DiskState::Grouped,
                (Stage::Ready, _) => DiskState::Ready,
            };
            disk.plan = remarks
                .get(&claim.class)
                .map(|why| format!("# {why}"))
                .into_iter()
                .collect();
        } else if let Verdict::Cleared { class } = &judged.judgement.verdict
            && let Some(class) = config.class(class)
            && class.mode == Mode::Plan
            && let (Some(id), Some(size)) = (id_of(&judged.facts), judged.facts.size)
        {
            disk.state = DiskState::Planned;
            let (owner, uuid) = match &self.journal {
                Some(journal) => (
                    journal.owner().to_owned(),
                    journal.pv_uuid(&id, &class.name),
                ),
                None => ("<owner>".to_owned(), "<uuid>".to_owned()),
            };
            disk.plan = commands::plan(
                class,
                &owner,
                &[(PathBuf::from(judged.facts.node()), uuid, size)],
            );
        }
        disk
    }
}

/// What came of one step.
enum Step {
    Done,
    Nothing,
    Held(String),
}

/// Writes claims on all disks the class may have now. Says whether there was one.
fn claim_new(
    journal: &mut Journal,
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
        match apply::claim(journal, class, &judged.facts, id, &identity) {
            Ok(_) => {
                claimed = true;
                count += 1;
                total += size.0;
            }
            Err(apply::ApplyError::Changed { disk, why }) => {
                warn!(%disk, %why, "left alone; it is judged again")
            }
            Err(error) => return Err(node::chain(&error)),
        }
    }
    Ok(claimed)
}

/// The disk's id. One that says nothing of itself, where its class allows that, has one
/// until it is unplugged or the machine reboots; once labelled, its PV's UUID tells it.
fn id_of(facts: &DiskFacts) -> Option<DiskId> {
    match facts.identify() {
        Identified::As(id) => Some(id),
        Identified::Junk(_) => None,
        Identified::Missing => {
            let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
            Some(DiskId::for_session(&boot_id, facts.diskseq?))
        }
    }
}

/// Whether this is the disk of the claim: by the label it carries, else by its id.
fn is_disk_of(claim: &Claim, judged: &Judged) -> bool {
    match judged.reading.as_ref().and_then(|r| r.label.as_ref()) {
        Some(label) => label.pv_uuid == claim.pv_uuid,
        None => id_of(&judged.facts).as_ref() == Some(&claim.disk),
    }
}

/// What stands on the disk of a claim now; the label is read anew.
fn found(claim: &Claim, judged: &[Judged]) -> Found {
    let Some(disk) = judged.iter().find(|j| is_disk_of(claim, j)) else {
        return Found::Gone;
    };
    let path = disk.facts.node();
    match read_label(Path::new(&path)) {
        Err(error) => return Found::Unknown(error.to_string()),
        Ok(None) => return Found::NoLabel,
        Ok(Some((label, _))) if label.pv_uuid != claim.pv_uuid => {
            return Found::Unknown(format!("it carries PV {}", label.pv_uuid));
        }
        Ok(Some(_)) => {}
    }
    let reading = File::open(&path).map_err(|e| e.to_string()).and_then(|_| {
        let reader = crate::probe::aligned::DirectReader::open(Path::new(&path))
            .map_err(|e| e.to_string())?;
        let reading = content::read(reader.get_ref(), claim.disk.as_str(), RequireZeroed::None)?;
        Ok((reading, reader))
    });
    let (reading, reader) = match reading {
        Ok(both) => both,
        Err(why) => return Found::Unknown(why),
    };
    let Some(label) = &reading.label else {
        return Found::Unknown("its label is not understood".into());
    };
    if let Some(vg) = label.committed().first() {
        return Found::InGroup {
            vg_uuid: vg.uuid.clone(),
        };
    }
    if !label.used {
        return Found::Orphan;
    }
    let data_blank = content::is_blank_behind(reader.get_ref(), content::DATA_START, claim.zeroes);
    Found::Wreck {
        data_blank: data_blank == Ok(true),
    }
}
