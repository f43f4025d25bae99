//! Which names and tags LVM takes (lvm(8), "VALID NAMES" and "TAGS").

use crate::names;

/// A name or tag LVM would refuse or change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {rule}")]
pub struct Invalid {
    /// Name or tag.
    pub what: &'static str,
    /// The text.
    pub text: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// Names LVM keeps for itself: as a beginning, and anywhere.
const RESERVED_PREFIXES: [&str; 2] = ["snapshot", "pvmove"];
const RESERVED_PARTS: [&str; 16] = [
    "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_imeta", "_iorig", "_mimage", "_mlog",
    "_pmspare", "_rimage", "_rmeta", "_tdata", "_tmeta", "_vdata", "_vorigin",
];

/// Checks the name of a volume to be made in `vg`.
///
/// # Errors
/// Names the rule it breaks.
pub fn lv_name(vg: &str, name: &str) -> Result<(), Invalid> {
    let invalid = |rule| {
        Err(Invalid {
            what: "volume name",
            text: name.to_owned(),
            rule,
        })
    };
    if name.is_empty() || name == "." || name == ".." || name.starts_with('-') {
        return invalid("it must not be empty, `.` or `..`, nor begin with a hyphen");
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"+_.-".contains(&b))
    {
        return invalid("only letters, digits and + _ . - are allowed");
    }
    if RESERVED_PREFIXES.iter().any(|p| name.starts_with(p))
        || RESERVED_PARTS.iter().any(|p| name.contains(p))
    {
        return invalid(
            "LVM keeps names with snapshot, pvmove, _tdata, _rimage and the like for itself",
        );
    }
    if name.starts_with(names::WIPING_PREFIX) {
        return invalid("this prefix marks removed volumes that are being overwritten");
    }
    if [names::COPYING_PREFIX, names::FROZEN_PREFIX]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    {
        return invalid("this prefix marks copies that are not whole yet");
    }
    if !is_mappable(vg, name) {
        return invalid(
            "with its volume group it is longer than device-mapper's 127 bytes (hyphens count twice)",
        );
    }
    Ok(())
}

/// Whether the volume's name is not too long for device-mapper, where it is vg-lv with each
/// hyphen doubled, at most 127 bytes.
pub fn is_mappable(vg: &str, name: &str) -> bool {
    let mapped = |s: &str| s.len() + s.bytes().filter(|b| *b == b'-').count();
    mapped(vg) + 1 + mapped(name) <= 127
}

/// Checks a tag.
///
/// # Errors
/// Names the rule it breaks.
pub fn tag(tag: &str) -> Result<(), Invalid> {
    let invalid = |rule| {
        Err(Invalid {
            what: "tag",
            text: tag.to_owned(),
            rule,
        })
    };
    if tag.is_empty() || tag.len() > 1024 {
        return invalid("it must have 1 to 1024 bytes");
    }
    if tag.starts_with(['-', '@']) {
        return invalid("it must not begin with a hyphen, nor with @, which LVM would take away");
    }
    if !tag
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_+.-/=!:#&".contains(&b))
    {
        return invalid("only letters, digits and _ + . - / = ! : # & are allowed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lvm_would_refuse_or_change_are_refused_here() {
        for good in ["a", "05e33db5-b7ee-11e9-8da2-0242ac110002", "a+b_c.d"] {
            assert_eq!(lv_name("vg", good), Ok(()));
        }
        let long = "x".repeat(125);
        for bad in [
            "",
            ".",
            "-a",
            "a/b",
            "a b",
            "pvmove0",
            "x_tdata",
            "basalt-wiping-1",
            "ä",
            long.as_str(),
        ] {
            assert!(lv_name("vg", bad).is_err(), "{bad}");
        }
        for good in ["a=b", "basalt.pvc=ns/name"] {
            assert_eq!(tag(good), Ok(()));
        }
        for bad in ["", "@at", "-x", "a,b", "a b"] {
            assert!(tag(bad).is_err(), "{bad}");
        }
    }
}
