//! The configuration file: DiskClass documents, each of which selects disks for one
//! volume group on this node.
//!
//! [`Config::load`] reads text and nothing else, so a bad new file can be refused
//! while the old one stays in force. Every problem is found in one go. Fields of the
//! planned API that do nothing yet are refused by name: a safety setting that is
//! silently ignored is worse than one that is missing.

mod auto_extend;
mod check;
mod error;
mod existing;
mod instant;
mod lvm_name;
mod raw;
mod recalled;
mod request;
pub(crate) mod schema;
mod sources;
mod unsupported;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use lvmd::units::{Bytes, GIB, MIB};
use serde::Serialize;

pub use self::auto_extend::{
    AutoExtend, DataGrowth, Emergency, MetadataGrowth, Part, Poll, WhenFull,
};
pub use self::error::{ConfigError, Problem};
pub use self::existing::{Existing, vg_uuid};
pub(crate) use self::instant::write as write_instant;
pub use self::recalled::Recalled;
pub use self::request::{DiskRemovalRequest, DiskWipeRequest, Standing, Target, WipeMethod};
pub use self::sources::{Sources, Stamp, Texts};
pub use self::values::{Percent, PoolSize};
use crate::facts::{DiskId, Transport};
use crate::files::WantedFile;
use crate::labels::{LabelSelector, Labels};
use crate::native::ObjectClaims;
use crate::pattern::Pattern;
use crate::select::Cel;

/// Where the configuration is looked for unless told otherwise.
pub const CONFIG_FILE: &str = "/etc/disk-watcher/config.yaml";
/// The `apiVersion` of every document.
pub const API_VERSION: &str = "basalt.storage/v1alpha1";

/// Smallest disk a class takes unless it says otherwise.
pub const DEFAULT_MIN_SIZE: Bytes = Bytes(10 * GIB);
/// Smallest metadata volume LVM makes (lvmthin(7)).
pub const METADATA_MIN: Bytes = Bytes(2 * MIB);
/// Largest metadata volume the kernel can address, 15.8 GiB (lvmthin(7), with room for
/// `thin_pool_crop_metadata`).
pub const METADATA_MAX: Bytes = Bytes((158 * GIB).div_ceil(10));
/// Disks up to this size are read whole before they are believed to be blank, unless
/// the class says otherwise.
pub const FULL_CHECK_UP_TO: Bytes = Bytes(64 * GIB);

/// Everything the file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// The classes, in the order they were written. May be empty: then disks are
    /// reported and none is taken.
    pub classes: Vec<DiskClass>,
    /// Disks that are to leave their groups.
    pub removals: Vec<DiskRemovalRequest>,
    /// Disks that are to be wiped.
    pub wipes: Vec<DiskWipeRequest>,
    /// Why nothing of it is begun: the files cannot be used as they are now, and this is what
    /// they said before. Pools are cared for, and what is under way goes on.
    pub held: Option<String>,
    /// Why nothing is begun although it could be: another disk-watcher has the node's Lease.
    pub other_acts: Option<String>,
    /// Whether a cluster may ask for more, or no longer for all of this: its API server has
    /// not told yet.
    pub unheard: bool,
    /// The labels of the NodeDisk objects of this node, by their names.
    pub disk_labels: DiskLabels,
    /// What objects of other systems claim on this node.
    pub owners: ObjectClaims,
}

/// Labels of NodeDisk objects, by the names of the objects.
pub type DiskLabels = BTreeMap<String, Labels>;

impl Config {
    /// Reads one or more YAML documents.
    ///
    /// # Errors
    /// Syntax errors and unknown keys with line and caret; else every rule that is
    /// broken, in the order of the file.
    pub fn load(text: &str) -> Result<Self, ConfigError> {
        let documents = raw::documents(text)?;
        let (removals, mut problems) = request::removals(documents.removals);
        let (wipes, more) = request::wipes(documents.wipes);
        problems.extend(more);
        match check::classes(documents.classes) {
            Ok(classes) if problems.is_empty() => Ok(Self {
                classes,
                removals,
                wipes,
                held: None,
                other_acts: None,
                unheard: false,
                disk_labels: DiskLabels::new(),
                owners: ObjectClaims::default(),
            }),
            Ok(_) => Err(ConfigError::new(problems)),
            Err(mut all) => {
                all.extend(problems);
                Err(ConfigError::new(all))
            }
        }
    }

    /// That no two classes share a name or a group.
    ///
    /// # Errors
    /// All that do.
    pub fn check_twins(&self) -> Result<(), ConfigError> {
        let problems = check::twins(&self.classes);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::new(problems))
        }
    }

    /// Why nothing of it is begun; `None`: it may be.
    pub fn why_held(&self) -> Option<&str> {
        self.held.as_deref().or(self.other_acts.as_deref())
    }

    /// That no class asks for what only a cluster has.
    ///
    /// # Errors
    /// All that do.
    pub fn check_without_cluster(&self) -> Result<(), ConfigError> {
        let classes = self.classes.iter();
        let labelled = classes.filter(|class| class.select.disk_labels.is_some());
        let problems: Vec<Problem> = labelled
            .map(|class| Problem::Value {
                class: class.name.clone(),
                field: "spec.select.diskLabels".to_owned(),
                what: "labels stand on the NodeDisk objects of a cluster, and without one no disk has any; \
                       run disk-watcher with --kubernetes, or take it out"
                    .to_owned(),
            })
            .collect();
        match problems.is_empty() {
            true => Ok(()),
            false => Err(ConfigError::new(problems)),
        }
    }

    /// Adds a class. An idle one gives way to any other of its name or group.
    pub(crate) fn add(&mut self, class: DiskClass) {
        if class.is_idle() && self.classes.iter().any(|c| c.is_in_the_way_of(&class)) {
            return;
        }
        self.classes
            .retain(|c| !c.is_idle() || !c.is_in_the_way_of(&class));
        self.classes.push(class);
    }

    /// The classes that cannot stand beside each other, and why.
    pub(crate) fn clashes(classes: &[DiskClass]) -> BTreeMap<String, String> {
        let mut clashes: BTreeMap<String, String> = BTreeMap::new();
        for problem in check::clashes(classes) {
            if let Problem::Value { class, field, what } = problem {
                let all = clashes.entry(class).or_default();
                let between = if all.is_empty() { "" } else { "; " };
                all.push_str(&format!("{between}{field}: {what}"));
            }
        }
        clashes
    }

    /// The class of that name.
    pub fn class(&self, name: &str) -> Option<&DiskClass> {
        self.classes.iter().find(|class| class.name == name)
    }
}

/// Selects disks and says what becomes of them.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskClass {
    /// `metadata.name`; also the value of the LVM tag `basalt.class`.
    pub name: String,
    /// What may be done.
    pub mode: Mode,
    /// Whether disks that appear after the first success are taken too.
    pub discovery: Discovery,
    /// Disks a person agreed to, each as it was then.
    pub approved: Vec<Approval>,
    /// Which disks.
    pub select: Select,
    /// Which disks not, whatever `select` says.
    pub exclude: Exclude,
    /// How many, how much, how soon.
    pub limits: Limits,
    /// Where a person may loosen a rule.
    pub safety: Safety,
    /// What others made and may become ours.
    pub existing: Existing,
    /// How many changes of its group are kept in a Secret, where there is a cluster; 0: none.
    pub secret_changes: usize,
    /// The volume group the disks go into.
    pub volume_group: VolumeGroup,
    /// The thin pool in it; `None` makes a group for thick volumes only.
    pub thin_pool: Option<ThinPool>,
    /// Why it only looks after what was made for it; `None`: it is in force.
    pub recalled: Option<Recalled>,
}

impl DiskClass {
    /// Whether disks may be changed for it.
    pub fn may_change_disks(&self) -> bool {
        self.mode == Mode::Enforce && self.recalled.is_none()
    }
}

/// What a class may do.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Deserialize,
    Serialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[value(rename_all = "PascalCase")]
pub enum Mode {
    /// Judge, and show the commands that would run.
    #[default]
    Plan,
    /// Act.
    Enforce,
    /// Neither judge nor act; what exists is left alone.
    Paused,
}

/// Which disks are taken once the class is Ready.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, Serialize, schemars::JsonSchema,
)]
pub enum Discovery {
    /// None: they wait for approval.
    #[default]
    Once,
    /// All that pass.
    Continuous,
}

/// A person's word that one disk, as it was, may join. It lifts AwaitingApproval for that
/// disk and no other rule, and is void when the disk's contents have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The node the disk is in.
    pub node: String,
    /// The disk.
    pub disk_id: DiskId,
    /// The digest of what stood on it, in hex.
    pub fingerprint: String,
}

/// What fingerprints begin with where people read and write them.
pub const FINGERPRINT_PREFIX: &str = "sha256:";

impl Approval {
    /// An approval, with its fingerprint as people copy it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(node: &str, disk_id: DiskId, fingerprint: &str) -> Result<Self, String> {
        let digest = fingerprint
            .strip_prefix(FINGERPRINT_PREFIX)
            .unwrap_or(fingerprint);
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if digest.len() != 64 || !digest.bytes().all(hex) {
            return Err(format!(
                "{fingerprint:?} is no fingerprint; copy the one that disk-watcher status prints"
            ));
        }
        if node.is_empty() || disk_id.as_str().is_empty() {
            return Err("an approval names a node and a disk".to_owned());
        }
        Ok(Self {
            node: node.to_owned(),
            disk_id,
            fingerprint: digest.to_owned(),
        })
    }
}

impl DiskClass {
    /// Whether it selects no disk and adopts no group: it only cares for what is there.
    pub fn is_idle(&self) -> bool {
        let selects_none = self.select.named.as_ref().is_some_and(Vec::is_empty);
        selects_none && self.existing.adopt_foreign_vg.is_empty()
    }

    /// Whether two classes cannot stand beside each other.
    fn is_in_the_way_of(&self, other: &Self) -> bool {
        self.name == other.name || self.volume_group.name == other.volume_group.name
    }
}

/// A disk by a name that a person wrote, such as `/dev/sdb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub path: String,
    /// The disk it stands for since it was first judged; the name is not followed then.
    pub bound: Option<DiskId>,
}

impl Named {
    /// A name that is not bound yet.
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            bound: None,
        }
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.bound {
            Some(disk) => write!(f, "{} (bound to {disk})", self.path),
            None => f.write_str(&self.path),
        }
    }
}

impl std::fmt::Display for Approval {
    /// As it is written in `spec.approved`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // JSON strings are YAML strings, whatever a serial number has in it.
        write!(
            f,
            "- {{node: {:?}, diskId: {:?}, fingerprint: \"{FINGERPRINT_PREFIX}{}\"}}",
            self.node,
            self.disk_id.as_str(),
            self.fingerprint
        )
    }
}

/// Predicates on a disk. Those that are given are ANDed, the values of one are ORed.
#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    /// Globs over the disk's links under `/dev`.
    pub paths: Vec<Pattern>,
    /// Only disks by the names that a person wrote; `None`: any.
    pub named: Option<Vec<Named>>,
    /// Whether `paths` may name kernel names such as `/dev/sda`.
    pub allow_unstable_names: bool,
    /// Globs over the model.
    pub model: Vec<Pattern>,
    /// Globs over the vendor.
    pub vendor: Vec<Pattern>,
    /// Globs over the serial number.
    pub serial: Vec<Pattern>,
    /// Globs over the WWID.
    pub wwid: Vec<Pattern>,
    /// Smallest size, inclusive.
    pub min: Bytes,
    /// Largest size, inclusive.
    pub max: Option<Bytes>,
    /// Allowed transports; empty: [`Transport::is_allowed_by_default`].
    pub transport: Vec<Transport>,
    /// Allowed media; empty: any.
    pub media: Vec<Media>,
    /// Globs over the name of a partition in the GPT.
    pub partition_label: Vec<Pattern>,
    /// Types of a partition in the GPT: GUIDs in lower case.
    pub partition_type: Vec<String>,
    /// Labels of its NodeDisk object; `None`: any.
    pub disk_labels: Option<LabelSelector>,
    /// An expression in Talos' words.
    pub cel: Option<Cel>,
    /// Files to make as disks, beside what the others select.
    pub files: Vec<WantedFile>,
    /// Whether it takes nothing but its files.
    pub only_files: bool,
}

impl Select {
    /// Whether it takes partitions, and never whole disks.
    pub fn takes_partitions(&self) -> bool {
        !self.partition_label.is_empty() || !self.partition_type.is_empty()
    }
}

/// What the data lies on.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Media {
    /// Anything that does not rotate, NVMe included.
    Ssd,
    /// Anything that rotates.
    Hdd,
    /// NVMe only.
    Nvme,
}

/// Disks that are never taken. Compared without regard to upper and lower case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exclude {
    /// Globs over the disk's links under `/dev`, and its kernel name.
    pub paths: Vec<Pattern>,
    /// Globs over the model.
    pub model: Vec<Pattern>,
    /// Globs over the serial number.
    pub serial: Vec<Pattern>,
    /// Globs over the WWID.
    pub wwid: Vec<Pattern>,
}

/// How many, how much, how soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The group is made when this many disks are ready for it; at least 1.
    pub min_disks: u32,
    /// At most this many disks join.
    pub max_disks: Option<u32>,
    /// At most this many bytes join.
    pub max_total: Option<Bytes>,
    /// No event for the disk for this long before it is touched.
    pub settle: Duration,
}

/// Where a person may loosen a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Safety {
    /// How much of the disk must read as zeroes; `None` where the file does not say.
    pub require_zeroed: Option<RequireZeroed>,
    /// Takes disks that the kernel calls removable.
    pub allow_removable: bool,
    /// Takes disks that have neither WWID nor serial number.
    pub allow_unique_id_missing: bool,
}

/// How much of a disk must read as zeroes before it is believed to be blank.
/// Ordered: each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, Serialize)]
pub enum RequireZeroed {
    /// Nothing. Signatures are still looked for.
    None,
    /// The first and last 4 MiB and 64 samples.
    HeadAndTail,
    /// All of it.
    Full,
}

impl Safety {
    /// How much of a disk of `size` must read as zeroes.
    pub fn zeroes_required(&self, size: Bytes) -> RequireZeroed {
        self.require_zeroed.unwrap_or(if size <= FULL_CHECK_UP_TO {
            RequireZeroed::Full
        } else {
            RequireZeroed::HeadAndTail
        })
    }
}

/// The volume group of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeGroup {
    /// Its name.
    pub name: String,
    /// Its physical extent size.
    pub extent_size: Bytes,
    /// Tags besides our own.
    pub tags: Vec<String>,
    /// Whether a PV of ours grows when its disk did.
    pub grow_pv_on_resize: bool,
    /// What pools do not grow into.
    pub reserve: PoolSize,
    /// Who activates it after a boot.
    pub activation: Activation,
    /// Whether what nobody has open is deactivated when the watcher ends.
    pub deactivate_on_exit: bool,
}

/// Who activates a group after a boot.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, Serialize, schemars::JsonSchema,
)]
pub enum Activation {
    /// The host; the watcher, where the host did not within a minute.
    #[default]
    Host,
    /// The watcher: groups it makes are exempt from autoactivation.
    Watcher,
}

/// The thin pool of a class.
#[derive(Debug, Clone, PartialEq)]
pub struct ThinPool {
    /// Its name.
    pub name: String,
    /// The size of its data volume.
    pub size: PoolSize,
    /// The size it is expected to grow to, for which chunk and metadata are chosen; `None`: four
    /// times its first size.
    pub expected_max_size: Option<Bytes>,
    /// The size of a chunk; `None`: chosen for the size of the pool.
    pub chunk_size: Option<Bytes>,
    /// The size of its metadata volume.
    pub metadata: Metadata,
    /// Whether the group keeps a spare as large as the metadata, for repair.
    pub spare: bool,
    /// Whether what nobody wrote reads as zeroes; else as what was there before.
    pub zero: bool,
    /// What it does with discards.
    pub discards: Discards,
    /// Whether it grows to its share of the group when that grows.
    pub follow_vg: bool,
    /// What it does with writes when it is full.
    pub when_full: WhenFull,
    /// How it grows as it fills.
    pub auto_extend: AutoExtend,
}

/// What a thin pool does with discards (lvmthin(7)).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Discards {
    /// Its chunks become free, and its disks are told.
    #[default]
    Passdown,
    /// Its chunks become free.
    Nopassdown,
    /// Nothing.
    Ignore,
}

impl Discards {
    /// As lvm has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passdown => "passdown",
            Self::Nopassdown => "nopassdown",
            Self::Ignore => "ignore",
        }
    }
}

/// How large the metadata volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// Computed from the pool, within bounds.
    Auto {
        /// Never smaller; `None`: 1 GiB, or 2 % of the group where that is less.
        min: Option<Bytes>,
        /// Never larger.
        max: Bytes,
        /// Times what the data takes when each chunk is mapped once.
        snapshot_factor: u32,
    },
    /// Exactly this.
    Fixed(Bytes),
}

impl Metadata {
    /// The least the metadata volume takes in a group of `group` bytes, before it is
    /// rounded to extents.
    pub fn floor(&self, group: Bytes) -> Bytes {
        match *self {
            Self::Fixed(size) => size,
            Self::Auto { min: Some(min), .. } => min,
            Self::Auto { min: None, max, .. } => Bytes(group.0 / 50)
                .min(Bytes(GIB))
                .max(METADATA_MIN)
                .min(max),
        }
    }
}

#[cfg(test)]
mod tests;
