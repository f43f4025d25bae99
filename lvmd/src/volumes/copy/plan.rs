//! What there is of a copy, from the metadata alone. Pure.

use crate::lvm::model::{Lv, Vg};
use crate::names;
use crate::units::Bytes;
use crate::volumes::{Access, VolumeError};

/// The unit of a thick snapshot's store in bytes; [`crate::lvm::mutation::Mutation::Freeze`] asks for it.
const CHUNK: u64 = 4096;
/// How many exceptions a chunk of metadata holds, of 16 bytes each (Linux `drivers/md/dm-snap-persistent.c`).
const EXCEPTIONS: u64 = CHUNK / 16;

/// What there is of the copy of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage<'a> {
    /// Nothing: there is none, or it is whole and nothing is left to do.
    Nothing,
    /// Not all data is in it.
    Begun {
        /// It, under the name it has until then.
        copy: &'a Lv,
        /// What the data comes from; `None` when that is lost.
        from: Option<&'a Lv>,
    },
    /// All data is in it, and its tag still says otherwise.
    Copied(&'a Lv),
    /// The copy is whole or gone, and what it was taken from is left.
    Frozen(&'a Lv),
}

impl<'a> Stage<'a> {
    /// Of the copy of this name.
    pub(super) fn of(vg: &'a Vg, name: &str) -> Self {
        let part = |name: &str| vg.lv(name).filter(|lv| lv.is_copying());
        let frozen = part(&frozen_name(name));
        if let Some(copy) = part(&copying_name(name)) {
            // Nobody can write to a source that is read-only, so it needs no freezing.
            let source = || vg.lv(source_of(copy)?).filter(|lv| is_still(lv));
            let from = frozen.filter(|lv| lv.is_thick_snapshot()).or_else(source);
            return Self::Begun { copy, from };
        }
        match (part(name), frozen) {
            (Some(copy), _) => Self::Copied(copy),
            (None, Some(frozen)) => Self::Frozen(frozen),
            (None, None) => Self::Nothing,
        }
    }
}

/// The name of a copy until all data is in it. A program that knows nothing of the tag finds no volume of the name that was
/// asked for, and so takes none for whole that is not.
pub(in crate::volumes) fn copying_name(name: &str) -> String {
    format!("{}{name}", names::COPYING_PREFIX)
}

/// The name of the frozen source of a copy.
pub(in crate::volumes) fn frozen_name(name: &str) -> String {
    format!("{}{name}", names::FROZEN_PREFIX)
}

/// The name of the copy that this LV is, or is a part of.
pub(in crate::volumes) fn copy_of(lv: &Lv) -> &str {
    let name = lv.name.as_str();
    let stripped = name
        .strip_prefix(names::COPYING_PREFIX)
        .or_else(|| name.strip_prefix(names::FROZEN_PREFIX));
    stripped.unwrap_or(name)
}

/// The tag that says what a copy is.
pub(super) fn tag(access: Access, source: &str) -> String {
    names::tag(names::TAG_COPY, &format!("{}/{source}", word(access)))
}

fn word(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "ro",
        Access::ReadWrite => "rw",
    }
}

/// Whether the tag of a copy says that it may be written to.
pub(super) fn is_writable(copy: &Lv) -> bool {
    let told = names::tag_value(&copy.tags, names::TAG_COPY);
    told.is_some_and(|told| told.starts_with("rw/"))
}

/// The name of what a copy was taken of.
pub(super) fn source_of(copy: &Lv) -> Option<&str> {
    let told = names::tag_value(&copy.tags, names::TAG_COPY)?;
    told.split_once('/').map(|(_, source)| source)
}

/// That a copy can never be made whole.
pub(super) fn lost(copy: &Lv) -> VolumeError {
    VolumeError::CopyLost {
        name: copy_of(copy).to_owned(),
        why: "the frozen source that its data comes from is gone".into(),
    }
}

/// The copy whose data still comes from the volume of this name.
pub(super) fn reader_of<'a>(vg: &'a Vg, name: &str) -> Option<&'a str> {
    let reads = |lv: &&Lv| {
        lv.is_copying() && lv.name.starts_with(names::COPYING_PREFIX) && source_of(lv) == Some(name)
    };
    vg.lvs.iter().find(reads).map(copy_of)
}

/// Whether a volume cannot change while it is read.
pub(super) fn is_still(source: &Lv) -> bool {
    !source.attr.is_writable() && !source.is_thick_snapshot() && !source.is_under_way()
}

/// The extents of a store that cannot overflow, whatever is written to a source of `size`: a header, each chunk once, and a
/// chunk of metadata for each [`EXCEPTIONS`] of them, with one more that the kernel clears in advance.
pub(super) fn store_extents(size: Bytes, extent: Bytes) -> u64 {
    let chunks = size.0.div_ceil(CHUNK);
    let all = chunks
        .saturating_add(chunks.div_ceil(EXCEPTIONS))
        .saturating_add(2);
    Bytes(all.saturating_mul(CHUNK)).extents(extent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvm::attr::LvAttr;
    use crate::lvm::report;

    fn vg(lvs: &[(&str, &str, &[&str])]) -> Vg {
        let report = include_bytes!("../../../tests/fixtures/fullreport-lvm2-2.03.31.json");
        let mut vg = report::parse(report).unwrap().remove(0);
        let plain = vg.lv("thick").unwrap().clone();
        vg.lvs = lvs
            .iter()
            .map(|(name, attr, tags)| Lv {
                name: (*name).into(),
                attr: LvAttr::parse(attr).unwrap(),
                tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
                ..plain.clone()
            })
            .collect();
        vg
    }

    const COPYING: &str = "basalt.state=copying";
    const VOLUME: &str = "-wi-a-----";
    const SNAPSHOT: &str = "sri-a-s---";

    #[test]
    fn each_moment_of_a_cut_off_copy_is_told_from_the_others() {
        let rw: &[&str] = &[COPYING, "basalt.copy=rw/a"];
        let copying = ("basalt-copying-c", VOLUME, rw);
        let frozen = ("basalt-frozen-c", SNAPSHOT, &[COPYING][..]);
        let whole = ("c", VOLUME, &["basalt.copy=rw/a"][..]);
        let found = vg(&[copying, frozen]);
        assert_eq!(
            Stage::of(&found, "c"),
            Stage::Begun {
                copy: &found.lvs[0],
                from: Some(&found.lvs[1])
            }
        );
        let found = vg(&[copying, ("a", VOLUME, &[])]);
        assert!(
            matches!(Stage::of(&found, "c"), Stage::Begun { from: None, .. }),
            "its source may have been written to since"
        );
        let split = ("basalt-frozen-c", VOLUME, &[COPYING][..]);
        let found = vg(&[copying, split]);
        assert!(
            matches!(Stage::of(&found, "c"), Stage::Begun { from: None, .. }),
            "the store alone is not the source"
        );
        let found = vg(&[copying, ("a", "-ri-a-----", &[])]);
        assert!(matches!(
            Stage::of(&found, "c"),
            Stage::Begun { from: Some(_), .. }
        ));
        let found = vg(&[("c", VOLUME, rw), frozen]);
        assert_eq!(Stage::of(&found, "c"), Stage::Copied(&found.lvs[0]));
        let found = vg(&[whole, frozen]);
        assert_eq!(Stage::of(&found, "c"), Stage::Frozen(&found.lvs[1]));
        assert_eq!(Stage::of(&vg(&[whole]), "c"), Stage::Nothing);
        let creating = ("basalt-copying-c", VOLUME, &["basalt.state=creating"][..]);
        assert_eq!(Stage::of(&vg(&[creating]), "c"), Stage::Nothing);
    }

    #[test]
    fn a_source_is_held_while_data_comes_from_it_and_no_longer() {
        let rw: &[&str] = &[COPYING, "basalt.copy=rw/a"];
        let found = vg(&[("basalt-copying-c", VOLUME, rw)]);
        assert_eq!(reader_of(&found, "a"), Some("c"));
        assert_eq!(reader_of(&found, "b"), None);
        assert_eq!(reader_of(&vg(&[("c", VOLUME, rw)]), "a"), None);
    }

    #[test]
    fn a_store_is_as_large_as_lvm_makes_it_at_the_most() {
        const MIB: u64 = 1 << 20;
        let extents = |size, extent| store_extents(Bytes(size), Bytes(extent));
        // LVM 2.03.31: 64 MiB with 4 KiB chunks get 68 MiB of 4 MiB extents.
        assert_eq!(extents(64 * MIB, 4 * MIB), 17);
        // 1 TiB has a 256th of metadata.
        assert_eq!(extents(1 << 40, 4 * MIB), 262_144 + 1024 + 1);
        assert_eq!(extents(4096, 4096), 4);
    }
}
