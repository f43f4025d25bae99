//! Which class picks a disk, and why the others do not. Pure.
//!
//! Size is part of the choice, so that two classes may share a model and split it by
//! size; but a disk that misses one class by its size alone is reported as too small
//! or too large for it, not as unwanted.

mod cel;
mod vocabulary;

use serde::Serialize;

pub use self::cel::Cel;

use crate::config::{DiskClass, Media, Named};
use crate::facts::{DiskFacts, PartEntry, Transport};
use crate::pattern::Pattern;

/// What one class makes of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The class.
    pub class: String,
    /// Its answer.
    pub answer: Answer,
}

/// Whether a class picks a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Answer {
    /// It does.
    Selected,
    /// An exclusion names the disk.
    Excluded(Miss),
    /// All holds but the size: smaller than the class takes.
    TooSmall(Miss),
    /// All holds but the size: larger than the class takes.
    TooLarge(Miss),
    /// These predicates do not hold.
    Missed(Vec<Miss>),
}

/// One predicate and what the disk has instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// The field, from `spec` on.
    pub field: &'static str,
    /// What was wanted and what the disk has.
    pub detail: String,
}

/// What all classes together make of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Selection {
    /// No class picks it.
    Nobody,
    /// Exactly one class picks it.
    Class(String),
    /// Several do; none gets it.
    Conflict(Vec<String>),
    /// No class picks it, and these would if it were larger or smaller.
    BySizeOnly(Vec<Explanation>),
}

/// Asks every class.
pub fn explain(classes: &[DiskClass], disk: &DiskFacts) -> Vec<Explanation> {
    classes
        .iter()
        .map(|class| Explanation {
            class: class.name.clone(),
            answer: ask(class, disk),
        })
        .collect()
}

/// Puts the answers together. A paused class counts: its disks are spoken for.
pub fn decide(explanations: &[Explanation]) -> Selection {
    let picked: Vec<String> = explanations
        .iter()
        .filter(|e| e.answer == Answer::Selected)
        .map(|e| e.class.clone())
        .collect();
    match picked.as_slice() {
        [class] => return Selection::Class(class.clone()),
        [] => {}
        _ => return Selection::Conflict(picked),
    }
    let by_size: Vec<Explanation> = explanations
        .iter()
        .filter(|e| matches!(e.answer, Answer::TooSmall(_) | Answer::TooLarge(_)))
        .cloned()
        .collect();
    if by_size.is_empty() {
        Selection::Nobody
    } else {
        Selection::BySizeOnly(by_size)
    }
}

/// Asks one class.
pub fn ask(class: &DiskClass, disk: &DiskFacts) -> Answer {
    if let Some(miss) = excluded(class, disk) {
        return Answer::Excluded(miss);
    }
    let select = &class.select;
    if let Some(answer) = files(class, disk) {
        return answer;
    }
    let mut misses: Vec<Miss> = partition(class, disk).into_iter().collect();
    let names = stable_names(disk, select.allow_unstable_names);
    let paths = select.paths.iter();
    if !select.paths.is_empty()
        && !paths
            .clone()
            .any(|p| names.iter().any(|name| p.matches_path(name)))
    {
        misses.push(Miss {
            field: "spec.select.paths",
            detail: format!(
                "none of its links ({}) matches {}",
                list(&names),
                list(&select.paths)
            ),
        });
    }
    misses.extend(select.named.as_ref().and_then(|names| named(names, disk)));
    for (field, patterns, words) in [
        ("spec.select.model", &select.model, models(disk)),
        ("spec.select.vendor", &select.vendor, vendors(disk)),
        ("spec.select.serial", &select.serial, serials(disk)),
        ("spec.select.wwid", &select.wwid, wwids(disk)),
    ] {
        let matches = |p: &Pattern| words.iter().any(|word| p.matches_text(word));
        if !patterns.is_empty() && !patterns.iter().any(matches) {
            misses.push(Miss {
                field,
                detail: format!("{} does not match {}", list(&words), list(patterns)),
            });
        }
    }
    if !select.transport.is_empty()
        && !disk
            .transport
            .is_some_and(|transport| select.transport.contains(&transport))
    {
        misses.push(Miss {
            field: "spec.select.transport",
            detail: format!(
                "{} is not one of {}",
                disk.transport.map_or("an unknown bus", Transport::as_str),
                list(&select.transport)
            ),
        });
    }
    if !select.media.is_empty() && !select.media.iter().any(|media| is_media(disk, *media)) {
        misses.push(Miss {
            field: "spec.select.media",
            detail: match disk.rotational {
                Some(true) => "it rotates".to_owned(),
                Some(false) => "it does not rotate".to_owned(),
                None => "whether it rotates is not known".to_owned(),
            },
        });
    }
    misses.extend(labels(class, disk));
    if let Some(cel) = &select.cel {
        let detail = match cel.picks(disk.whole(), select.allow_unstable_names) {
            Ok(true) => None,
            Ok(false) => Some(format!("{cel} is false")),
            Err(why) => Some(format!("{cel} cannot be told: {why}")),
        };
        misses.extend(detail.map(|detail| Miss {
            field: "spec.select.cel",
            detail,
        }));
    }
    if misses.is_empty() {
        size(class, disk)
    } else {
        Answer::Missed(misses)
    }
}

/// A class takes whole disks, or the partitions that it selects by name or type.
fn partition(class: &DiskClass, disk: &DiskFacts) -> Option<Miss> {
    let select = &class.select;
    let field = match select.partition_label.is_empty() {
        false => "spec.select.partitionLabel",
        true => "spec.select.partitionType",
    };
    let miss = |field, detail: String| Some(Miss { field, detail });
    match (&disk.part, select.takes_partitions()) {
        (None, false) => None,
        (None, true) => miss(
            field,
            "it is a whole disk, and the class takes partitions".into(),
        ),
        (Some(_), false) => miss(
            "spec.select.partitionLabel",
            "it is a partition, and the class takes whole disks".into(),
        ),
        (Some(part), true) => match &part.entry {
            None => miss(field, "what it is called is not known".into()),
            Some(entry) if names_partition(class, entry) => None,
            Some(PartEntry {
                label, type_guid, ..
            }) => miss(
                field,
                format!("a partition named {label:?} of type {type_guid} is not selected"),
            ),
        },
    }
}

/// Whether the class selects partitions of this name and type.
pub(crate) fn names_partition(class: &DiskClass, entry: &PartEntry) -> bool {
    let (labels, types) = (&class.select.partition_label, &class.select.partition_type);
    let named = labels.is_empty() || labels.iter().any(|p| p.matches_text(&entry.label));
    let typed = types.is_empty() || types.contains(&entry.type_guid);
    class.select.takes_partitions() && named && typed
}

/// Labels that are not known are not taken for none: a class may ask that one is missing.
fn labels(class: &DiskClass, disk: &DiskFacts) -> Option<Miss> {
    let selector = class.select.disk_labels.as_ref()?;
    let detail = match &disk.labels {
        None => "the labels of its NodeDisk object are not known; it needs an id, and the API server has to tell of it".to_owned(),
        Some(labels) if selector.selects(labels) => return None,
        Some(_) => format!("its NodeDisk object does not have {selector}"),
    };
    Some(Miss {
        field: "spec.select.diskLabels",
        detail,
    })
}

/// A file of ours is the disk of the class that lists it and of no other, and a class that only
/// lists files takes nothing else. `None`: files have no part in it.
fn files(class: &DiskClass, disk: &DiskFacts) -> Option<Answer> {
    let select = &class.select;
    let detail = match &disk.file {
        Some(made) if select.files.iter().any(|file| file.path == made.path) => {
            return Some(Answer::Selected);
        }
        Some(made) => format!("the class does not list {}", made.path.display()),
        None if select.only_files => "the class lists files and selects no disk".to_owned(),
        None => return None,
    };
    Some(Answer::Missed(vec![Miss {
        field: "spec.select.files",
        detail,
    }]))
}

/// A name stands for the disk it was bound to, or for whichever has it while it is new.
fn named(names: &[Named], disk: &DiskFacts) -> Option<Miss> {
    let id = disk.identify();
    let stands_for_it = |name: &Named| match &name.bound {
        Some(bound) => Some(bound) == id.id(),
        None => disk.is_called(&name.path),
    };
    if names.iter().any(stands_for_it) {
        return None;
    }
    let lost = names.iter().find(|name| disk.is_called(&name.path));
    let detail = match lost {
        Some(name) => format!(
            "{name}: this is another disk, and names are not followed; to bind the name anew, take \
             it out of the file, wait until that is read, and put it back"
        ),
        None => format!("it is none of {}", list(names)),
    };
    Some(Miss {
        field: "disk-config",
        detail,
    })
}

fn size(class: &DiskClass, disk: &DiskFacts) -> Answer {
    const FIELD: &str = "spec.select.size";
    let select = &class.select;
    let Some(size) = disk.size else {
        return Answer::Missed(vec![Miss {
            field: FIELD,
            detail: "its size is not known".to_owned(),
        }]);
    };
    if size < select.min {
        return Answer::TooSmall(Miss {
            field: FIELD,
            detail: format!(
                "{size} is less than min {} of class {}",
                select.min, class.name
            ),
        });
    }
    match select.max {
        Some(max) if size > max => Answer::TooLarge(Miss {
            field: FIELD,
            detail: format!("{size} is more than max {max} of class {}", class.name),
        }),
        _ => Answer::Selected,
    }
}

fn excluded(class: &DiskClass, disk: &DiskFacts) -> Option<Miss> {
    let exclude = &class.exclude;
    let mut paths = Vec::new();
    for named in with_its_disk(disk) {
        paths.extend_from_slice(named.links());
        paths.push(named.node());
    }
    for (field, patterns, words) in [
        ("spec.exclude.paths", &exclude.paths, paths),
        ("spec.exclude.model", &exclude.model, models(disk)),
        ("spec.exclude.serial", &exclude.serial, serials(disk)),
        ("spec.exclude.wwid", &exclude.wwid, wwids(disk)),
    ] {
        for pattern in patterns {
            if let Some(word) = words.iter().find(|word| pattern.matches_loosely(word)) {
                return Some(Miss {
                    field,
                    detail: format!("{word} matches {pattern}"),
                });
            }
        }
    }
    None
}

/// Kernel names that follow the order of discovery, up to their number or letter.
const KERNEL_NAMES: [&str; 20] = [
    "sd", "nvme", "vd", "xvd", "hd", "mmcblk", "ubd", "dm-", "md", "loop", "sr", "nbd", "rbd",
    "drbd", "zd", "ram", "zram", "pmem", "bcache", "dasd",
];

/// Whether a path pattern may match a name that another disk has after the next boot.
pub(crate) fn may_be_unstable(pattern: &Pattern) -> bool {
    let Some(rest) = pattern.as_str().strip_prefix("/dev/") else {
        return true;
    };
    if rest.contains('/') {
        return ["block/", "cciss/", "mapper/", "disk/by-diskseq"]
            .iter()
            .any(|dir| rest.starts_with(dir));
    }
    let literal = pattern
        .literal_prefix()
        .strip_prefix("/dev/")
        .unwrap_or_default();
    let whole = literal.len() == rest.len();
    KERNEL_NAMES
        .iter()
        .any(|name| match literal.strip_prefix(name) {
            // Short, as sda, sdaa, nvme0n1 and mmcblk0 are; a link of one's own is longer.
            Some(number) => !whole || number.len() <= 5,
            None => !whole && name.starts_with(literal),
        })
}

/// The disk; a partition, and its disk.
fn with_its_disk(disk: &DiskFacts) -> impl Iterator<Item = &DiskFacts> {
    let whole = disk.part.as_ref().map(|part| &part.disk);
    std::iter::once(disk).chain(whole)
}

/// The names a path may select by; a partition has those of its disk too.
fn stable_names(disk: &DiskFacts, unstable: bool) -> Vec<String> {
    let mut names = Vec::new();
    for named in with_its_disk(disk) {
        let links = named.links().iter();
        let stable = |link: &&String| unstable || !link.starts_with("/dev/disk/by-diskseq/");
        names.extend(links.filter(stable).cloned());
        if unstable {
            names.push(named.node());
        }
    }
    names
}

/// sysfs has a model as the disk says it, udev has it with underscores: both are known
/// to people, so both match.
fn models(disk: &DiskFacts) -> Vec<String> {
    words([
        disk.model.as_deref(),
        disk.whole().udev.property("ID_MODEL"),
    ])
}

fn vendors(disk: &DiskFacts) -> Vec<String> {
    words([
        disk.vendor.as_deref(),
        disk.whole().udev.property("ID_VENDOR"),
    ])
}

fn serials(disk: &DiskFacts) -> Vec<String> {
    words([
        disk.serial.as_deref(),
        disk.whole().udev.property("ID_SERIAL_SHORT"),
        disk.whole().udev.property("ID_SCSI_SERIAL"),
        disk.whole().udev.property("ID_SERIAL"),
    ])
}

fn wwids(disk: &DiskFacts) -> Vec<String> {
    let ids = [disk.identify(), disk.whole().identify()];
    words([
        disk.wwid.as_deref(),
        disk.whole().udev.property("ID_WWN"),
        disk.whole().udev.property("ID_WWN_WITH_EXTENSION"),
        ids[0].id().map(crate::facts::DiskId::as_str),
        ids[1].id().map(crate::facts::DiskId::as_str),
    ])
}

fn words<'a>(from: impl IntoIterator<Item = Option<&'a str>>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in from.into_iter().flatten() {
        if !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    words
}

fn is_media(disk: &DiskFacts, media: Media) -> bool {
    match media {
        Media::Ssd => disk.rotational == Some(false),
        Media::Hdd => disk.rotational == Some(true),
        Media::Nvme => matches!(disk.transport, Some(Transport::Nvme | Transport::Nvmeof)),
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests;
