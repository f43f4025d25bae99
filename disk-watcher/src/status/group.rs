//! The volume groups of the node: whose they are, what is in them, and what a person may
//! do about them.

use std::path::PathBuf;

use comfy_table::Table;
use lvmd::lvm::snapshot::{Snapshot, VgView};
use lvmd::names::{self, TAG_CLASS};
use lvmd::units::Bytes;
use serde::Serialize;

use crate::backup::KEPT;
use crate::compat;
use crate::config::{Config, DiskClass, Recalled};
use crate::status::Condition;

/// One volume group, as status shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeVolumeGroup {
    /// Its name.
    pub name: String,
    /// Its UUID, which is what it is.
    pub uuid: String,
    /// Its size, in bytes.
    pub size: Bytes,
    /// What no volume uses, in bytes.
    pub free: Bytes,
    /// What its pools do not grow into, in bytes; 0 where no class names it.
    pub reserved: Bytes,
    /// How often its metadata was changed.
    pub seqno: u64,
    /// The class it serves, where it is ours.
    pub class: Option<String>,
    /// Its PVs.
    pub pvs: Vec<GroupPv>,
    /// Its thin pools.
    pub pools: Vec<GroupPool>,
    /// Why it is not changed; empty: it may be.
    pub frozen: Vec<String>,
    /// Whether the class it was made for is in force here; `None` where it is not ours.
    pub class_in_force: Option<Condition>,
    /// How many changes of it are kept in a Secret, where there is a cluster; 0 where it is not ours.
    #[serde(skip)]
    pub secret_changes: usize,
    /// Where to write its UUID so that it is adopted, where it is not ours.
    pub adopt: Option<String>,
}

impl NodeVolumeGroup {
    /// The devices of its PVs, as far as they are there.
    pub fn devices(&self) -> Vec<PathBuf> {
        let devices = self.pvs.iter().filter_map(|pv| pv.device.as_ref());
        devices.map(PathBuf::from).collect()
    }
}

/// A PV of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupPv {
    /// Its UUID.
    pub uuid: String,
    /// Its device; `None` while it is missing.
    pub device: Option<String>,
}

/// A thin pool of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupPool {
    /// Its name.
    pub name: String,
    /// The size of its data, in bytes.
    pub size: Bytes,
    /// The size of its metadata, in bytes.
    pub metadata: Bytes,
    /// Whether the group has room for it to grow.
    pub extendable: bool,
    /// What to do where it has not.
    pub advice: Option<String>,
}

/// Every group of the node. `owner`: what our tag says; `None` where only looking.
pub fn groups(snapshot: &Snapshot, config: &Config, owner: Option<&str>) -> Vec<NodeVolumeGroup> {
    snapshot
        .vgs
        .iter()
        .map(|view| group(view, config, owner))
        .collect()
}

fn group(view: &VgView, config: &Config, owner: Option<&str>) -> NodeVolumeGroup {
    let vg = &view.vg;
    let ours = owner.is_some() && vg.owner() == owner;
    let class = config
        .classes
        .iter()
        .find(|class| class.volume_group.name == vg.name);
    let made_for = names::tag_value(&vg.tags, TAG_CLASS).filter(|_| ours);
    NodeVolumeGroup {
        name: vg.name.clone(),
        uuid: vg.uuid.clone(),
        size: vg.size,
        free: vg.free(),
        reserved: class.map_or(Bytes(0), |class| class.volume_group.reserve.within(vg.size)),
        seqno: vg.seqno,
        class: made_for.map(str::to_owned),
        pvs: vg
            .pvs
            .iter()
            .map(|pv| GroupPv {
                uuid: pv.uuid.clone(),
                device: (!pv.missing).then(|| pv.device.clone()),
            })
            .collect(),
        pools: vg
            .lvs
            .iter()
            .filter(|lv| lv.is_thin_pool() && !lv.hidden)
            .map(|lv| pool(&lv.name, lv.size, lv.metadata_size, vg.free_count))
            .collect(),
        frozen: view.frozen.iter().map(ToString::to_string).collect(),
        class_in_force: made_for.map(|made_for| in_force(made_for, class, config.unheard)),
        secret_changes: made_for.map_or(0, |made_for| {
            // Nobody said that it is not wanted.
            let class = class.filter(|class| class.name == made_for);
            class.map_or(KEPT, |class| class.secret_changes)
        }),
        adopt: (!ours).then(|| adopt(&vg.name, &vg.uuid, class)),
    }
}

/// Whether somebody says how the group is to be cared for. `class`: the one with its name.
fn in_force(made_for: &str, class: Option<&DiskClass>, unheard: bool) -> Condition {
    let kind = "ClassInForce";
    let class = class.filter(|class| class.name == made_for);
    match class.map(|class| class.recalled) {
        Some(None) => Condition::yes(kind, "InForce"),
        Some(Some(why)) => Condition::no(kind, why.reason(), format!("class {made_for}: {why}")),
        None if unheard => {
            let why = Recalled::Unheard.reason();
            let message = format!(
                "the API server has not told yet whether there is a class {made_for}; until then nobody extends its pool"
            );
            Condition::no(kind, why, message)
        }
        None => {
            let message = format!(
                "no class {made_for} with this group is in force on this node, so nobody extends its pool; write one, or move the volumes away and remove the group"
            );
            Condition::no(kind, "NoClass", message)
        }
    }
}

fn pool(name: &str, size: Bytes, metadata: Bytes, free_extents: u64) -> GroupPool {
    let extendable = free_extents > 0;
    GroupPool {
        name: name.to_owned(),
        size,
        metadata,
        extendable,
        advice: (!extendable).then(|| {
            "the group is full, so neither data nor metadata of the pool can grow; add a disk to the group, \
             or move the volumes to a group with room before the pool is full"
                .to_owned()
        }),
    }
}

fn adopt(name: &str, uuid: &str, class: Option<&DiskClass>) -> String {
    match class {
        Some(class)
            if class
                .existing
                .adopt_foreign_vg
                .iter()
                .any(|named| named == uuid) =>
        {
            format!("class {} adopts it in mode Enforce", class.name)
        }
        Some(class) if class.name == compat::CLASS_NAME => {
            format!("add to disk-config: adoptForeignVG: {uuid}")
        }
        Some(class) => format!(
            "add to class {}: existing: {{adoptForeignVG: [{uuid}]}}",
            class.name
        ),
        None => format!(
            "write a class with volumeGroup: {{name: {name}}} and existing: {{adoptForeignVG: [{uuid}]}}"
        ),
    }
}

/// The groups as a table, with what to write and to do below it; empty where there are none.
pub(super) fn text(groups: &[NodeVolumeGroup]) -> String {
    if groups.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_header(["GROUP", "UUID", "SIZE", "FREE", "CLASS", "PVS", "POOL"]);
    let mut notes = String::new();
    for group in groups {
        let name = &group.name;
        let pools: Vec<&str> = group.pools.iter().map(|pool| pool.name.as_str()).collect();
        let pvs: Vec<&str> = group
            .pvs
            .iter()
            .map(|pv| pv.device.as_deref().unwrap_or("(missing)"))
            .collect();
        table.add_row([
            name.clone(),
            group.uuid.clone(),
            group.size.to_string(),
            group.free.to_string(),
            group
                .class
                .clone()
                .unwrap_or_else(|| "(not ours)".to_owned()),
            pvs.join(" "),
            pools.join(" "),
        ]);
        for why in &group.frozen {
            notes.push_str(&format!("{name} is not changed: {why}\n"));
        }
        if let Some(class) = group.class_in_force.iter().find(|c| c.is_trouble()) {
            notes.push_str(&format!("{name}: {}: {}\n", class.reason, class.message));
        }
        for pool in &group.pools {
            let advice = pool.advice.iter();
            notes.extend(
                advice.map(|advice| format!("{name}/{}: Extendable=false: {advice}\n", pool.name)),
            );
        }
        notes.extend(
            group
                .adopt
                .iter()
                .map(|line| format!("To adopt {name}, {line}\n")),
        );
    }
    format!("\n{}{notes}", super::text::lines(&table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvmd::lvm::devices::Scan;
    use lvmd::lvm::report;

    const REPORT: &[u8] =
        include_bytes!("../../../lvmd/tests/fixtures/fullreport-lvm2-2.03.31.json");

    #[test]
    fn a_foreign_group_is_shown_with_the_line_that_adopts_it() {
        let mut vgs = report::parse(REPORT).unwrap();
        vgs.truncate(1);
        let (name, uuid) = (vgs[0].name.clone(), vgs[0].uuid.clone());
        vgs[0].tags = vec!["basalt.owner=other".to_owned()];
        let class = format!(
            "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {{name: fast}}\nspec:\n  select: {{model: [x]}}\n  volumeGroup: {{name: {name}}}\n"
        );
        let snapshot = Snapshot::join(vgs.clone(), &Scan::default());
        let of =
            |config: &str| groups(&snapshot, &Config::load(config).unwrap(), Some("me")).remove(0);
        let foreign = of("");
        assert_eq!((foreign.class, foreign.class_in_force), (None, None));
        assert!(foreign.adopt.unwrap().contains(&uuid));
        let line = of(&class).adopt.unwrap();
        let (_, line) = line.split_once("class fast: ").unwrap();
        let adopting = format!("{class}  {line}\n");
        let config = Config::load(&adopting).unwrap();
        assert_eq!(
            config.classes[0].existing.adopt_foreign_vg,
            [uuid],
            "the line can be pasted"
        );
        assert!(of(&adopting).adopt.unwrap().contains("adopts it"));
        vgs[0].tags = vec!["basalt.owner=me".to_owned(), "basalt.class=fast".to_owned()];
        let snapshot = Snapshot::join(vgs, &Scan::default());
        let ours = |config: &Config| groups(&snapshot, config, Some("me")).remove(0);
        let alone = ours(&Config::default());
        assert_eq!((alone.class.as_deref(), alone.adopt), (Some("fast"), None));
        let said = |config: &Config| ours(config).class_in_force.unwrap().reason;
        assert_eq!(said(&Config::default()), "NoClass");
        let mut config = Config::load(&class).unwrap();
        assert_eq!(said(&config), "InForce");
        assert_eq!(ours(&Config::default()).secret_changes, KEPT);
        config.classes[0].secret_changes = 3;
        assert_eq!(ours(&config).secret_changes, 3);
        config.classes[0].recalled = Some(Recalled::NotSelected);
        assert_eq!(said(&config), "NotSelected");
        config.classes[0].name = "other".into();
        assert_eq!(said(&config), "NoClass");
        config.unheard = true;
        assert_eq!(said(&config), "Unheard");
        assert!(text(&[ours(&config)]).contains("Unheard"));
    }

    #[test]
    fn a_pool_of_a_full_group_is_not_extendable_and_says_what_to_do() {
        let full = pool("p", Bytes(1), Bytes(1), 0);
        assert!(!full.extendable && full.advice.unwrap().contains("add a disk"));
        assert_eq!(pool("p", Bytes(1), Bytes(1), 1).advice, None);
    }
}
