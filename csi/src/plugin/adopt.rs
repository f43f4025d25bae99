//! Objects for LVs that are there: after a cluster was built anew or lost its etcd, each LV
//! that a person names gets its LogicalVolume and its PersistentVolume back.
//!
//! Here it is judged, from what was read; [`objects`] makes the objects, and
//! [`super::cluster::Cluster::adopt`] writes them. Whatever is in doubt is refused with the
//! way out.

mod claim;
pub mod objects;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::bail;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use kube::core::DynamicObject;
use lvmd::names;
use lvmd::units::Bytes;
use serde::Serialize;

use super::cluster::{Seen, handle};
use super::strays::{self, Found};
use super::table::{Row, size};
use crate::capability::BLOCK;
use crate::filesystem::Kind;
use crate::kubernetes::logical_volume::LogicalVolume;
use crate::store;
use claim::Bound;

/// What a person asks for.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Wish {
    /// The UUID of the volume group, as `orphans` shows it
    #[arg(long, value_name = "UUID")]
    pub vg_uuid: String,
    /// The node, where several have such a group
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// This LV of it
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub lv: Option<String>,
    /// All whose tags say that a cluster's driver made them
    #[arg(long)]
    pub all: bool,
    /// The claim that is to have it, where no tag says so or another one is wanted
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "lv", conflicts_with = "all", value_parser = claim::parse)]
    pub claim: Option<(String, String)>,
    /// The VolumeSnapshot that is to have a snapshot, where no tag says so or another one is wanted
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "lv", conflicts_with_all = ["all", "claim"], value_parser = claim::parse)]
    pub snapshot: Option<(String, String)>,
    /// What is on it, where no tag says so
    #[arg(long, value_name = "ext4|xfs|btrfs|block", value_parser = content)]
    pub fs_type: Option<&'static str>,
    /// The StorageClass of the PersistentVolume, where it cannot be told
    #[arg(long, value_name = "NAME")]
    pub storage_class: Option<String>,
    /// Make the objects; without it they are only shown
    #[arg(long)]
    pub yes: bool,
}

/// One LV, and what is to become of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    /// Its node.
    pub node: String,
    /// Its VG, by name.
    pub vg: String,
    /// Its name.
    pub lv: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The claim or VolumeSnapshot that gets it; empty if that is not known.
    pub claim: String,
    /// What is on it, or `snapshot`; empty if that is not known.
    pub content: String,
    /// The LogicalVolume and PersistentVolume.
    pub name: String,
    /// What is done, or why nothing is.
    pub result: String,
    /// The objects, where there is nothing against it.
    #[serde(skip)]
    pub plan: Option<Plan>,
}

/// Objects to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Given up until its status stands, so that no node makes an LV for it.
    pub volume: LogicalVolume,
    /// The LV, and its size.
    pub made: (String, Bytes),
    /// A volume's; `None` where it is there.
    pub persistent: Option<PersistentVolume>,
    /// A snapshot's VolumeSnapshotContent; `None` where it is there.
    pub content: Option<DynamicObject>,
}

impl Row for Adoption {
    const COLUMNS: &'static [&'static str] =
        &["NODE", "LV", "SIZE", "CLAIM", "CONTENT", "NAME", "RESULT"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.node.clone(),
            format!("{}/{}", self.vg, self.lv),
            size(Bytes(self.size_bytes)),
            self.claim.clone(),
            self.content.clone(),
            self.name.clone(),
            self.result.clone(),
        ]
    }
}

impl Adoption {
    /// Whether something is against it.
    pub fn is_refused(&self) -> bool {
        self.result.starts_with(REFUSED)
    }
}

/// What stands for what is on a snapshot.
const SNAPSHOT: &str = store::Kind::Snapshot.name();
/// How the result of one begins that something is against.
const REFUSED: &str = "refused: ";

/// What can be on a volume.
pub(super) fn content(text: &str) -> Result<&'static str, String> {
    match text {
        BLOCK => Ok(BLOCK),
        "" => Err("write ext4, xfs, btrfs or block".to_owned()),
        other => match other.parse::<Kind>() {
            Ok(kind) => Ok(kind.name()),
            Err(error) => Err(format!("{error}; write block for a raw device")),
        },
    }
}

/// What becomes of the LVs that are asked for.
///
/// # Errors
/// There is none of them; the group is on several nodes; what is asked for is not clear.
pub fn judge(
    seen: &Seen,
    claims: &[PersistentVolumeClaim],
    wish: &Wish,
) -> anyhow::Result<Vec<Adoption>> {
    if wish.yes && wish.lv.is_none() && !wish.all {
        bail!("say which: --lv NAME, or --all; without --yes all of the group are shown");
    }
    let reported = strays::of(seen)?;
    let in_group = |found: &&Found| {
        found.stray.vg_uuid == wish.vg_uuid
            && wish.node.as_ref().is_none_or(|node| *node == found.node)
    };
    let mut of_group: Vec<&Found> = reported.found.iter().filter(in_group).collect();
    if let Some(other) = of_group.iter().find(|found| found.node != of_group[0].node) {
        bail!(
            "nodes {} and {} both have a volume group {}: one is a copy; say which with --node",
            of_group[0].node,
            other.node,
            wish.vg_uuid
        );
    }
    of_group.retain(|found| wish.lv.as_ref().is_none_or(|lv| *lv == found.stray.lv));
    let mut rows = already(seen, wish);
    if of_group.is_empty() && rows.is_empty() {
        bail!("{}", nothing(seen, wish, &reported));
    }
    let mut wanted = BTreeMap::new();
    for found in &of_group {
        if let Some(whose) = whose(seen, found, wish) {
            *wanted.entry(whose).or_insert(0) += 1;
        }
    }
    rows.extend(of_group.into_iter().map(|found| {
        let whose = whose(seen, found, wish);
        let shared = whose.as_ref().is_some_and(|whose| wanted[whose] > 1);
        let plan = match shared {
            true => Err("several have this claim or VolumeSnapshot: name one with --lv".to_owned()),
            false => found
                .is_told()
                .and_then(|()| one_of_its_name(&reported, found, wish))
                .and_then(|()| plan(seen, claims, found, wish)),
        };
        let (plan, result) = match plan {
            Ok(plan) => (Some(plan), "would be adopted".to_owned()),
            Err(why) => (None, format!("{REFUSED}{why}")),
        };
        Adoption {
            node: found.node.clone(),
            vg: found.stray.vg.clone(),
            lv: found.stray.lv.clone(),
            size_bytes: found.stray.size_bytes,
            claim: whose.map_or_else(String::new, |(_, (namespace, name))| {
                format!("{namespace}/{name}")
            }),
            content: content_of(found, wish).unwrap_or_default().to_owned(),
            name: name(found).unwrap_or_default(),
            result,
            plan,
        }
    }));
    Ok(rows)
}

/// The claim of a volume, or the VolumeSnapshot of a snapshot, and which of the two.
fn whose(seen: &Seen, found: &Found, wish: &Wish) -> Option<(bool, (String, String))> {
    let is_snapshot = snapshot::is(found);
    let whose = match is_snapshot {
        true => snapshot::of(seen, found, wish),
        false => claim::of(seen, found, wish),
    };
    whose.map(|whose| (is_snapshot, whose))
}

/// What was adopted from the group before.
fn already(seen: &Seen, wish: &Wish) -> Vec<Adoption> {
    let mut rows = Vec::new();
    for volume in seen.volumes.iter().filter(|volume| !volume.is_given_up()) {
        let adopted = volume.annotations().get(names::ANNOTATION_ADOPTED);
        let Some((group, lv)) = adopted.and_then(|text| text.split_once('/')) else {
            continue;
        };
        let asked = wish.lv.as_ref().is_none_or(|wanted| wanted == lv);
        let node = &volume.spec.node_name;
        let here = wish.node.as_ref().is_none_or(|wanted| wanted == node);
        if group != wish.vg_uuid || !asked || !here || volume.volume_id() != Some(lv) {
            continue;
        }
        let noted = |key: &str| volume.annotations().get(key).cloned().unwrap_or_default();
        let (whose, content) = match volume.is_snapshot() {
            true => (noted(names::ANNOTATION_SNAPSHOT), SNAPSHOT.to_owned()),
            false => (
                noted(names::ANNOTATION_CLAIM),
                noted(names::ANNOTATION_CONTENT),
            ),
        };
        rows.push(Adoption {
            node: node.clone(),
            vg: group.to_owned(),
            lv: lv.to_owned(),
            size_bytes: super::cluster::size_of(volume).0,
            claim: whose,
            content,
            name: volume.name_any(),
            result: "was adopted before".to_owned(),
            plan: None,
        });
    }
    rows
}

/// Refuses an LV whose name is another's too, unless a person says which. Driver and objects know a volume by its name.
pub(super) fn one_of_its_name(
    reported: &strays::Reported,
    found: &Found,
    wish: &Wish,
) -> Result<(), String> {
    let (lv, here) = (&found.stray.lv, found.place());
    let told = wish.lv.is_some() && wish.node.is_some();
    for twin in reported.twins(found) {
        let there = twin.place();
        if twin.node == found.node {
            return Err(format!(
                "there is an LV {lv} in {here} and in {there}, and a node finds a volume by its name: give one another with \
                 lvrename"
            ));
        }
        if !told {
            return Err(format!(
                "there is an LV {lv} in {here} and in {there}, and only one can be a volume: say which with --node and --lv"
            ));
        }
    }
    Ok(())
}

/// Why there is nothing to adopt, and where there is something.
fn nothing(seen: &Seen, wish: &Wish, reported: &strays::Reported) -> String {
    let named = wish.lv.as_ref().and_then(|lv| strays::namer(seen, lv));
    if let Some(volume) = named {
        return format!(
            "LogicalVolume {} names an LV {} already, on node {}",
            volume.name_any(),
            wish.lv.as_deref().unwrap_or_default(),
            volume.spec.node_name
        );
    }
    let what = wish
        .lv
        .as_ref()
        .map_or_else(|| "an LV".to_owned(), |lv| format!("LV {lv}"));
    let place = wish
        .node
        .as_ref()
        .map_or_else(|| "no node".to_owned(), |node| format!("not node {node}"));
    let mut groups: Vec<String> = reported
        .found
        .iter()
        .map(|found| {
            format!(
                "{} ({} on {})",
                found.stray.vg_uuid, found.stray.vg, found.node
            )
        })
        .collect();
    groups.dedup();
    let others = match groups.is_empty() {
        true => "; nor in any other".to_owned(),
        false => format!("; there are some in {}", groups.join(", ")),
    };
    let blind = reported.blind(wish.node.as_deref());
    let blind = blind.map_or_else(String::new, |blind| format!("; but {blind}"));
    format!(
        "{place} reports {what} without a LogicalVolume in a volume group {}{others}{blind}",
        wish.vg_uuid
    )
}

/// What is on it, as asked for or as its tag says.
fn content_of(found: &Found, wish: &Wish) -> Option<&'static str> {
    if snapshot::is(found) {
        return Some(SNAPSHOT);
    }
    let tag = found.stray.tag(names::TAG_CONTENT);
    let tag = tag.and_then(|text| content(text).ok());
    wish.fs_type.or(tag)
}

/// The name of its objects: the old one, or one made of the LV's.
pub(super) fn name(found: &Found) -> Option<String> {
    let old = found.stray.tag(names::TAG_LV).map(str::to_owned);
    let own = format!("adopted-{}", found.stray.lv);
    old.into_iter().chain([own]).find(|name| is_name(name))
}

/// Whether Kubernetes takes it as a name of these objects (RFC 1123 subdomain).
fn is_name(text: &str) -> bool {
    let part = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        part.bytes().all(|byte| plain(byte) || byte == b'-')
            && part.bytes().next().is_some_and(plain)
            && part.bytes().last().is_some_and(plain)
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// Whether `there` is the LogicalVolume that this very work made before, on the same LV, and no node heeds it yet.
///
/// # Errors
/// Whose it is else, with the way out.
pub fn begun(there: &LogicalVolume, wanted: &LogicalVolume) -> Result<(), String> {
    let name = there.name_any();
    let noted = |object: &LogicalVolume, key: &str| object.annotations().get(key).cloned();
    let of = |object: &LogicalVolume| {
        let marks = objects::PURPOSES.map(|key| noted(object, key));
        (marks, object.spec.node_name.clone())
    };
    if there.is_leaving() {
        return Err(format!(
            "somebody deletes LogicalVolume {name}: ask again when it is gone"
        ));
    }
    if !there.is_given_up() {
        return Err(format!(
            "LogicalVolume {name} is there and is another one's"
        ));
    }
    if of(there) == of(wanted) {
        return Ok(());
    }
    let done = match objects::PURPOSES.map(|key| noted(there, key)) {
        [Some(adopted), _] => format!("an adoption of LV {adopted} has begun"),
        [_, Some(removed)] => format!("a removal of LV {removed} has begun"),
        [None, None] => "it is another one's, and given up".to_owned(),
    };
    Err(format!(
        "LogicalVolume {name} is there: {done} on node {}; `kubectl delete logicalvolume {name}` ends that, and leaves the LV \
         as it is",
        there.spec.node_name
    ))
}

/// The objects for an LV.
pub(super) fn plan(
    seen: &Seen,
    claims: &[PersistentVolumeClaim],
    found: &Found,
    wish: &Wish,
) -> Result<Plan, String> {
    let stray = &found.stray;
    if snapshot::is(found) {
        return snapshot::plan(seen, found, wish);
    }
    if !stray.whole || stray.tag(names::TAG_KIND) == Some(SNAPSHOT) {
        return Err(
            "it cannot be written to, so it is no volume, and no tag says that it is a snapshot that a cluster's driver made"
                .to_owned(),
        );
    }
    if wish.snapshot.is_some() {
        return Err("it is a volume: --claim NAMESPACE/NAME".to_owned());
    }
    if stray.is_inline() {
        return Err(format!(
            "it is a pod's inline volume, which goes with the pod: on its node take its tag {} away first, with lvchange --deltag",
            names::TAG_EPHEMERAL
        ));
    }
    if stray.size_bytes == 0 {
        return Err("its size is not known".to_owned());
    }
    if !stray.is_orphan() {
        if wish.lv.is_none() {
            return Err(
                "no tag says that a cluster's driver made it: name it with --lv".to_owned(),
            );
        }
        if stray.open {
            return Err(
                "no tag says that a cluster's driver made it, and somebody on the node has it open"
                    .to_owned(),
            );
        }
    }
    let name = name(found).ok_or("its name cannot be one of Kubernetes' objects")?;
    let volume = objects::volume(found, &name, names::ANNOTATION_ADOPTED);
    if let Some(there) = seen.volumes.iter().find(|there| there.name_any() == name) {
        begun(there, &volume)?;
    }
    let made = (stray.lv.clone(), stray.size());
    // The PersistentVolume outlived the LogicalVolume, or this was begun before.
    if let Some(there) = seen
        .persistent
        .iter()
        .find(|pv| handle(pv) == Some(&stray.lv))
    {
        objects::may_stay(there, &found.node)?;
        return Ok(Plan {
            volume,
            made,
            persistent: None,
            content: None,
        });
    }
    if seen.persistent.iter().any(|pv| pv.name_any() == name) {
        return Err(format!(
            "PersistentVolume {name} is there and is another one's"
        ));
    }
    let tagged = stray.tag(names::TAG_CONTENT);
    let content = content_of(found, wish)
        .ok_or("no tag says what is on it: --fs-type ext4, xfs, btrfs or block")?;
    if tagged.is_some_and(|tagged| tagged != content) {
        return Err(format!(
            "--fs-type is {content}, and its tag says {}",
            tagged.unwrap_or_default()
        ));
    }
    let claim = claim::of(seen, found, wish)
        .ok_or("no tag says which claim it was made for: --lv with --claim NAMESPACE/NAME")?;
    let bound = Bound::judge(seen, claims, claim, &name, found, content, wish)?;
    Ok(Plan {
        volume: objects::noted(volume, &bound, content),
        made,
        persistent: Some(objects::persistent(found, &name, content, &bound)),
        content: None,
    })
}
