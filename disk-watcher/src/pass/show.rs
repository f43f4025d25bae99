//! What a pass shows: each disk as it was judged, with what journal and groups add.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::found::{id_of, is_disk_of};
use super::{Judged, Watcher};
use lvmd::cmd::Runner;
use lvmd::names;

use crate::commands;
use crate::config::{Approval, Config, Mode};
use crate::journal::{Claim, Journal, Stage};
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
            .map(|j| self.show_one(config, j, groups, &claims, remarks))
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
                    approve: None,
                    wipe: None,
                });
            }
        }
        disks
    }

    fn show_one(
        &self,
        config: &Config,
        judged: &Judged,
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
            disk.state = match (claim.stage, remarks.get(&claim.class)) {
                _ if claim.leaving.is_some() => DiskState::Draining,
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
        } else if let (Verdict::Ours, Some(pv)) = (&judged.judgement.verdict, judged.pv()) {
            // Of a group that was adopted: all that is to be done for it is done.
            disk.class = names::tag_value(&pv.tags, names::TAG_CLASS).map(str::to_owned);
            disk.pv_uuid = Some(pv.uuid.clone());
            disk.volume_group.clone_from(&pv.vg_name);
            if pv.committed {
                disk.state = DiskState::Ready;
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
