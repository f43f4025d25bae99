//! What disk-watcher says of the disks and thin pools of all nodes.

use kube::ResourceExt;
use kube::core::DynamicObject;
use lvmd::units::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::table::{Row, size};
use super::why::{Finding, Verdict};

/// A disk.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskRow {
    /// The node.
    pub node: String,
    /// Its kernel name; empty while it is missing.
    pub device: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its model.
    pub model: String,
    /// The class that picks it or has it.
    pub class: String,
    /// Where it stands.
    pub state: String,
    /// Why, in short.
    pub why: String,
    /// The NodeDisk.
    pub name: String,
}

impl Row for DiskRow {
    const COLUMNS: &'static [&'static str] =
        &["NODE", "DEVICE", "SIZE", "MODEL", "CLASS", "STATE", "WHY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.node.clone(),
            self.device.clone(),
            size(Bytes(self.size_bytes)),
            self.model.clone(),
            self.class.clone(),
            self.state.clone(),
            self.why.clone(),
        ]
    }
}

/// A thin pool.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolRow {
    /// The node.
    pub node: String,
    /// Its volume group.
    pub volume_group: String,
    /// Its name.
    pub pool: String,
    /// The DiskClass it is of.
    pub class: String,
    /// Size of its data in bytes.
    pub size_bytes: u64,
    /// Used data in bytes.
    pub used_bytes: u64,
    /// Size of its metadata in bytes.
    pub metadata_size_bytes: u64,
    /// Used metadata in bytes.
    pub metadata_used_bytes: u64,
    /// Where it stands.
    pub state: String,
    /// When it is full at the rate at which it fills, in seconds.
    pub time_to_full_seconds: Option<u64>,
}

impl Row for PoolRow {
    const COLUMNS: &'static [&'static str] = &[
        "NODE", "GROUP", "POOL", "CLASS", "SIZE", "DATA", "METADATA", "STATE", "FULL IN",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.node.clone(),
            self.volume_group.clone(),
            self.pool.clone(),
            self.class.clone(),
            size(Bytes(self.size_bytes)),
            percent(self.used_bytes, self.size_bytes),
            percent(self.metadata_used_bytes, self.metadata_size_bytes),
            self.state.clone(),
            self.time_to_full_seconds.map(hours).unwrap_or_default(),
        ]
    }
}

fn percent(part: u64, whole: u64) -> String {
    let percent = (u128::from(part) * 100).checked_div(u128::from(whole));
    percent
        .map(|percent| format!("{percent}%"))
        .unwrap_or_default()
}

fn hours(seconds: u64) -> String {
    match seconds / 3600 {
        0 => format!("{} min", seconds / 60),
        hours if hours < 48 => format!("{hours} h"),
        hours => format!("{} d", hours / 24),
    }
}

/// A field of an object; nothing where it is missing or of another kind.
fn field<T: DeserializeOwned + Default>(object: &DynamicObject, part: &str, key: &str) -> T {
    let value = object.data[part][key].clone();
    serde_json::from_value(value).unwrap_or_default()
}

/// All disks, by node and device.
pub fn disks(objects: &[DynamicObject]) -> Vec<DiskRow> {
    let mut rows: Vec<_> = objects.iter().map(disk).collect();
    rows.sort_by(|a, b| (&a.node, &a.device).cmp(&(&b.node, &b.device)));
    rows
}

fn disk(object: &DynamicObject) -> DiskRow {
    let text = |key: &str| field::<String>(object, "status", key);
    DiskRow {
        node: field(object, "spec", "nodeName"),
        device: text("device"),
        size_bytes: field(object, "status", "sizeBytes"),
        model: text("model"),
        class: text("class"),
        state: text("state"),
        why: text("summary"),
        name: object.name_any(),
    }
}

/// All pools, by node, group and name.
pub fn pools(objects: &[DynamicObject]) -> Vec<PoolRow> {
    let mut rows: Vec<_> = objects.iter().map(pool).collect();
    rows.sort_by(|a, b| {
        (&a.node, &a.volume_group, &a.pool).cmp(&(&b.node, &b.volume_group, &b.pool))
    });
    rows
}

fn pool(object: &DynamicObject) -> PoolRow {
    let text = |key: &str| field::<String>(object, "status", key);
    let number = |key: &str| field::<u64>(object, "status", key);
    PoolRow {
        node: field(object, "spec", "nodeName"),
        volume_group: text("volumeGroup"),
        pool: text("name"),
        class: text("class"),
        size_bytes: number("sizeBytes"),
        used_bytes: number("usedBytes"),
        metadata_size_bytes: number("metadataSizeBytes"),
        metadata_used_bytes: number("metadataUsedBytes"),
        state: text("state"),
        time_to_full_seconds: field(object, "status", "timeToFullSeconds"),
    }
}

/// Why one disk is not used: everything that speaks against it, and what a person can do.
/// `None` if no disk has this object name, device or serial number.
pub fn why(objects: &[DynamicObject], wanted: &str) -> Option<Vec<Finding>> {
    let wanted = wanted.strip_prefix("/dev/").unwrap_or(wanted);
    let is = |object: &&DynamicObject| {
        let told = ["device", "serial"].map(|key| field::<String>(object, "status", key));
        let short = told[0].strip_prefix("/dev/").unwrap_or(&told[0]);
        object.name_any() == wanted || short == wanted || told[1] == wanted
    };
    let found: Vec<_> = objects.iter().filter(is).collect();
    if found.is_empty() {
        return None;
    }
    Some(found.into_iter().flat_map(findings).collect())
}

fn findings(object: &DynamicObject) -> Vec<Finding> {
    let row = disk(object);
    let what = format!(
        "{} {}",
        row.node,
        if row.device.is_empty() {
            &row.name
        } else {
            &row.device
        }
    );
    let reasons: Vec<serde_json::Map<String, serde_json::Value>> =
        field(object, "status", "reasons");
    let verdict = if reasons.is_empty() {
        Verdict::Ok
    } else {
        Verdict::Waits
    };
    let mut found = vec![Finding::new(
        &what,
        verdict,
        format!("{}: {}", row.state, row.why),
    )];
    found.extend(reasons.iter().map(|reason| {
        let text = |key: &str| {
            reason
                .get(key)
                .and_then(|value| value.as_str())
                .unwrap_or_default()
        };
        Finding::new(
            &what,
            Verdict::Problem,
            format!("{}: {}", text("code"), text("detail")),
        )
    }));
    let lines = |key: &str| field::<Option<String>>(object, "status", key);
    let ways = [
        (
            "approve",
            "a person can agree: in spec.approved of its DiskClass, ",
        ),
        ("wipe", "it can be emptied by a DiskWipeRequest with "),
    ];
    found.extend(ways.iter().filter_map(|(key, words)| {
        Some(Finding::new(
            &what,
            Verdict::Waits,
            format!("{words}{}", lines(key)?.trim()),
        ))
    }));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(
            [59, 3600, 47 * 3600, 72 * 3600].map(hours),
            ["0 min", "1 h", "47 h", "3 d"]
        );
        assert_eq!(
            (percent(1, 4), percent(1, 0)),
            ("25%".to_owned(), String::new())
        );
    }
}
