//! Whether a volume is what a cut lvcreate left of our pool, which is when it may be removed.
//!
//! lvm commits a pool in several steps (lvm2, `lib/metadata/pool_manip.c`, `create_pool` and
//! `handle_pool_metadata_spare`): first an unnamed, untagged volume that becomes the group's
//! spare; then a plain volume with the pool's name and tags, whose beginning it overwrites;
//! then the pool. Cut between them, the next lvcreate finds the name taken. Pure.

use lvmd::lvm::model::{Lv, Vg};
use lvmd::names;

use crate::journal::Making;

/// What stands where the pool should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// Nothing of ours.
    None,
    /// A volume that is proven to be ours and empty of anybody's data.
    Ours {
        /// Its name.
        name: String,
        /// Its UUID.
        uuid: String,
    },
    /// A volume of the pool's name that is not; the proof that is missing.
    Lacks(String),
}

/// Looks for what is left of the pool `name`, which is no pool now, in a group that is ours.
pub fn of_pool(making: Option<&Making>, vg: &Vg, name: &str) -> Leftover {
    let proof = match making {
        Some(making) if making.vg_uuid != vg.uuid => Err("the journal speaks of another group"),
        Some(making) if making.pool != name => Err("the journal speaks of another pool"),
        Some(making) => Ok(making),
        None => Err("the journal does not say that its pool was being made"),
    };
    let ours = |lv: &Lv| Leftover::Ours {
        name: lv.name.clone(),
        uuid: lv.uuid.clone(),
    };
    match (proof, vg.lv(name)) {
        (Err(why), Some(_)) => Leftover::Lacks(why.to_owned()),
        (Err(_), None) => Leftover::None,
        (Ok(making), Some(lv)) => match proven(making, vg, lv) {
            Ok(()) => ours(lv),
            Err(why) => Leftover::Lacks(why.to_owned()),
        },
        (Ok(making), None) => spare(making, vg).map_or(Leftover::None, ours),
    }
}

/// All proofs that the volume with the pool's name is our half-made one.
fn proven(making: &Making, vg: &Vg, lv: &Lv) -> Result<(), &'static str> {
    let creating = names::tag(names::TAG_STATE, names::STATE_CREATING);
    if lv.tags != [creating] {
        return Err("it does not carry the tag of what is being made, and no other");
    }
    if making.volumes.contains(&lv.uuid) || vg.seqno <= making.seqno {
        return Err("it was there before");
    }
    if !is_plain(lv) || vg.lvs.iter().any(|other| other.pool == lv.name) {
        return Err("something stands on it");
    }
    if lv.size != making.metadata {
        return Err("it has not the size of the pool's metadata");
    }
    Ok(())
}

/// The volume that was to be the group's spare. It has no tag, so only the very next change
/// of the group can have been ours, and only with it alone.
fn spare<'a>(making: &Making, vg: &'a Vg) -> Option<&'a Lv> {
    let mut new = vg
        .lvs
        .iter()
        .filter(|lv| !making.volumes.contains(&lv.uuid));
    let lv = new.next()?;
    let number = lv.name.strip_prefix("lvol")?;
    let is_it = new.next().is_none()
        && vg.seqno == making.seqno + 1
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && lv.tags.is_empty()
        && lv.size == making.metadata
        && is_plain(lv);
    is_it.then_some(lv)
}

/// A volume by itself: no part, no snapshot, nothing in it.
fn is_plain(lv: &Lv) -> bool {
    !lv.hidden
        && matches!(lv.segtype.as_str(), "linear" | "striped")
        && lv.origin.is_empty()
        && lv.pool.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvmd::lvm::attr::LvAttr;
    use lvmd::units::Bytes;

    fn lv(name: &str, uuid: &str, tags: &[&str]) -> Lv {
        Lv {
            uuid: uuid.into(),
            name: name.into(),
            hidden: false,
            path: format!("/dev/fast/{name}"),
            size: Bytes(4 << 20),
            origin_size: Bytes(0),
            origin: String::new(),
            pool: String::new(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            attr: LvAttr::parse("-wi-------").unwrap(),
            segtype: "linear".into(),
            metadata_size: Bytes(0),
            transaction: 0,
            thin_pool: None,
            mapping: None,
            shown: None,
        }
    }

    fn vg(seqno: u64, lvs: Vec<Lv>) -> Vg {
        Vg {
            name: "fast".into(),
            uuid: "g".into(),
            size: Bytes(1 << 30),
            extent_size: Bytes(4 << 20),
            extent_count: 256,
            free_count: 200,
            tags: vec![],
            seqno,
            missing_pvs: 0,
            exported: false,
            system_id: String::new(),
            shared: false,
            by_lvm: false,
            pvs: vec![],
            lvs,
        }
    }

    fn making() -> Making {
        Making {
            vg_uuid: "g".into(),
            seqno: 3,
            volumes: vec!["old".into()],
            pool: "pool0".into(),
            metadata: Bytes(4 << 20),
        }
    }

    const CREATING: &str = "basalt.state=creating";

    fn is_ours(making: &Making, vg: &Vg) -> bool {
        matches!(of_pool(Some(making), vg, "pool0"), Leftover::Ours { .. })
    }

    #[test]
    fn a_tagged_volume_of_the_pools_name_is_ours_if_it_came_after_the_record() {
        let there = |volume| vg(5, vec![lv("v", "old", &[]), volume]);
        assert!(is_ours(&making(), &there(lv("pool0", "new", &[CREATING]))));
        for (what, volume) in [
            ("no tag", lv("pool0", "new", &[])),
            (
                "another's tag too",
                lv("pool0", "new", &[CREATING, "site=a"]),
            ),
            ("there before", lv("pool0", "old", &[CREATING])),
            (
                "another size",
                Lv {
                    size: Bytes(8 << 20),
                    ..lv("pool0", "new", &[CREATING])
                },
            ),
            (
                "a mirror",
                Lv {
                    segtype: "raid1".into(),
                    ..lv("pool0", "new", &[CREATING])
                },
            ),
        ] {
            let left = of_pool(Some(&making()), &there(volume), "pool0");
            assert!(matches!(left, Leftover::Lacks(_)), "{what}: {left:?}");
        }
        let inside = Lv {
            pool: "pool0".into(),
            ..lv("data", "d", &[])
        };
        let used = vg(5, vec![lv("pool0", "new", &[CREATING]), inside]);
        assert!(!is_ours(&making(), &used), "a volume is in it");
    }

    #[test]
    fn without_a_record_of_this_group_and_pool_nothing_is_ours() {
        let there = vg(5, vec![lv("pool0", "new", &[CREATING])]);
        let other_group = Making {
            vg_uuid: "h".into(),
            ..making()
        };
        let other_pool = Making {
            pool: "pool1".into(),
            ..making()
        };
        for record in [None, Some(&other_group), Some(&other_pool)] {
            let left = of_pool(record, &there, "pool0");
            assert!(matches!(left, Leftover::Lacks(_)), "{left:?}");
        }
        let nothing = vg(4, vec![]);
        assert_eq!(of_pool(None, &nothing, "pool0"), Leftover::None);
        assert_eq!(of_pool(Some(&making()), &nothing, "pool0"), Leftover::None);
    }

    #[test]
    fn an_untagged_volume_is_ours_only_as_the_one_thing_the_next_change_made() {
        let spare = || lv("lvol0", "new", &[]);
        let old = || lv("v", "old", &[]);
        assert!(is_ours(&making(), &vg(4, vec![old(), spare()])));
        let larger = Lv {
            size: Bytes(8 << 20),
            ..spare()
        };
        for (what, group) in [
            (
                "others changed the group since",
                vg(5, vec![old(), spare()]),
            ),
            ("two are new", vg(4, vec![spare(), lv("lvol1", "x", &[])])),
            ("it has a name", vg(4, vec![lv("data", "new", &[])])),
            ("it has a tag", vg(4, vec![lv("lvol0", "new", &["a"])])),
            ("it has another size", vg(4, vec![larger])),
            ("it was there before", vg(4, vec![lv("lvol0", "old", &[])])),
        ] {
            assert_eq!(
                of_pool(Some(&making()), &group, "pool0"),
                Leftover::None,
                "{what}"
            );
        }
    }
}
