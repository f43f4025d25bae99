//! The file as it is written: every key of the API, those that work and those that
//! will. Unknown keys are errors with line, caret and the nearest known name.

use std::collections::BTreeMap;

use lvmd::units::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

use super::auto_extend::{AutoExtend, WhenFull};
use super::error::Problem;
use super::schema::{Share, Size, Time};
use super::values::{DurationText, PoolSize, SizeOr};
use super::{API_VERSION, Activation, Discards, Discovery, Media, Mode, WipeMethod};
use crate::facts::Transport;
use crate::labels::LabelSelector;

/// A field that is known and does nothing yet; only its place is kept.
pub(super) type Later = Option<Spanned<IgnoredAny>>;

/// Names a [`Later`] field for the report.
pub(super) type Named<'a> = (&'static str, &'a Later);

/// The kinds people or the watcher write, besides DiskClass.
const OTHER_KINDS: [&str; 3] = ["NodeDisk", "NodeVolumeGroup", "NodeThinPool"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata {
    pub(super) name: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Spec {
    /// Plan (unless written): report, and show the commands that would run. Enforce: act. Paused: neither.
    #[serde(default)]
    pub(super) mode: Mode,
    /// Once (unless written): disks that appear after the first success wait for approval. Continuous: all that pass.
    #[serde(default)]
    pub(super) discovery: Discovery,
    #[schemars(skip)]
    node_selector: Later,
    #[schemars(skip)]
    priority: Later,
    /// Disks that wait for approval and may join, each as it was when a person looked.
    #[serde(default)]
    pub(super) approved: Vec<Approval>,
    /// Which disks. All that is given must hold; of a list, one. At least one besides size.
    #[serde(default)]
    pub(super) select: Select,
    /// Which disks not, whatever select says.
    #[serde(default)]
    pub(super) exclude: Exclude,
    /// How many, how much, how soon.
    #[serde(default)]
    pub(super) limits: Limits,
    /// Where a person may loosen a rule.
    #[serde(default)]
    pub(super) safety: Safety,
    /// What others made and may become ours.
    #[serde(default)]
    pub(super) existing: Existing,
    /// The volume group the disks go into.
    pub(super) volume_group: VolumeGroup,
    /// The thin pool in it; without one the group serves thick volumes only.
    pub(super) thin_pool: Option<ThinPool>,
    /// Where LVM's description of the group is kept besides the node itself.
    #[serde(default)]
    pub(super) metadata_backup: MetadataBackup,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MetadataBackup {
    /// Secret (unless written): one in the namespace of disk-watcher, where it runs with a cluster. None: nowhere else.
    pub(super) to: BackupTo,
    /// How many changes of the group are kept there: 1 to 10, and 10 unless written.
    pub(super) keep: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum BackupTo {
    /// A Secret.
    #[default]
    Secret,
    /// Nowhere.
    None,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Existing {
    #[schemars(skip)]
    #[serde(rename = "adoptOwnedVG")]
    adopt_owned_vg: Later,
    /// UUIDs of volume groups that are adopted.
    #[serde(rename = "adoptForeignVG")]
    pub(super) adopt_foreign_vg: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Approval {
    /// The node the disk is in.
    pub(super) node: String,
    /// The disk.
    pub(super) disk_id: String,
    /// What stood on it when a person looked: sha256:...
    pub(super) fingerprint: String,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Select {
    /// Globs over links under /dev/disk.
    pub(super) paths: Vec<String>,
    /// Whether paths and cel may use kernel names such as /dev/sda.
    pub(super) allow_unstable_names: bool,
    /// Globs over the model.
    pub(super) model: Vec<String>,
    /// Globs over the vendor.
    pub(super) vendor: Vec<String>,
    /// Globs over the serial number.
    pub(super) serial: Vec<String>,
    /// Globs over the WWID.
    pub(super) wwid: Vec<String>,
    /// Smallest and largest size, both inclusive; min is 10Gi unless written.
    pub(super) size: SizeRange,
    /// How it is attached; nvme, sata, sas, scsi and virtio unless written.
    pub(super) transport: Vec<Transport>,
    /// What the data lies on.
    pub(super) media: Vec<Media>,
    /// Globs over the name of a partition in the GPT, such as r-data; the class takes partitions then, not disks.
    pub(super) partition_label: Vec<String>,
    /// Types of a partition in the GPT, GUIDs; the class takes partitions then, not disks.
    pub(super) partition_type: Vec<String>,
    /// Labels that people put on the disk's NodeDisk object, where disk-watcher runs with a cluster.
    pub(super) disk_labels: Option<LabelSelector>,
    /// An expression in the words of Talos' diskSelector.
    pub(super) cel: Option<String>,
    /// Files to make as disks, to try things out.
    pub(super) files: Vec<SelectFile>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SelectFile {
    /// Where the file is.
    pub(super) path: String,
    /// Its size.
    #[schemars(with = "Size")]
    pub(super) size: Bytes,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SizeRange {
    /// The smallest.
    #[schemars(with = "Option<Size>")]
    pub(super) min: Option<Bytes>,
    /// The largest.
    #[schemars(with = "Option<Size>")]
    pub(super) max: Option<Bytes>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Exclude {
    /// Globs over links under /dev, and the kernel name.
    pub(super) paths: Vec<String>,
    /// Globs over the model.
    pub(super) model: Vec<String>,
    /// Globs over the serial number.
    pub(super) serial: Vec<String>,
    /// Globs over the WWID.
    pub(super) wwid: Vec<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Limits {
    /// The group is made when this many disks are ready for it.
    pub(super) min_disks: Option<u32>,
    /// At most this many disks join.
    pub(super) max_disks: Option<u32>,
    /// At most this many bytes join.
    #[schemars(with = "Option<Size>")]
    pub(super) max_total: Option<Bytes>,
    /// A disk is touched when no event came for it for so long; 10s unless written.
    #[schemars(with = "Option<Time>")]
    pub(super) settle: Option<DurationText>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Safety {
    /// How much must read as zeroes; unless written all of a disk up to 64Gi, else its head, tail and samples.
    #[schemars(with = "Option<Zeroed>")]
    pub(super) require_zeroed: Option<Spanned<Zeroed>>,
    /// Takes disks that the kernel calls removable.
    pub(super) allow_removable: bool,
    /// Takes disks that have neither WWID nor serial number.
    pub(super) allow_unique_id_missing: bool,
    #[schemars(skip)]
    #[serde(rename = "allowRAIDMembers")]
    allow_raid_members: Later,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub(super) enum Zeroed {
    /// Nothing; signatures are still looked for.
    None,
    /// The first and last 4 MiB and 64 samples.
    HeadAndTail,
    /// All of it.
    Full,
    /// Not supported yet.
    Trimmed,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct VolumeGroup {
    /// Its name.
    pub(super) name: Option<String>,
    #[schemars(skip)]
    name_template: Later,
    /// Its physical extent size.
    #[schemars(with = "Option<Size>")]
    pub(super) extent_size: Option<Bytes>,
    /// Tags besides our own.
    #[serde(default)]
    pub(super) tags: Vec<String>,
    /// Who activates it after a boot: Host unless written.
    #[serde(default)]
    pub(super) activation: Activation,
    /// Whether what nobody has open is deactivated when the watcher ends.
    #[serde(default)]
    pub(super) deactivate_on_exit: bool,
    #[schemars(skip)]
    metadata_copies: Later,
    /// Whether a PV grows when its disk did; true unless written.
    #[serde(rename = "growPVOnResize")]
    pub(super) grow_pv_on_resize: Option<bool>,
    /// What pools do not grow into; 5% unless written.
    #[schemars(with = "Option<Share>")]
    pub(super) vg_reserve: Option<PoolSize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ThinPool {
    /// Its name.
    pub(super) name: String,
    /// The size of its data: a share of the group, or a size.
    #[schemars(with = "Option<Share>")]
    pub(super) size: Option<PoolSize>,
    /// The size it is expected to grow to, for which chunk and metadata are chosen when it is made; four times its first
    /// size unless written.
    #[schemars(with = "Option<Size>")]
    pub(super) expected_max_size: Option<Bytes>,
    /// The size of a chunk.
    pub(super) chunk_size: Option<SizeOr<Chunk>>,
    /// The size of its metadata.
    pub(super) metadata: Option<SizeOr<PoolMetadata>>,
    #[schemars(skip)]
    metadata_device: Later,
    /// Whether the group keeps room to repair the metadata; true unless written.
    pub(super) spare: Option<bool>,
    /// Whether what nobody wrote reads as zeroes; true unless written. Without it a volume shows what others left.
    pub(super) zero: Option<bool>,
    /// What it does with discards; passdown unless written.
    #[serde(default)]
    pub(super) discards: Discards,
    /// What it does with writes when it is full; queue unless written.
    #[serde(default)]
    pub(super) when_full: WhenFull,
    #[schemars(skip)]
    stripes: Later,
    #[schemars(skip)]
    raid: Later,
    /// Whether it grows to its share of the group when disks join; false unless written: it grows as it fills.
    #[serde(default, rename = "followVG")]
    pub(super) follow_vg: bool,
    /// How it grows as it fills.
    #[serde(default)]
    pub(super) auto_extend: AutoExtend,
    #[schemars(skip)]
    on_exhaustion: Later,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Chunk {
    /// Auto, or Static with a value.
    #[schemars(with = "ChunkPolicy")]
    pub(super) policy: Spanned<ChunkPolicy>,
    /// The size, with Static.
    #[schemars(with = "Option<Size>")]
    pub(super) value: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub(super) enum ChunkPolicy {
    /// Chosen for the size of the pool.
    Auto,
    /// A value.
    Static,
    /// Not supported yet.
    Performance,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PoolMetadata {
    /// Auto.
    pub(super) policy: Option<MetadataPolicy>,
    /// Times what the data takes when each chunk is mapped once; 1 unless written. Snapshots that differ much take more.
    #[schemars(range(min = 1, max = 16))]
    pub(super) snapshot_factor: Option<u32>,
    /// The smallest.
    /// Never smaller.
    #[schemars(with = "Option<Size>")]
    pub(super) min: Option<Bytes>,
    /// The largest.
    /// Never larger.
    #[schemars(with = "Option<Size>")]
    pub(super) max: Option<Bytes>,
    /// Exactly this.
    #[schemars(with = "Option<Size>")]
    pub(super) size: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub(super) enum MetadataPolicy {
    /// Computed from the pool.
    Auto,
}

impl Spec {
    /// The fields that do nothing yet, by name.
    pub(super) fn later(&self) -> Vec<Named<'_>> {
        let group = &self.volume_group;
        let mut named = vec![
            ("spec.nodeSelector", &self.node_selector),
            ("spec.priority", &self.priority),
            (
                "spec.safety.allowRAIDMembers",
                &self.safety.allow_raid_members,
            ),
            ("spec.existing.adoptOwnedVG", &self.existing.adopt_owned_vg),
            ("spec.volumeGroup.nameTemplate", &group.name_template),
            ("spec.volumeGroup.metadataCopies", &group.metadata_copies),
        ];
        if let Some(pool) = &self.thin_pool {
            named.extend([
                ("spec.thinPool.metadataDevice", &pool.metadata_device),
                ("spec.thinPool.stripes", &pool.stripes),
                ("spec.thinPool.raid", &pool.raid),
                ("spec.thinPool.onExhaustion", &pool.on_exhaustion),
            ]);
        }
        named
    }
}

/// All that a file holds, by kind.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) classes: Vec<Document>,
    pub(super) removals: Vec<Removal>,
    pub(super) wipes: Vec<Wipe>,
}

/// A DiskWipeRequest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wipe {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    pub(super) metadata: Metadata,
    pub(super) spec: WipeSpec,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct WipeSpec {
    /// The node the disk is in.
    pub(super) node: String,
    /// The disk.
    pub(super) disk_id: String,
    /// What stands on it.
    pub(super) expect: Expect,
    /// How it is wiped.
    pub(super) method: WipeMethod,
    /// When the request is void, such as 2026-11-20T12:00Z.
    pub(super) not_after: String,
    /// "destroy <diskId> on <node>", from a person who has seen what the status says.
    pub(super) confirm: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    /// The fingerprint that the disk's status shows.
    pub(super) fingerprint: String,
    /// The names of all signatures on it.
    pub(super) signatures: Vec<String>,
}

/// A DiskRemovalRequest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    pub(super) metadata: Metadata,
    pub(super) spec: RemovalSpec,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RemovalSpec {
    /// The node the disk is in.
    pub(super) node: String,
    /// The disk, by its id.
    pub(super) disk_id: Option<String>,
    /// Or by the UUID of its PV.
    #[serde(rename = "pvUUID")]
    pub(super) pv_uuid: Option<String>,
    /// The disk is gone and does not come back: what is kept of it is forgotten, and nothing is changed on any disk.
    #[serde(default)]
    pub(super) lost: bool,
}

/// The kind of a DiskClass.
const CLASS: &str = "DiskClass";
/// The kind of a request to take a disk out of its group.
pub(super) const REMOVAL: &str = "DiskRemovalRequest";

/// The kind of a request to wipe a disk.
pub(super) const WIPE: &str = "DiskWipeRequest";

/// Reads the documents of a file.
///
/// # Errors
/// The first thing that is none of ours: syntax, another kind, an unknown key.
pub(super) fn documents(text: &str) -> Result<Documents, Problem> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "apiVersion")]
        api_version: Option<String>,
        kind: Option<String>,
    }
    let heads: Vec<Head> = serde_saphyr::from_multiple(text).map_err(|e| syntax(&e))?;
    for (index, head) in heads.iter().enumerate() {
        let fault = match (head.api_version.as_deref(), head.kind.as_deref()) {
            (Some(API_VERSION), Some(CLASS | REMOVAL | WIPE)) => continue,
            (Some(API_VERSION), Some(kind)) if OTHER_KINDS.contains(&kind) => {
                format!("kind {kind} is not read from this file, remove the document")
            }
            (None, None) if is_node_map(text) => "this is the node map of lvm-disk-watcher \
                 (node: all | none | /dev/...), which names disks by names that change; write a \
                 DiskClass that selects them by /dev/disk/by-id, model or serial instead"
                .to_owned(),
            (version, kind) => format!(
                "apiVersion {} and kind {} where {API_VERSION} and DiskClass belong",
                version.map_or("(none)".to_owned(), |v| format!("{v:?}")),
                kind.map_or("(none)".to_owned(), |k| format!("{k:?}")),
            ),
        };
        return Err(Problem::Document {
            number: index + 1,
            what: fault,
        });
    }
    let kinds: Vec<&str> = heads
        .iter()
        .filter_map(|head| head.kind.as_deref())
        .collect();
    let of = |kind| only(text, &kinds, kind);
    Ok(Documents {
        classes: serde_saphyr::from_multiple(&of(CLASS)).map_err(|e| syntax(&e))?,
        removals: serde_saphyr::from_multiple(&of(REMOVAL)).map_err(|e| syntax(&e))?,
        wipes: serde_saphyr::from_multiple(&of(WIPE)).map_err(|e| syntax(&e))?,
    })
}

/// The text with the documents of other kinds blank, so that lines keep their numbers.
fn only(text: &str, kinds: &[&str], kind: &str) -> String {
    if kinds.iter().all(|k| *k == kind) {
        return text.to_owned();
    }
    let mut documents: Vec<Vec<&str>> = vec![vec![]];
    for line in text.lines() {
        let begins = line.strip_prefix("---");
        if begins.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            documents.push(vec![]);
        }
        if let Some(last) = documents.last_mut() {
            last.push(line);
        }
    }
    let says_something = |lines: &Vec<&str>| {
        lines.iter().any(|line| {
            let line = line.strip_prefix("---").unwrap_or(line).trim();
            !line.is_empty() && !line.starts_with('#')
        })
    };
    let mut kinds = kinds.iter();
    let mut kept = String::new();
    for lines in documents {
        let wanted = says_something(&lines) && kinds.next() == Some(&kind);
        for line in lines {
            kept.push_str(if wanted { line } else { "" });
            kept.push('\n');
        }
    }
    kept
}

/// Whether the text is the one-line form of TrueCharts' lvm-disk-watcher.
fn is_node_map(text: &str) -> bool {
    let maps: Result<Vec<BTreeMap<String, String>>, _> = serde_saphyr::from_multiple(text);
    maps.is_ok_and(|maps| {
        maps.iter().flat_map(BTreeMap::values).all(|value| {
            let value = value.trim();
            value == "all"
                || value == "none"
                || value
                    .split_whitespace()
                    .all(|word| word.starts_with("/dev/"))
        })
    })
}

fn syntax(error: &serde_saphyr::Error) -> Problem {
    let mut text = error.render().trim_end().to_owned();
    let (word, known) = match error.without_snippet() {
        serde_saphyr::Error::SerdeUnknownField {
            field, expected, ..
        } => (field, expected),
        serde_saphyr::Error::SerdeUnknownVariant {
            variant, expected, ..
        } => (variant, expected),
        _ => return Problem::Syntax(text),
    };
    if let Some(near) = nearest(word, known) {
        text.push_str(&format!("\nhelp: did you mean {near:?}?"));
    }
    Problem::Syntax(text)
}

/// The known name that `word` most likely stands for.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(&word, &name.to_lowercase()), *name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
