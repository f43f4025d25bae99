//! LVs that nodes report and no LogicalVolume names; see [`crate::kubernetes::strays`].

use anyhow::Context;
use kube::ResourceExt;
use lvmd::names;

use super::cluster::Seen;
use crate::kubernetes::logical_volume::LogicalVolume;
use crate::kubernetes::strays::{Stray, Strays};

/// One, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The node that reports it.
    pub node: String,
    /// What it reports.
    pub stray: Stray,
    /// Why the node cannot tell now; then it reported this before.
    pub untold: Option<String>,
}

impl Found {
    /// Where it is, in words.
    pub fn place(&self) -> String {
        let Stray { vg, vg_uuid, .. } = &self.stray;
        format!("volume group {vg} ({vg_uuid}) of node {}", self.node)
    }

    /// That its node reports it now. One that was reported before may be gone, in use or named since.
    ///
    /// # Errors
    /// Why the node cannot tell, with the way out.
    pub fn is_told(&self) -> Result<(), String> {
        match &self.untold {
            None => Ok(()),
            Some(why) => Err(format!(
                "node {} reported it before and cannot tell now: {why}",
                self.node
            )),
        }
    }
}

/// What all nodes report.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Node by node.
    pub found: Vec<Found>,
    /// Nodes that have more of them, and how many.
    pub more: Vec<(String, usize)>,
    /// Nodes that cannot tell, and why, with the way out.
    pub blind: Vec<(String, String)>,
}

impl Reported {
    /// Other LVs with the same name, on whatever node.
    pub fn twins(&self, of: &Found) -> impl Iterator<Item = &Found> {
        let same = move |found: &&Found| found.stray.lv == of.stray.lv && **found != *of;
        self.found.iter().filter(same)
    }

    /// In words, why this node cannot tell, or, of none, why nodes cannot.
    pub fn blind(&self, node: Option<&str>) -> Option<String> {
        let asked = |blind: &&(String, String)| node.is_none_or(|node| node == blind.0);
        let words = |(node, why): &(String, String)| {
            format!("node {node} cannot tell which LVs no LogicalVolume names: {why}")
        };
        let all: Vec<String> = self.blind.iter().filter(asked).map(words).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// What nodes report, without what has its LogicalVolume meanwhile.
///
/// # Errors
/// What a node reports cannot be read.
pub fn of(seen: &Seen) -> anyhow::Result<Reported> {
    let mut all = Reported::default();
    for node in &seen.nodes {
        let Some(text) = node.annotations().get(names::ANNOTATION_STRAYS) else {
            continue;
        };
        let node = node.name_any();
        let said: Strays = serde_json::from_str(text).with_context(|| {
            format!(
                "the annotation {} of node {node} is none of this version's",
                names::ANNOTATION_STRAYS
            )
        })?;
        if said.more > 0 {
            all.more.push((node.clone(), said.more));
        }
        let strays = said.strays.into_iter();
        let unnamed = strays.filter(|stray| namer(seen, &stray.lv).is_none());
        all.found.extend(unnamed.map(|stray| Found {
            node: node.clone(),
            stray,
            untold: said.unknown.clone(),
        }));
        all.blind.extend(said.unknown.map(|why| (node, why)));
    }
    Ok(all)
}

/// The LogicalVolume that names an LV, on whatever node. One that is given up names none.
pub fn namer<'a>(seen: &'a Seen, lv: &str) -> Option<&'a LogicalVolume> {
    seen.volumes.iter().find(|volume| {
        let names = volume.volume_id() == Some(lv) || volume.metadata.uid.as_deref() == Some(lv);
        names && !volume.is_given_up()
    })
}
