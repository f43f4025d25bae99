//! The file as it is written: every key of the API, those that work and those that
//! will. Unknown keys are errors with line, caret and the nearest known name.

use std::collections::BTreeMap;

use lvmd::units::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

use super::auto_extend::{AutoExtend, WhenFull};
use super::error::Problem;
use super::values::{DurationText, PoolSize, SizeOr};
use super::{API_VERSION, Activation, Discovery, Media, Mode, WipeMethod};
use crate::facts::Transport;

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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(default)]
    pub(super) mode: Mode,
    #[serde(default)]
    pub(super) discovery: Discovery,
    node_selector: Later,
    priority: Later,
    #[serde(default)]
    pub(super) approved: Vec<Approval>,
    #[serde(default)]
    pub(super) select: Select,
    #[serde(default)]
    pub(super) exclude: Exclude,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) safety: Safety,
    #[serde(default)]
    pub(super) existing: Existing,
    pub(super) volume_group: VolumeGroup,
    pub(super) thin_pool: Option<ThinPool>,
    metadata_backup: Later,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Existing {
    #[serde(rename = "adoptOwnedVG")]
    adopt_owned_vg: Later,
    #[serde(rename = "adoptForeignVG")]
    pub(super) adopt_foreign_vg: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Approval {
    pub(super) node: String,
    pub(super) disk_id: String,
    pub(super) fingerprint: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Select {
    pub(super) paths: Vec<String>,
    pub(super) allow_unstable_names: bool,
    pub(super) model: Vec<String>,
    pub(super) vendor: Vec<String>,
    pub(super) serial: Vec<String>,
    pub(super) wwid: Vec<String>,
    pub(super) size: SizeRange,
    pub(super) transport: Vec<Transport>,
    pub(super) media: Vec<Media>,
    partition_label: Later,
    partition_type: Later,
    disk_labels: Later,
    pub(super) cel: Option<String>,
    pub(super) files: Vec<SelectFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SelectFile {
    pub(super) path: String,
    pub(super) size: Bytes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SizeRange {
    pub(super) min: Option<Bytes>,
    pub(super) max: Option<Bytes>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Exclude {
    pub(super) paths: Vec<String>,
    pub(super) model: Vec<String>,
    pub(super) serial: Vec<String>,
    pub(super) wwid: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Limits {
    pub(super) min_disks: Option<u32>,
    pub(super) max_disks: Option<u32>,
    pub(super) max_total: Option<Bytes>,
    pub(super) settle: Option<DurationText>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Safety {
    pub(super) require_zeroed: Option<Spanned<Zeroed>>,
    pub(super) allow_removable: bool,
    pub(super) allow_unique_id_missing: bool,
    #[serde(rename = "allowRAIDMembers")]
    allow_raid_members: Later,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) enum Zeroed {
    None,
    HeadAndTail,
    Full,
    Trimmed,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct VolumeGroup {
    pub(super) name: Option<String>,
    name_template: Later,
    pub(super) extent_size: Option<Bytes>,
    #[serde(default)]
    pub(super) tags: Vec<String>,
    #[serde(default)]
    pub(super) activation: Activation,
    #[serde(default)]
    pub(super) deactivate_on_exit: bool,
    metadata_copies: Later,
    #[serde(rename = "growPVOnResize")]
    pub(super) grow_pv_on_resize: Option<bool>,
    pub(super) vg_reserve: Option<PoolSize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ThinPool {
    pub(super) name: String,
    pub(super) size: Option<PoolSize>,
    expected_max_size: Later,
    pub(super) chunk_size: Option<SizeOr<Chunk>>,
    pub(super) metadata: Option<SizeOr<PoolMetadata>>,
    metadata_device: Later,
    pub(super) spare: Option<bool>,
    zero: Later,
    discards: Later,
    #[serde(default)]
    pub(super) when_full: WhenFull,
    stripes: Later,
    raid: Later,
    #[serde(rename = "followVG")]
    follow_vg: Later,
    #[serde(default)]
    pub(super) auto_extend: AutoExtend,
    on_exhaustion: Later,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chunk {
    pub(super) policy: Spanned<ChunkPolicy>,
    pub(super) value: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) enum ChunkPolicy {
    Auto,
    Static,
    Performance,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PoolMetadata {
    pub(super) policy: Option<MetadataPolicy>,
    pub(super) snapshot_factor: Later,
    pub(super) min: Option<Bytes>,
    pub(super) max: Option<Bytes>,
    pub(super) size: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) enum MetadataPolicy {
    Auto,
}

impl Spec {
    /// The fields that do nothing yet, by name.
    pub(super) fn later(&self) -> Vec<Named<'_>> {
        let (select, group) = (&self.select, &self.volume_group);
        let mut named = vec![
            ("spec.nodeSelector", &self.node_selector),
            ("spec.priority", &self.priority),
            ("spec.select.partitionLabel", &select.partition_label),
            ("spec.select.partitionType", &select.partition_type),
            ("spec.select.diskLabels", &select.disk_labels),
            (
                "spec.safety.allowRAIDMembers",
                &self.safety.allow_raid_members,
            ),
            ("spec.existing.adoptOwnedVG", &self.existing.adopt_owned_vg),
            ("spec.volumeGroup.nameTemplate", &group.name_template),
            ("spec.volumeGroup.metadataCopies", &group.metadata_copies),
            ("spec.metadataBackup", &self.metadata_backup),
        ];
        if let Some(pool) = &self.thin_pool {
            named.extend([
                ("spec.thinPool.expectedMaxSize", &pool.expected_max_size),
                ("spec.thinPool.metadataDevice", &pool.metadata_device),
                ("spec.thinPool.zero", &pool.zero),
                ("spec.thinPool.discards", &pool.discards),
                ("spec.thinPool.stripes", &pool.stripes),
                ("spec.thinPool.raid", &pool.raid),
                ("spec.thinPool.followVG", &pool.follow_vg),
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct WipeSpec {
    pub(super) node: String,
    pub(super) disk_id: String,
    pub(super) expect: Expect,
    pub(super) method: WipeMethod,
    pub(super) not_after: String,
    pub(super) confirm: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) fingerprint: String,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RemovalSpec {
    pub(super) node: String,
    pub(super) disk_id: Option<String>,
    #[serde(rename = "pvUUID")]
    pub(super) pv_uuid: Option<String>,
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
