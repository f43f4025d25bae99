use super::group::{Kind, Message, Pool, Thin};
use super::*;
use proptest::prelude::{any, prop, prop_assert, proptest};

/// A VG with every segment type that lvmd makes, as lvm2 2.03.31 committed it.
const LAYOUTS: &[u8] = include_bytes!("../../../tests/fixtures/layouts-lvm2-2.03.31.vg");
/// RAID 0, a cache pool, and what else lvm2 2.03.16 makes without device-mapper.
const OTHERS: &[u8] = include_bytes!("../../../tests/fixtures/others-lvm2-2.03.16.vg");

#[test]
fn reads_a_vg_with_every_kind_of_segment() {
    let vg = Group::parse(LAYOUTS).unwrap();
    assert_eq!(
        (vg.name.as_str(), vg.extent_sectors, vg.pvs.len()),
        ("vg", 8192, 2)
    );
    assert_eq!(vg.tags, ["basalt.owner=x"]);
    let kind = |name: &str| vg.lv(name).unwrap().segments[0].kind.clone();
    let Kind::ThinPool(pool) = kind("pool2") else {
        panic!("{:?}", kind("pool2"))
    };
    let expected = Pool {
        metadata: "pool2_tmeta".into(),
        data: "pool2_tdata".into(),
        transaction_id: 1,
        chunk_sectors: 256,
        discards: "nopassdown".into(),
        zero: false,
        messages: vec![],
    };
    assert_eq!(pool, expected);
    let Kind::Thin(snapshot) = kind("s2") else {
        panic!("{:?}", kind("s2"))
    };
    let expected = Thin {
        pool: "pool".into(),
        origin: "t1".into(),
        external_origin: String::new(),
        device_id: 4,
        transaction_id: 3,
        merging: false,
    };
    assert_eq!(snapshot, expected);
    assert!(matches!(kind("onext"), Kind::Thin(thin) if thin.external_origin == "ext"));
    assert!(
        matches!(kind("snapshot0"), Kind::Snapshot { origin, store, merging: false, .. } if origin == "linear" && store == "cow")
    );
    assert!(matches!(kind("striped"), Kind::Striped(places) if places.len() == 2));
    assert_eq!(kind("zer"), Kind::Virtual("zero".into()));
    let linear = vg.lv("linear").unwrap();
    assert_eq!((linear.extents(), linear.segments.len()), (5, 2));
    assert_eq!(linear.tags, ["a=b", "c"]);
    assert!(vg.lv("s1").unwrap().has("ACTIVATION_SKIP"));
    assert!(!vg.lv("pool_tmeta").unwrap().has("VISIBLE"));
}

#[test]
fn other_segment_types_keep_their_name() {
    let vg = Group::parse(OTHERS).unwrap();
    let kind = |name: &str| &vg.lv(name).unwrap().segments[0].kind;
    assert_eq!(kind("r0"), &Kind::Other("raid0".into()));
    assert_eq!(kind("cp"), &Kind::Other("cache-pool".into()));
}

/// Parses the text of [`LAYOUTS`] with one thing changed.
fn changed(from: &str, to: &str) -> Result<Group, MetadataError> {
    let text = std::str::from_utf8(LAYOUTS).unwrap();
    assert!(text.contains(from), "{from}");
    Group::parse(text.replacen(from, to, 1).as_bytes())
}

#[test]
fn what_was_not_taught_is_no_guess() {
    for (from, to) in [
        ("\"VISIBLE\"]", "\"VISIBLE\", \"NEW\"]"),
        ("\"ACTIVATION_SKIP\"", "\"NEW\""),
        ("\"ALLOCATABLE\"", "\"NEW\""),
        ("\"RESIZEABLE\"", "\"NEW\""),
        ("stripe_count = 2", "stripe_count = 2\nnew = 1"),
        ("segment_count = 2", "segment_count = 2\nnew = 1"),
        ("max_lv = 0", "new = 0"),
        ("pe_count = 63", "pe_count = 63\nnew = 1"),
    ] {
        let error = changed(from, to).unwrap_err();
        assert!(
            matches!(error, MetadataError::Unknown { .. }),
            "{to}: {error}"
        );
    }
}

/// As lvm2 2.03.31 commits it before it tells the pool.
#[test]
fn what_a_pool_is_yet_to_be_told_is_read() {
    let messages = |text: &str| {
        let discards = "discards = \"nopassdown\"";
        let vg = changed(discards, &format!("{discards}\n{text}"));
        vg.map(|vg| match &vg.lv("pool2").unwrap().segments[0].kind {
            Kind::ThinPool(pool) => pool.messages.clone(),
            other => panic!("{other:?}"),
        })
    };
    let two = messages("message1 {\ncreate = \"t1\"\n}\n\nmessage2 {\ndelete = 4\n}");
    let expected = [Message::Create("t1".into()), Message::Delete(4)];
    assert_eq!(two.unwrap(), expected);
    for odd in [
        "message1 {\n}",
        "message1 {\ncreate = \"t1\"\ndelete = 4\n}",
        "message1 {\ndelete = 4\nnow = 1\n}",
        "message1 = 4",
        "message {\ndelete = 4\n}",
        "messages1 {\ndelete = 4\n}",
    ] {
        assert!(messages(odd).is_err(), "{odd}");
    }
}

#[test]
fn what_cannot_be_is_not_believed() {
    for (from, to) in [
        ("extent_size = 8192", "extent_size = 0"),
        ("extent_size = 8192", "extent_size = 9223372036854775807"),
        ("pe_count = 63", "pe_count = 3"),
        ("stripe_count = 2", "stripe_count = 3"),
        ("segment_count = 2", "segment_count = 1"),
        ("segment_count = 2", "segment_count = 3"),
        ("start_extent = 3", "start_extent = 2"),
        ("discards = \"nopassdown\"", "discards = \"sometimes\""),
        (
            "contents = \"Text Format Volume Group\"",
            "contents = \"Text\"",
        ),
        ("version = 1", "version = 2"),
        ("physical_volumes", "physical"),
        ("-", ""),
    ] {
        assert!(changed(from, to).is_err(), "{from} -> {to}");
    }
}

#[test]
fn a_type_with_a_flag_is_another_type() {
    let vg = changed("type = \"thin\"", "type = \"thin+NEW\"").unwrap();
    let odd = vg.lvs.iter().find(|lv| lv.has("NEW")).unwrap();
    assert_eq!(odd.segments[0].kind, Kind::Other("thin".into()));
}

#[test]
fn a_thousand_volumes_are_read() {
    let text = thousand();
    let vg = Group::parse(text.as_bytes()).unwrap();
    assert_eq!(vg.lvs.len(), 1000);
    assert_eq!(
        vg.lv("v999").unwrap().segments[0]
            .on_pvs()
            .next()
            .unwrap()
            .start,
        999
    );
}

/// The text of a VG with 1,000 linear LVs of one extent.
pub(crate) fn thousand() -> String {
    let lv = |n: usize| {
        format!(
            "v{n} {{\nid = \"{n:06}-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA\"\nstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\nflags = []\ncreation_time = 1\ncreation_host = \"h\"\nsegment_count = 1\n\nsegment1 {{\nstart_extent = 0\nextent_count = 1\n\ntype = \"striped\"\nstripe_count = 1\n\nstripes = [\n\"pv0\", {n}\n]\n}}\n}}\n\n"
        )
    };
    let lvs: String = (0..1000).map(lv).collect();
    format!(
        "vg {{\nid = \"AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA\"\nseqno = 1001\nformat = \"lvm2\"\nstatus = [\"RESIZEABLE\", \"READ\", \"WRITE\"]\nflags = []\nextent_size = 8192\nmax_lv = 0\nmax_pv = 0\nmetadata_copies = 0\n\nphysical_volumes {{\n\npv0 {{\nid = \"BAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA\"\ndevice = \"/dev/sda\"\n\nstatus = [\"ALLOCATABLE\"]\nflags = []\ndev_size = 9000000\npe_start = 2048\npe_count = 1000\n}}\n}}\n\nlogical_volumes {{\n\n{lvs}}}\n\n}}\n# Generated by LVM2\n\ncontents = \"Text Format Volume Group\"\nversion = 1\n\ndescription = \"\"\n\ncreation_host = \"h\"\ncreation_time = 1\n\n"
    )
}

proptest! {
    // Mutations of a real text: bytes flipped, pieces cut out, doubled or moved. Nothing may
    // panic, and what is still read must hold together.
    #![proptest_config(proptest::test_runner::Config::with_cases(2000))]
    #[test]
    fn no_mutation_of_a_real_text_panics(
        first in any::<bool>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        moves in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..40, any::<bool>()), 0..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut text = if first { LAYOUTS } else { OTHERS }.to_vec();
        for (at, byte) in flips { let at = at.index(text.len()); text[at] = byte; }
        for (from, to, length, keep) in moves {
            let from = from.index(text.len());
            let piece = text[from..(from + length).min(text.len())].to_vec();
            if !keep { text.drain(from..from + piece.len()); }
            let to = to.index(text.len() + 1);
            text.splice(to..to, piece);
        }
        if let Some(cut) = cut { text.truncate(cut.index(text.len())); }
        if let Ok(vg) = Group::parse(&text) {
            for lv in &vg.lvs {
                prop_assert!(lv.extents().checked_mul(vg.extent_sectors * 512).is_some());
                for area in lv.segments.iter().flat_map(|s| s.on_pvs()) {
                    let pv = vg.pvs.iter().find(|pv| pv.key == area.of).unwrap();
                    prop_assert!(area.start + area.extents <= pv.extent_count);
                }
            }
        }
    }
}
