//! Which names and tags LVM takes: lvm(8), VALID NAMES, and lib/misc/lvm-string.c.

use std::fmt::Write;

/// Longest name, in bytes (NAME_LEN is 128 with the closing NUL).
const MAX_NAME: usize = 127;
/// Longest tag, in bytes.
const MAX_TAG: usize = 1024;
/// Beginnings LVM keeps for itself.
const RESERVED_PREFIXES: [&str; 2] = ["pvmove", "snapshot"];
/// Parts LVM keeps for the hidden volumes it makes.
const RESERVED_PARTS: [&str; 17] = [
    "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_imeta", "_iorig", "_mimage", "_mlog",
    "_pmspare", "_rimage", "_rmeta", "_tdata", "_tmeta", "_vdata", "_vorigin", "_wcorig",
];

/// Whether `name` may be a volume group's.
pub(super) fn volume_group(name: &str) -> Result<(), String> {
    plain(name)
}

/// Whether `name` may be a logical volume's.
pub(super) fn logical_volume(name: &str) -> Result<(), String> {
    plain(name)?;
    if let Some(word) = RESERVED_PREFIXES.iter().find(|p| name.starts_with(*p)) {
        return Err(format!(
            "{name:?}: LVM keeps names that begin with {word:?} for itself"
        ));
    }
    if let Some(part) = RESERVED_PARTS.iter().find(|p| name.contains(*p)) {
        return Err(format!(
            "{name:?}: LVM keeps names that contain {part:?} for itself"
        ));
    }
    if name.starts_with(lvmd::names::WIPING_PREFIX) {
        let mut text = format!("{name:?}: names that begin with ");
        let _ = write!(
            text,
            "{:?} are volumes being wiped",
            lvmd::names::WIPING_PREFIX
        );
        return Err(text);
    }
    Ok(())
}

/// Whether `tag` may be put on a volume group by a user.
pub(super) fn tag(tag: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+.-/=!:#&".contains(&b);
    if tag.is_empty() || tag.len() > MAX_TAG || tag.starts_with('-') || !tag.bytes().all(allowed) {
        return Err(format!(
            "{tag:?} is no LVM tag: 1 to {MAX_TAG} of a-z A-Z 0-9 _ + . - / = ! : # &, not beginning with -"
        ));
    }
    if tag.starts_with("basalt.") {
        return Err(format!(
            "{tag:?}: tags that begin with \"basalt.\" state ownership and are set by the watcher only"
        ));
    }
    Ok(())
}

fn plain(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"+_.-".contains(&b);
    let ok = (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with('-')
        && name != "."
        && name != ".."
        && name.bytes().all(allowed);
    if ok {
        Ok(())
    } else {
        Err(format!(
            "{name:?} is no LVM name: 1 to {MAX_NAME} of a-z A-Z 0-9 + _ . -, not beginning with -, not . or .."
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_lvm_8() {
        for name in ["fast", "vg-1", "a.b+c_d", &"x".repeat(127)] {
            assert_eq!(volume_group(name), Ok(()), "{name}");
        }
        for name in ["", "-a", ".", "..", "a b", "a/b", "ä", &"x".repeat(128)] {
            assert!(volume_group(name).is_err(), "{name}");
        }
        for name in [
            "pvmove0",
            "snapshot1",
            "pool_tmeta",
            "a_cdata_b",
            "basalt-wiping-x",
        ] {
            assert!(logical_volume(name).is_err(), "{name}");
            assert!(volume_group(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_user_cannot_forge_ownership() {
        assert_eq!(tag("team=storage"), Ok(()));
        assert!(tag("basalt.owner=me").unwrap_err().contains("ownership"));
        assert!(tag("a b").is_err() && tag("-a").is_err() && tag("").is_err());
    }
}
