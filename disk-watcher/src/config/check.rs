//! From the file as written to classes that hold every rule, or all that is wrong.

mod approved;
mod files;
mod partition;
mod pool;

use std::collections::BTreeMap;
use std::time::Duration;

use lvmd::units::{Bytes, GIB, KIB, MIB};

use super::error::Problem;
use super::raw::{self, Document};
use super::values::{Percent, PoolSize};
use super::{
    Activation, DEFAULT_MIN_SIZE, DiskClass, Exclude, Limits, RequireZeroed, Safety, Select,
    VolumeGroup, lvm_name, unsupported,
};
use crate::backup::KEPT;
use crate::labels::LabelSelector;
use crate::pattern::Pattern;
use crate::select::Cel;

/// LVM's default extent.
const DEFAULT_EXTENT: Bytes = Bytes(4 * MIB);
/// The smallest extent we take: LVM allows less, no volume wants it.
const EXTENT_MIN: u64 = 128 * KIB;
/// The largest extent we take.
const EXTENT_MAX: u64 = 16 * GIB;
/// How long a disk stays quiet before it is touched, unless the class says otherwise.
const DEFAULT_SETTLE: Duration = Duration::from_secs(10);

/// Turns documents into classes.
pub(super) fn classes(documents: Vec<Document>) -> Result<Vec<DiskClass>, Vec<Problem>> {
    let mut problems = Vec::new();
    let classes: Vec<DiskClass> = documents
        .into_iter()
        .map(|document| {
            let mut check = Check {
                class: document.metadata.name.clone(),
                problems: &mut problems,
            };
            check.document(document)
        })
        .collect();
    problems.extend(clashes(&classes));
    if problems.is_empty() {
        Ok(classes)
    } else {
        Err(problems)
    }
}

/// Classes that share a name, a volume group or a file.
pub(super) fn clashes(classes: &[DiskClass]) -> Vec<Problem> {
    let mut problems = twins(classes);
    problems.extend(files::shared(classes));
    problems
}

/// Classes that share a name or a volume group: all of them are at fault, because
/// which one is meant cannot be told.
pub(super) fn twins(classes: &[DiskClass]) -> Vec<Problem> {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for class in classes {
        *names.entry(&class.name).or_default() += 1;
        if !class.volume_group.name.is_empty() {
            let users = groups.entry(&class.volume_group.name).or_default();
            users.push(&class.name);
        }
    }
    let mut problems: Vec<Problem> = names
        .iter()
        .filter(|(_, count)| **count > 1)
        .map(|(name, count)| Problem::Value {
            class: (*name).to_owned(),
            field: "metadata.name".to_owned(),
            what: format!("{count} documents have this name; give each class its own"),
        })
        .collect();
    for (group, users) in groups.iter().filter(|(_, users)| users.len() > 1) {
        problems.extend(users.iter().map(|class| Problem::Value {
            class: (*class).to_owned(),
            field: "spec.volumeGroup.name".to_owned(),
            what: format!(
                "{group:?} is the group of {} classes ({}), all are refused; give each its own group",
                users.len(),
                users.join(", ")
            ),
        }));
    }
    problems
}

/// Checks one class; what it returns is used only when no problem was found.
struct Check<'a> {
    class: String,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn fault(&mut self, field: &str, what: impl Into<String>) {
        self.problems.push(Problem::Value {
            class: self.class.clone(),
            field: field.to_owned(),
            what: what.into(),
        });
    }

    fn rule(&mut self, field: &str, result: Result<(), String>) {
        if let Err(what) = result {
            self.fault(field, what);
        }
    }

    fn not_yet(&mut self, field: &str, line: u64) {
        self.problems.push(Problem::NotYet {
            class: self.class.clone(),
            field: field.to_owned(),
            line,
            why: unsupported::why(field),
        });
    }

    fn document(&mut self, document: Document) -> DiskClass {
        self.class_name();
        let later: Vec<(&str, u64)> = document
            .spec
            .later()
            .into_iter()
            .filter_map(|(name, field)| Some((name, field.as_ref()?.referenced.line())))
            .collect();
        for (name, line) in later {
            self.not_yet(name, line);
        }
        let spec = document.spec;
        let select = self.select(spec.select);
        let limits = self.limits(&spec.limits);
        let thin_pool = spec
            .thin_pool
            .map(|pool| self.thin_pool(pool, select.min, limits.min_disks));
        DiskClass {
            name: document.metadata.name,
            mode: spec.mode,
            discovery: spec.discovery,
            approved: self.approved(spec.approved),
            existing: self.existing(spec.existing),
            secret_changes: self.secret_changes(&spec.metadata_backup),
            exclude: self.exclude(spec.exclude, select.allow_unstable_names),
            safety: self.safety(&spec.safety),
            volume_group: self.volume_group(spec.volume_group, thin_pool.is_some()),
            select,
            limits,
            thin_pool,
            recalled: None,
        }
    }

    fn class_name(&mut self) {
        let name = self.class.clone();
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        let allowed =
            |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-' || *b == b'.';
        let ok = bytes.len() <= 63
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(allowed);
        if !ok {
            self.fault(
                "metadata.name",
                format!(
                    "{name:?} is no class name: 1 to 63 of a-z 0-9 - ., beginning and ending with a letter or digit"
                ),
            );
        }
    }

    fn select(&mut self, raw: raw::Select) -> Select {
        let min = raw.size.min.unwrap_or(DEFAULT_MIN_SIZE);
        if let Some(max) = raw.size.max.filter(|max| *max < min) {
            self.fault(
                "spec.select.size",
                format!("max {max} is less than min {min}, so no disk can match (min defaults to {DEFAULT_MIN_SIZE})"),
            );
        }
        let cel = raw
            .cel
            .as_deref()
            .and_then(|text| self.cel(text, raw.allow_unstable_names));
        let given = !raw.transport.is_empty()
            || cel.as_ref().is_some_and(Cel::tells_disks_apart)
            || !raw.media.is_empty()
            || raw
                .disk_labels
                .as_ref()
                .is_some_and(LabelSelector::wants_a_label)
            || [&raw.paths, &raw.model, &raw.vendor, &raw.serial, &raw.wwid]
                .iter()
                .any(|list| !list.is_empty())
            || !raw.partition_label.is_empty()
            || !raw.partition_type.is_empty();
        let files = self.files(raw.files);
        if !given && files.is_empty() {
            self.fault(
                "spec.select",
                "selects every disk of the node; give at least one of paths, model, vendor, \
                 serial, wwid, transport, media, partitionLabel, partitionType, files, diskLabels with a label that a disk must have, or cel over such a field \
                 (size alone does not count)",
            );
        }
        if let Some(labels) = &raw.disk_labels {
            let checked = labels.check();
            self.rule("spec.select.diskLabels", checked);
            // A NodeDisk that is made anew has no labels, so a label must never be what keeps a disk from being taken.
            if !labels.wants_a_label() {
                self.fault(
                    "spec.select.diskLabels",
                    "means disks without any label too, and a disk may lose its labels (its NodeDisk goes with its Node, or when \
                     the disk is away); ask for a label that a disk must have (matchLabels, In, Exists), or keep disks out by \
                     spec.exclude",
                );
            }
        }
        let select = Select {
            disk_labels: raw.disk_labels,
            paths: self.paths("spec.select.paths", &raw.paths, raw.allow_unstable_names),
            named: None,
            allow_unstable_names: raw.allow_unstable_names,
            model: self.patterns("spec.select.model", &raw.model),
            vendor: self.patterns("spec.select.vendor", &raw.vendor),
            serial: self.patterns("spec.select.serial", &raw.serial),
            wwid: self.patterns("spec.select.wwid", &raw.wwid),
            min,
            max: raw.size.max,
            transport: raw.transport,
            media: raw.media,
            partition_label: self.patterns("spec.select.partitionLabel", &raw.partition_label),
            partition_type: self.partition_types(&raw.partition_type),
            cel,
            only_files: !given && !files.is_empty(),
            files,
        };
        for (field, list) in [
            ("spec.select.model", &select.model),
            ("spec.select.vendor", &select.vendor),
            ("spec.select.serial", &select.serial),
            ("spec.select.wwid", &select.wwid),
            ("spec.select.partitionLabel", &select.partition_label),
        ] {
            for pattern in list.iter().filter(|p| p.matches_everything()) {
                self.fault(
                    field,
                    format!("\"{pattern}\" matches every disk; write what tells yours apart"),
                );
            }
        }
        if select.takes_partitions() && !select.files.is_empty() {
            self.fault(
                "spec.select.files",
                "a class takes partitions or makes files; give each a class of its own",
            );
        }
        select
    }

    fn cel(&mut self, text: &str, unstable: bool) -> Option<Cel> {
        const FIELD: &str = "spec.select.cel";
        let cel = match Cel::new(text) {
            Ok(cel) => cel,
            Err(why) => {
                self.fault(FIELD, format!("{text:?}: {why}"));
                return None;
            }
        };
        if cel.reads_kernel_names() && !unstable {
            self.fault(
                FIELD,
                "disk.dev_path names another disk after the next boot; use disk.symlinks, or set \
                 spec.select.allowUnstableNames: true",
            );
        }
        Some(cel)
    }

    fn exclude(&mut self, raw: raw::Exclude, unstable: bool) -> Exclude {
        Exclude {
            paths: self.paths("spec.exclude.paths", &raw.paths, unstable),
            model: self.patterns("spec.exclude.model", &raw.model),
            serial: self.patterns("spec.exclude.serial", &raw.serial),
            wwid: self.patterns("spec.exclude.wwid", &raw.wwid),
        }
    }

    fn patterns(&mut self, field: &str, texts: &[String]) -> Vec<Pattern> {
        let mut patterns = Vec::with_capacity(texts.len());
        for text in texts {
            match Pattern::new(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.fault(field, error.to_string()),
            }
        }
        patterns
    }

    fn paths(&mut self, field: &str, texts: &[String], unstable: bool) -> Vec<Pattern> {
        let patterns = self.patterns(field, texts);
        for pattern in &patterns {
            let text = pattern.as_str();
            if !text.starts_with("/dev/") {
                self.fault(field, format!("{text:?} is not under /dev/"));
            } else if !unstable && crate::select::may_be_unstable(pattern) {
                self.fault(
                    field,
                    format!(
                        "{text:?} may name another disk after the next boot; use a link under \
                         /dev/disk/by-id or by-path, or set spec.select.allowUnstableNames: true"
                    ),
                );
            }
        }
        patterns
    }

    fn limits(&mut self, raw: &raw::Limits) -> Limits {
        let min_disks = raw.min_disks.unwrap_or(1);
        if min_disks == 0 {
            self.fault(
                "spec.limits.minDisks",
                "0 disks make no volume group; write 1 or more",
            );
        }
        if let Some(max) = raw.max_disks.filter(|max| *max < min_disks) {
            self.fault(
                "spec.limits.maxDisks",
                format!("{max} is less than minDisks {min_disks}, so no group would ever be made"),
            );
        }
        Limits {
            min_disks,
            max_disks: raw.max_disks,
            max_total: raw.max_total,
            settle: raw.settle.map_or(DEFAULT_SETTLE, |d| d.0),
        }
    }

    fn secret_changes(&mut self, raw: &raw::MetadataBackup) -> usize {
        let keep = raw.keep.map_or(KEPT, |keep| keep as usize);
        if !(1..=KEPT).contains(&keep) {
            self.fault(
                "spec.metadataBackup.keep",
                format!("{keep} is not from 1 to {KEPT}, which is what the node itself keeps; to keep none in a Secret write to: None"),
            );
        }
        match raw.to {
            raw::BackupTo::Secret => keep,
            raw::BackupTo::None => 0,
        }
    }

    fn safety(&mut self, raw: &raw::Safety) -> Safety {
        let require_zeroed = raw
            .require_zeroed
            .as_ref()
            .and_then(|wanted| match wanted.value {
                raw::Zeroed::None => Some(RequireZeroed::None),
                raw::Zeroed::HeadAndTail => Some(RequireZeroed::HeadAndTail),
                raw::Zeroed::Full => Some(RequireZeroed::Full),
                raw::Zeroed::Trimmed => {
                    self.not_yet(
                        "spec.safety.requireZeroed: Trimmed",
                        wanted.referenced.line(),
                    );
                    None
                }
            });
        Safety {
            require_zeroed,
            allow_removable: raw.allow_removable,
            allow_unique_id_missing: raw.allow_unique_id_missing,
        }
    }

    fn volume_group(&mut self, raw: raw::VolumeGroup, has_pool: bool) -> VolumeGroup {
        if !has_pool && (raw.activation != Activation::Host || raw.deactivate_on_exit) {
            self.fault(
                "spec.volumeGroup.activation",
                "is about thin pools; lvmd activates thick volumes when they are used: \
                 remove activation and deactivateOnExit, or write a thinPool",
            );
        }
        let name = raw.name.unwrap_or_default();
        if name.is_empty() {
            self.fault("spec.volumeGroup.name", "is missing; name the volume group");
        } else {
            self.rule("spec.volumeGroup.name", lvm_name::volume_group(&name));
        }
        let extent_size = raw.extent_size.unwrap_or(DEFAULT_EXTENT);
        if !extent_size.0.is_power_of_two() || !(EXTENT_MIN..=EXTENT_MAX).contains(&extent_size.0) {
            self.fault(
                "spec.volumeGroup.extentSize",
                format!("{extent_size} is no power of two from 128Ki to 16Gi"),
            );
        }
        for tag in &raw.tags {
            self.rule("spec.volumeGroup.tags", lvm_name::tag(tag));
        }
        VolumeGroup {
            name,
            extent_size,
            tags: raw.tags,
            grow_pv_on_resize: raw.grow_pv_on_resize.unwrap_or(true),
            reserve: raw
                .vg_reserve
                .unwrap_or(PoolSize::OfGroup(Percent::whole(5))),
            activation: raw.activation,
            deactivate_on_exit: raw.deactivate_on_exit,
        }
    }
}
