//! A thin pool, as status shows it. A view; it decides nothing.

use lvmd::config::DEFAULT_GATE_PERCENT;
use lvmd::dm::PoolMode;
use lvmd::lvm::model::{Lv, Vg};
use lvmd::pool::{self, Active, Closed};
use lvmd::units::{Bytes, SECTOR};
use serde::Serialize;

use super::Condition;
use crate::activation::Left;
use crate::config::{DiskClass, Mode, ThinPool};
use crate::extend::{Action, Decision, Hold, Part, Rate};
use crate::pools::Entry;

/// Whether volumes are made in it.
const TAKES_VOLUMES: &str = "TakesVolumes";
const ZEROES_NEW_BLOCKS: &str = "ZeroesNewBlocks";

/// Where a pool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum PoolState {
    /// All is well.
    Active,
    /// Its data is used to its threshold, and it can grow.
    LowSpace,
    /// Its metadata is used to its threshold, and it can grow.
    MetadataLow,
    /// It should grow and cannot.
    Exhausted,
    /// Its data is used up.
    OutOfSpace,
    /// Its metadata cannot be written.
    ReadOnly,
    /// Its metadata must be checked first.
    NeedsCheck,
    /// Nothing in it works.
    Failed,
    /// It is not active.
    Inactive,
    /// Its state cannot be told.
    Unknown,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeThinPool {
    /// The class it is of.
    pub class: String,
    /// The name of its group.
    pub volume_group: String,
    /// Its name.
    pub name: String,
    /// Its UUID in LVM; empty while unknown.
    pub uuid: String,
    /// Where it stands.
    pub state: PoolState,
    /// Size of its data, in bytes.
    pub size: Bytes,
    /// Used data, in bytes; 0 while not active.
    pub used: Bytes,
    /// Size of its metadata, in bytes.
    pub metadata_size: Bytes,
    /// Used metadata, in bytes; 0 while not active.
    pub metadata_used: Bytes,
    /// Its chunk, in bytes; 0 while not active.
    pub chunk: Bytes,
    /// What the kernel does with writes: `rw`, `out_of_data_space`, `ro`, `Fail`; empty while not active.
    pub mode: String,
    /// Its metadata must be checked.
    pub needs_check: bool,
    /// The kernel's low-water mark, in chunks; 0: no event comes.
    pub low_water: u64,
    /// How fast it fills.
    pub rate: Rate,
    /// When it is full at that rate, in seconds; `None` while nothing fills it.
    pub time_to_full_seconds: Option<u64>,
    /// What is well, and what is not.
    pub conditions: Vec<Condition>,
    /// What would be done, where the class only plans.
    pub plan: Vec<String>,
    /// The last extensions, oldest first.
    pub history: Vec<Entry>,
}

impl NodeThinPool {
    /// A pool whose state cannot be told.
    pub fn unknown(class: &DiskClass, wanted: &ThinPool, why: String) -> Self {
        let mut pool = Self::empty(class, wanted, PoolState::Unknown);
        pool.conditions = vec![Condition::no("Ready", "Unknown", why)];
        pool
    }

    /// A pool that is not active, and why it is left so.
    pub fn inactive(
        class: &DiskClass,
        wanted: &ThinPool,
        vg: &Vg,
        lv: &Lv,
        left: Option<&Left>,
    ) -> Self {
        let mut pool = Self::empty(class, wanted, PoolState::Inactive);
        pool.is(vg, lv);
        let mut text = format!(
            "pool {} is not active, so its volumes cannot be used and its usage cannot be seen",
            lv.name
        );
        if let Some(left) = left {
            text = format!("{text}: {}", left.why);
        }
        let code = left.map_or("Inactive", |left| left.code);
        pool.conditions = vec![Condition::no("Ready", code, text)];
        pool
    }

    /// An active pool, and what was decided for it. `armed`: the kernel's mark is ours.
    pub fn active(
        class: &DiskClass,
        wanted: &ThinPool,
        vg: &Vg,
        lv: &Lv,
        active: &Active,
        decision: &Decision,
        armed: bool,
    ) -> Self {
        let mut pool = Self::empty(class, wanted, state(active, decision));
        pool.is(vg, lv);
        let (status, table) = (&active.status, &active.table);
        let chunk = table.chunk_sectors.saturating_mul(SECTOR);
        pool.used = Bytes(status.data_chunks.0.saturating_mul(chunk));
        pool.metadata_used = Bytes(status.metadata_blocks.0.saturating_mul(4096));
        pool.chunk = Bytes(chunk);
        pool.mode = status.mode.to_string();
        pool.needs_check = status.needs_check;
        pool.low_water = table.low_water;
        pool.time_to_full_seconds = decision.time_to_full.map(|time| time.as_secs());
        pool.conditions = conditions(class, wanted, active, decision, armed);
        if class.mode != Mode::Enforce {
            pool.plan = decision
                .action
                .iter()
                .map(|action| planned(wanted, vg, *action))
                .collect();
        }
        pool
    }

    fn empty(class: &DiskClass, wanted: &ThinPool, state: PoolState) -> Self {
        Self {
            class: class.name.clone(),
            volume_group: class.volume_group.name.clone(),
            name: wanted.name.clone(),
            uuid: String::new(),
            state,
            size: Bytes(0),
            used: Bytes(0),
            metadata_size: Bytes(0),
            metadata_used: Bytes(0),
            chunk: Bytes(0),
            mode: String::new(),
            needs_check: false,
            low_water: 0,
            rate: Rate::default(),
            time_to_full_seconds: None,
            conditions: Vec::new(),
            plan: Vec::new(),
            history: Vec::new(),
        }
    }

    fn is(&mut self, vg: &Vg, lv: &Lv) {
        self.volume_group.clone_from(&vg.name);
        self.uuid.clone_from(&lv.uuid);
        self.size = lv.size;
        self.metadata_size = lv.metadata_size;
    }

    /// What is not well, on one line.
    pub fn summary(&self) -> String {
        let wrong = self.conditions.iter().filter(|c| c.is_trouble());
        let words: Vec<String> = wrong
            .map(|c| format!("{}: {}", c.reason, c.message))
            .collect();
        words.join("; ")
    }
}

fn state(active: &Active, decision: &Decision) -> PoolState {
    let hold = |part| {
        let wanted = decision.wanted.iter().find(|(p, _)| *p == part)?;
        Some(wanted.1.as_ref().is_some_and(Hold::lasts))
    };
    match active.status.mode {
        PoolMode::Failed => PoolState::Failed,
        _ if active.status.needs_check => PoolState::NeedsCheck,
        PoolMode::ReadOnly => PoolState::ReadOnly,
        PoolMode::OutOfDataSpace => PoolState::OutOfSpace,
        PoolMode::ReadWrite => match (hold(Part::Metadata), hold(Part::Data)) {
            (Some(true), _) | (_, Some(true)) => PoolState::Exhausted,
            (Some(false), _) => PoolState::MetadataLow,
            (_, Some(false)) => PoolState::LowSpace,
            (None, None) => PoolState::Active,
        },
    }
}

fn conditions(
    class: &DiskClass,
    wanted: &ThinPool,
    active: &Active,
    decision: &Decision,
    armed: bool,
) -> Vec<Condition> {
    let status = &active.status;
    let auto = &wanted.auto_extend;
    let ready = if status.is_writable() {
        Condition::yes("Ready", "Writable")
    } else {
        let text = format!("its mode is {}; see docs/disk-watcher.md", status.mode);
        Condition::no("Ready", "NotWritable", text)
    };
    let healthy = |kind, percent: f64, threshold: crate::config::Percent, hold: Option<&Hold>| {
        let above = percent >= f64::from(threshold.whole_percent().unwrap_or(100));
        match hold {
            Some(hold) if above => {
                Condition::no(kind, hold.code(), format!("used to {percent}%: {hold}"))
            }
            _ => Condition::yes(kind, if above { "Growing" } else { "BelowThreshold" }),
        }
    };
    let extendable = match (&decision.metadata_hold, &decision.data_hold) {
        (_, Some(hold)) => Condition::no("Extendable", hold.code(), format!("data: {hold}")),
        (Some(hold), None) => Condition::no("Extendable", hold.code(), format!("metadata: {hold}")),
        (None, None) => Condition::yes("Extendable", "RoomLeft"),
    };
    // The decision of lvmd, which shows no capacity then, by its own function on the same numbers.
    let takes = match pool::closed(Some(status), DEFAULT_GATE_PERCENT) {
        None => Condition::yes(TAKES_VOLUMES, "Open"),
        Some(closed) => Condition::no(TAKES_VOLUMES, closed_by(closed), closed.to_string()),
    };
    let extending = match class.mode {
        Mode::Enforce if auto.enabled => Condition::yes("AutoExtendActive", "Enforced"),
        Mode::Enforce => Condition::no(
            "AutoExtendActive",
            "Off",
            "autoExtend.enabled is false".into(),
        ),
        mode => Condition::no(
            "AutoExtendActive",
            "ModeIsNotEnforce",
            format!("the class is in mode {mode:?}"),
        ),
    };
    let check = if status.needs_check {
        let text =
            "deactivate its volumes and it, and activate them again, which checks its metadata"
                .to_owned();
        Condition {
            status: true,
            ..Condition::no("NeedsCheck", "KernelSaysSo", text)
        }
    } else {
        Condition {
            status: false,
            ..Condition::yes("NeedsCheck", "NotNeeded")
        }
    };
    let mark = if armed {
        Condition::yes("LowWaterArmed", "MarkIsOurs")
    } else {
        let text =
            "no event comes when it reaches its threshold; it is looked at by the clock".to_owned();
        Condition::no("LowWaterArmed", "OtherMark", text)
    };
    let zeroes = match (active.table.zeroing, wanted.zero) {
        (true, _) => Condition::yes(ZEROES_NEW_BLOCKS, "Zeroed"),
        (false, set) => Condition::no(
            ZEROES_NEW_BLOCKS,
            if set { "NotAsked" } else { "SetByClass" },
            "a volume may show what a removed one had there, beside what is written to it; `lvchange --zero y` ends that"
                .to_owned(),
        ),
    };
    vec![
        ready,
        healthy(
            "DataHealthy",
            status.data_percent(),
            auto.data.threshold,
            decision.data_hold.as_ref(),
        ),
        healthy(
            "MetadataHealthy",
            status.metadata_percent(),
            auto.metadata.threshold,
            decision.metadata_hold.as_ref(),
        ),
        takes,
        extending,
        extendable,
        check,
        mark,
        zeroes,
    ]
}

/// Why it takes no more volumes, as a stable code.
fn closed_by(closed: Closed) -> &'static str {
    match closed {
        Closed::Unusable(_) => "NotWritable",
        Closed::NeedsCheck => "NeedsCheck",
        Closed::OutOfDataSpace => "OutOfDataSpace",
        Closed::Data(_) => "DataAtGate",
        Closed::Metadata(_) => "MetadataAtGate",
    }
}

fn planned(wanted: &ThinPool, vg: &Vg, action: Action) -> String {
    let size = |extents: u64| Bytes(extents.saturating_mul(vg.extent_size.0));
    match action {
        Action::Extend(part, to) => format!(
            "extend {part:?} of {}/{} to {}",
            vg.name,
            wanted.name,
            size(to)
        ),
        Action::ErrorWhenFull(error) => format!(
            "lvchange --errorwhenfull {} {}/{}",
            if error { "y" } else { "n" },
            vg.name,
            wanted.name
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use lvmd::dm::{PoolStatus, PoolTable};

    /// Nothing is to be done.
    const IDLE: Decision = Decision {
        action: None,
        wanted: Vec::new(),
        data_hold: None,
        metadata_hold: None,
        time_to_full: None,
        soon: false,
    };

    /// A class whose pool has `more` keys.
    fn class(more: &str) -> DiskClass {
        let text = format!(
            "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {{name: fast}}\nspec:\n  \
             select: {{model: [x]}}\n  volumeGroup: {{name: vg1}}\n  thinPool: {{name: pool0{more}}}\n"
        );
        Config::load(&text).unwrap().classes.remove(0)
    }

    #[test]
    fn it_takes_volumes_exactly_while_lvmd_makes_them() {
        let class = class("");
        for (status, reason) in [
            (
                "1 10/1000 949/1000 - rw discard_passdown queue_if_no_space - 256",
                "Open",
            ),
            (
                "1 10/1000 950/1000 - rw discard_passdown queue_if_no_space - 256",
                "DataAtGate",
            ),
            (
                "1 950/1000 9/1000 - rw discard_passdown queue_if_no_space - 256",
                "MetadataAtGate",
            ),
            (
                "1 10/1000 1000/1000 - out_of_data_space discard_passdown queue_if_no_space - 256",
                "OutOfDataSpace",
            ),
            (
                "1 10/1000 9/1000 - ro discard_passdown queue_if_no_space - 256",
                "NotWritable",
            ),
            (
                "1 10/1000 9/1000 - rw discard_passdown queue_if_no_space needs_check 256",
                "NeedsCheck",
            ),
            ("Fail", "NotWritable"),
        ] {
            let active = Active {
                status: PoolStatus::parse(status).unwrap(),
                table: PoolTable::parse("254:0 254:1 128 0 0").unwrap(),
            };
            let wanted = class.thin_pool.as_ref().unwrap();
            let all = conditions(&class, wanted, &active, &IDLE, true);
            let takes = all.iter().find(|c| c.kind == TAKES_VOLUMES).unwrap();
            assert_eq!(takes.reason, reason, "{status}");
            let by_lvmd = pool::closed(Some(&active.status), DEFAULT_GATE_PERCENT);
            assert_eq!(takes.status, by_lvmd.is_none(), "{status}");
        }
    }

    #[test]
    fn a_pool_that_does_not_zero_new_blocks_says_so_and_who_wanted_that() {
        let shown = |pool: &str, table: &str| {
            let class = class(pool);
            let active = Active {
                status: PoolStatus::parse(
                    "1 10/1000 9/1000 - rw discard_passdown queue_if_no_space - 256",
                )
                .unwrap(),
                table: PoolTable::parse(table).unwrap(),
            };
            let wanted = class.thin_pool.as_ref().unwrap();
            let all = conditions(&class, wanted, &active, &IDLE, true);
            let zeroes = all.into_iter().find(|c| c.kind == ZEROES_NEW_BLOCKS);
            let zeroes = zeroes.unwrap();
            (zeroes.is_trouble(), zeroes.reason)
        };
        let (zeroing, bare) = (
            "254:0 254:1 128 0 0",
            "254:0 254:1 128 0 1 skip_block_zeroing",
        );
        assert_eq!(shown("", zeroing), (false, "Zeroed".to_owned()));
        assert_eq!(shown("", bare), (true, "NotAsked".to_owned()));
        let set = shown(", zero: false", bare);
        assert_eq!(set, (true, "SetByClass".to_owned()));
    }
}
