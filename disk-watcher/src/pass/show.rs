//! What a pass shows: each disk as it was judged, with what journal and groups add.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::found::{id_of, is_disk_of};
use super::member::{self, Around};
use super::{Judged, Watcher};
use lvmd::cmd::Runner;
use lvmd::names;

use crate::commands;
use crate::config::{Approval, Config, Mode};
use crate::journal::{Claim, Journal};
use crate::rules::Verdict;
use crate::status::{DiskState, NodeDisk, NodeVolumeGroup};

impl<R: Runner + Clone> Watcher<R> {
    pub(super) fn show(
        &self,
        config: &Config,
        judged: &[Judged],
        groups: &[NodeVolumeGroup],
        remarks: &BTreeMap<String, String>,
    ) -> Vec<NodeDisk> {
        let claims: Vec<&Claim> = self.journal.iter().flat_map(Journal::claims).collect();
        let mut disks: Vec<NodeDisk> = judged
            .iter()
            .map(|j| self.show_one(config, j, judged, groups, &claims, remarks))
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
                    state: self.absent(claim, judged),
                    reasons: vec![],
                    reading: None,
                    selection: vec![],
                    pv_uuid: Some(claim.pv_uuid.clone()),
                    volume_group: Some(claim.volume_group.clone()),
                    plan: vec![],
                    approve: None,
                    wipe: None,
                });
            }
        }
        disks
    }

    /// Whether a disk of ours is only away, or another one is in its place.
    fn absent(&self, claim: &Claim, judged: &[Judged]) -> DiskState {
        let slots = self.journal.as_ref().map(Journal::slots);
        let slot = slots.and_then(|slots| slots.get(&claim.pv_uuid));
        let links = judged.iter().flat_map(|j| j.facts.links());
        member::absent(slot.map_or(&[], Vec::as_slice), links)
    }

    fn show_one(
        &self,
        config: &Config,
        judged: &Judged,
        all: &[Judged],
        groups: &[NodeVolumeGroup],
        claims: &[&Claim],
        remarks: &BTreeMap<String, String>,
    ) -> NodeDisk {
        let mut disk = NodeDisk::judged(&judged.facts, &judged.judgement);
        if let (DiskState::AwaitingApproval, Some(id), Some(reading)) =
            (disk.state, judged.judgement.id.id(), &judged.reading)
        {
            disk.approve = Some(
                Approval {
                    node: self.node_name.clone(),
                    disk_id: id.clone(),
                    fingerprint: reading.fingerprint.clone(),
                }
                .to_string(),
            );
        }
        disk.wipe = self.wipe_offer(judged, groups);
        disk.reading = judged.reading.as_ref().and_then(|r| r.report.reading);
        let id = id_of(&judged.facts);
        if self
            .wiping
            .as_ref()
            .is_some_and(|wiping| Some(wiping.disk()) == id.as_ref())
        {
            disk.state = DiskState::Wiping;
        } else if let Some(claim) = claims.iter().find(|claim| is_disk_of(claim, judged)) {
            disk.class = Some(claim.class.clone());
            disk.pv_uuid = Some(claim.pv_uuid.clone());
            disk.volume_group = Some(claim.volume_group.clone());
            let frozen = remarks
                .get(&claim.class)
                .is_some_and(|why| why.starts_with("frozen"));
            let around = Around {
                judgement: &judged.judgement,
                has_twin: all.iter().filter(|j| is_disk_of(claim, j)).count() > 1,
                frozen: frozen || is_frozen(groups, claim.vg_uuid.as_deref()),
            };
            disk.state = member::claimed(claim, around);
            disk.plan = remarks
                .get(&claim.class)
                .map(|why| format!("# {why}"))
                .into_iter()
                .collect();
        } else if let (Verdict::Ours, Some(pv)) = (&judged.judgement.verdict, judged.pv()) {
            // Of a group that was adopted: all that is to be done for it is done.
            disk.class = names::tag_value(&pv.tags, names::TAG_CLASS).map(str::to_owned);
            disk.pv_uuid = Some(pv.uuid.clone());
            disk.volume_group.clone_from(&pv.vg_name);
            if pv.committed {
                let around = Around {
                    judgement: &judged.judgement,
                    has_twin: all
                        .iter()
                        .filter_map(Judged::pv)
                        .filter(|other| other.uuid == pv.uuid)
                        .count()
                        > 1,
                    frozen: is_frozen(groups, pv.vg_uuid.as_deref()),
                };
                disk.state = member::member(DiskState::Ready, around);
            }
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
            let path = PathBuf::from(judged.facts.node());
            let group = groups
                .iter()
                .find(|group| group.name == class.volume_group.name);
            disk.plan = match group {
                Some(group) => commands::plan_to_join(class, &group.devices(), &path, &uuid),
                None => commands::plan(class, &owner, &[(path, uuid, size)]),
            };
        }
        disk
    }
}

fn is_frozen(groups: &[NodeVolumeGroup], uuid: Option<&str>) -> bool {
    let mut groups = groups.iter();
    groups.any(|group| Some(group.uuid.as_str()) == uuid && !group.frozen.is_empty())
}
