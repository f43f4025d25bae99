//! The rules of one device class.

use serde_saphyr::Spanned;

use super::{Report, Violation};
use crate::config::class::{
    DEFAULT_GATE_PERCENT, DEFAULT_SPARE, DeviceClass, Kind, ThickSnapshots, ZeroPolicy,
};
use crate::config::options::LvcreateOptions;
use crate::config::raw::RawClass;
use crate::units::{Bytes, GIB};

/// The longest name LVM gives a volume group or volume, in bytes.
const MAX_LVM_NAME: usize = 127;

/// Checks one class against the rules and against the members of those before it. Gives its members.
pub(super) fn class(
    entry: Spanned<RawClass>,
    before: &[DeviceClass],
    found: &mut Vec<Violation>,
    warnings: &mut Vec<String>,
) -> Vec<DeviceClass> {
    let line = entry.referenced.line();
    let raw = entry.value;
    let name = raw.name.clone().unwrap_or_default();
    let subject = format!("device class {name:?}");
    let mut report = Report {
        found,
        line: (line > 0).then_some(line),
        subject,
    };
    class_name(&name, before, &mut report);
    let volume_groups = volume_groups(&raw, &mut report);
    let kind = kind(&raw, &mut report);
    let is_default = raw.default.unwrap_or(false);
    if is_default && let Some(other) = before.iter().find(|c| c.is_default) {
        let rule = format!("device class {:?} is the default already", other.name);
        report.add(rule, "keep `default: true` on one of them");
    }
    if let Some((rule, fix)) = own_key_out_of_place(&raw, &kind) {
        report.add(rule, fix);
    }
    if kind == Kind::Thick && raw.thin_pool.is_some() {
        warnings.push(format!(
            "device class {name:?}: thin-pool is ignored, because the type is thick"
        ));
    }
    let first = DeviceClass {
        name,
        volume_group: String::new(),
        kind,
        is_default,
        spare: spare(raw.spare_gb, &mut report),
        stripe: raw.stripe.filter(|n| *n > 0),
        stripe_size: stripe_size(raw.stripe_size, &mut report),
        lvcreate_options: options(raw.lvcreate_options, &mut report),
        zero: zero(raw.zero.as_deref(), &mut report),
        thick_snapshots: thick_snapshots(raw.thick_snapshots.as_deref(), &mut report),
        gate_percent: gate(raw.gate_percent, &mut report),
        siblings: Vec::new(),
    };
    stripes_once(&first, &mut report);
    let member = |volume_group| DeviceClass {
        volume_group,
        ..first.clone()
    };
    let members: Vec<_> = volume_groups.into_iter().map(member).collect();
    for member in members.iter().filter(|m| !m.volume_group.is_empty()) {
        target_shared(member, before, &mut report);
    }
    members
}

/// The groups of a class, as the file names them.
fn volume_groups(raw: &RawClass, report: &mut Report<'_>) -> Vec<String> {
    let Some(several) = &raw.volume_groups else {
        let one = raw.volume_group.clone().unwrap_or_default();
        lvm_name("volume-group", &one, report);
        return vec![one];
    };
    if raw.volume_group.is_some() {
        report.add(
            "volume-group and volume-groups are both there",
            "keep volume-groups, and name all groups in it",
        );
    }
    if several.is_empty() {
        report.add(
            "volume-groups is empty",
            "name at least one group in it, or use volume-group",
        );
    }
    let mut groups: Vec<String> = Vec::new();
    for group in several {
        lvm_name("volume-groups", group, report);
        if !groups.contains(group) {
            groups.push(group.clone());
        } else if !group.is_empty() {
            report.add(
                format!("volume-groups names {group:?} twice"),
                "name each group once",
            );
        }
    }
    groups
}

/// Two classes may have the same volume group, and not the same pool.
fn target_shared(class: &DeviceClass, before: &[DeviceClass], report: &mut Report<'_>) {
    let target = class.target();
    let Some(other) = before.iter().find(|c| c.target() == target) else {
        return;
    };
    match class.kind {
        Kind::Thick => of_one_group(class, other, report),
        Kind::Thin { .. } => report.add(
            format!(
                "a thin pool has at most one class, and {target:?} is that of device class {:?}",
                other.name
            ),
            "give this class a pool of its own, or use lvcreate-option-classes for volumes that differ only in their options",
        ),
    }
}

/// Thick classes of one volume group share its free extents, and what a removed volume leaves there.
fn of_one_group(class: &DeviceClass, other: &DeviceClass, report: &mut Report<'_>) {
    for (key, same) in [
        ("spare-gb", class.spare == other.spare),
        ("zero", class.zero == other.zero),
    ] {
        if !same {
            report.add(
                format!(
                    "thick classes of one volume group have the same {key}, and that of device class {:?} is another",
                    other.name
                ),
                "write the same in both",
            );
        }
    }
}

/// A Kubernetes name part, since the class is part of annotation keys.
fn class_name(name: &str, before: &[DeviceClass], report: &mut Report<'_>) {
    if name.is_empty() {
        report.add("name is missing or empty", "give the class a name");
        return;
    }
    if name.len() > 63 {
        let rule = format!(
            "the name has {} letters, at most 63 are allowed",
            name.len()
        );
        report.add(rule, "shorten it");
    }
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !name.chars().all(inner) || !edge(name.chars().next()) || !edge(name.chars().last()) {
        report.add(
            "the name is not made of letters A-Z, a-z, digits, '-', '_' and '.', with a letter or \
             digit at both ends",
            "rename the class",
        );
    }
    if before.iter().any(|c| c.name == name) {
        report.add(
            "the name is taken by an earlier class",
            "rename one of them",
        );
    }
}

/// A name LVM can have given, so that it is never taken for an option or a path.
fn lvm_name(key: &str, name: &str, report: &mut Report<'_>) {
    if name.is_empty() {
        report.add(
            format!("{key} is missing or empty"),
            "name one that exists, as `lvm vgs` or `lvm lvs` shows it",
        );
        return;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "+_.-".contains(c);
    if name.len() > MAX_LVM_NAME
        || name.starts_with('-')
        || name == "."
        || name == ".."
        || !name.chars().all(plain)
    {
        report.add(
            format!("{key} {name:?} cannot be a name of LVM"),
            "give the bare name, as `lvm vgs` or `lvm lvs` shows it, without a path",
        );
    }
}

fn kind(raw: &RawClass, report: &mut Report<'_>) -> Kind {
    match raw.kind.as_deref() {
        None | Some("" | "thick") => return Kind::Thick,
        Some("thin") => {}
        Some(other) => {
            let rule = format!("type {other:?} is neither `thick` nor `thin`");
            report.add(rule, "write `thin`, or leave type out for thick");
            return Kind::Thick;
        }
    }
    let Some(pool) = &raw.thin_pool else {
        report.add(
            "the type is thin and thin-pool is missing",
            "add thin-pool with name and overprovision-ratio, or leave type out for thick",
        );
        return Kind::Thin {
            pool: String::new(),
            overprovision_ratio: 1.0,
        };
    };
    let name = pool.name.clone().unwrap_or_default();
    lvm_name("thin-pool.name", &name, report);
    let ratio = pool.overprovision_ratio;
    if !ratio.is_some_and(|r| r.is_finite() && r >= 1.0) {
        let shown = ratio.map_or("missing".to_owned(), |r| r.to_string());
        report.add(
            format!("thin-pool.overprovision-ratio is {shown}, not a number of 1.0 or more"),
            "write 1.0 to promise what the pool has, or how many times that may be promised",
        );
    }
    Kind::Thin {
        pool: name,
        overprovision_ratio: ratio.unwrap_or(1.0),
    }
}

/// Our own keys have no past to be lenient for.
fn own_key_out_of_place(raw: &RawClass, kind: &Kind) -> Option<(&'static str, &'static str)> {
    match kind {
        Kind::Thick if raw.gate_percent.is_some() => Some((
            "gate-percent is about a thin pool, and the type is thick",
            "remove it",
        )),
        Kind::Thin { .. } if raw.zero.is_some() => Some((
            "zero is about thick volumes, and the type is thin",
            "remove it; a thin pool hands out zeroed blocks",
        )),
        Kind::Thin { .. } if raw.thick_snapshots.is_some() => Some((
            "thick-snapshots is about thick volumes, and the type is thin",
            "remove it; snapshots of thin volumes need no choice",
        )),
        _ => None,
    }
}

fn spare(gb: Option<u64>, report: &mut Report<'_>) -> Bytes {
    let Some(gb) = gb else { return DEFAULT_SPARE };
    match gb.checked_mul(GIB) {
        Some(bytes) => Bytes(bytes),
        None => {
            report.add(
                format!("spare-gb {gb} is more than can be counted in bytes"),
                "give the size in GiB",
            );
            DEFAULT_SPARE
        }
    }
}

/// Upstream's form: digits, then at most one unit letter; each part may be absent.
fn stripe_size(text: Option<String>, report: &mut Report<'_>) -> Option<String> {
    let text = text.filter(|t| !t.is_empty())?;
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let unit = digits.to_ascii_lowercase();
    if !["", "k", "m", "g", "t", "p", "e", "b", "s"].contains(&unit.as_str()) {
        report.add(
            format!(
                "stripe-size {text:?} is not a number with at most one letter of k m g t p e b s"
            ),
            "write for example 64k or 4m; a plain number is KiB",
        );
    }
    Some(text)
}

pub(super) fn options(words: Option<Vec<String>>, report: &mut Report<'_>) -> LvcreateOptions {
    LvcreateOptions::parse(&words.unwrap_or_default()).unwrap_or_else(|refused| {
        report.add(
            refused.to_string(),
            "remove it; docs of lvcreate-options list what may be added",
        );
        LvcreateOptions::default()
    })
}

fn stripes_once(class: &DeviceClass, report: &mut Report<'_>) {
    for (key, given, long) in [
        ("stripe", class.stripe.is_some(), "stripes"),
        (
            "stripe-size",
            class.stripe.is_some() && class.stripe_size.is_some(),
            "stripesize",
        ),
    ] {
        if given && class.lvcreate_options.value(long).is_some() {
            report.add(
                format!("{key} and --{long} in lvcreate-options are the same, and lvcreate takes it once"),
                "keep one of them",
            );
        }
    }
}

fn zero(text: Option<&str>, report: &mut Report<'_>) -> ZeroPolicy {
    match text {
        None | Some("zero") => ZeroPolicy::Zero,
        Some("none") => ZeroPolicy::None,
        Some(other) => {
            report.add(
                format!("zero {other:?} is neither `zero` nor `none`"),
                "leave it out to overwrite removed volumes; `none` lets the next tenant read them",
            );
            ZeroPolicy::Zero
        }
    }
}

fn thick_snapshots(text: Option<&str>, report: &mut Report<'_>) -> ThickSnapshots {
    match text {
        None | Some("none") => ThickSnapshots::None,
        Some("copy") => ThickSnapshots::Copy,
        Some(other) => {
            report.add(
                format!("thick-snapshots {other:?} is neither `none` nor `copy`"),
                "leave it out for none; with `copy` each snapshot takes as much space as its volume, and \
                 that much again while it is made",
            );
            ThickSnapshots::None
        }
    }
}

fn gate(percent: Option<u8>, report: &mut Report<'_>) -> u8 {
    let percent = percent.unwrap_or(DEFAULT_GATE_PERCENT);
    if !(1..=100).contains(&percent) {
        report.add(
            format!("gate-percent {percent} is not within 1 to 100"),
            format!("leave it out for {DEFAULT_GATE_PERCENT}"),
        );
    }
    percent
}
