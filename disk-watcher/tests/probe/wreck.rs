//! The proofs without which a wreck is not erased, each taken away in turn.

use std::io::Read;

use disk_watcher::config::RequireZeroed;
use disk_watcher::facts::DiskId;
use disk_watcher::journal::{Claim, Stage};
use disk_watcher::probe::LvmLabel;
use disk_watcher::probe::image::{LvmImage, LvmSlot, Sparse};
use disk_watcher::wreck::{Joining, Making, proven};
use lvmd::units::Bytes;

use crate::fixtures::{fixture, look};

const UUID: &str = "jKfGrb-1uxT-d4Qm-aLSW-cqqP-PcIF-cFODYZ";
const TEXT: &str = r#"fast {
id = "kElRyR-yYhZ-ZH3a-5oHN-vWQu-qCsC-wcGjTa"
seqno = 1
status = ["RESIZEABLE", "READ", "WRITE"]
tags = ["basalt.class=fast", "basalt.owner=u"]
physical_volumes {
pv0 {
id = "jKfGrb-1uxT-d4Qm-aLSW-cqqP-PcIF-cFODYZ"
status = ["ALLOCATABLE"]
flags = []
}
}
}
"#;

fn claim() -> Claim {
    Claim {
        pv_uuid: UUID.into(),
        disk: DiskId::from("naa.1".to_owned()),
        class: "fast".into(),
        volume_group: "fast".into(),
        vg_uuid: None,
        size: Bytes(64 << 20),
        zeroes: RequireZeroed::Full,
        fingerprint: String::new(),
        stage: Stage::Labelled,
        leaving: None,
    }
}

fn making() -> Making<'static> {
    Making {
        owner: "u",
        pv_uuids: vec![UUID],
        joining: None,
        kept: vec![],
    }
}

fn slot(text: &str) -> Option<LvmSlot> {
    Some(LvmSlot {
        offset: 512,
        text: text.into(),
    })
}

/// A disk whose vgcreate was cut off with this text written and not committed.
fn cut(text: Option<&str>) -> Sparse {
    let image = LvmImage {
        size: 64 << 20,
        pv_uuid: UUID.into(),
        used: true,
        committed: None,
        precommitted: text.and_then(slot),
    };
    image.image()
}

fn head(image: &Sparse) -> Vec<u8> {
    let mut head = vec![0; 1 << 20];
    image
        .clone()
        .read_exact(&mut head)
        .expect("the image is large enough");
    head
}

fn label(image: &Sparse) -> LvmLabel {
    look(image).lvm.remove(0)
}

fn judge(image: &Sparse) -> Result<(), String> {
    proven(&claim(), &making(), &label(image), &head(image))
}

#[test]
fn a_cut_vgcreate_of_ours_is_proven() {
    assert_eq!(judge(&cut(None)), Ok(()));
    assert_eq!(judge(&cut(Some(TEXT))), Ok(()));
    assert_eq!(judge(&fixture("lvm-wreck-3")), Ok(()), "as lvm leaves it");
}

#[test]
fn a_cut_vgextend_of_ours_is_proven_while_its_group_is_known() {
    let text = TEXT.replace("seqno = 1", "seqno = 7");
    let image = cut(Some(&text));
    let joining = |uuid: &str, seqno| {
        let making = Making {
            joining: Some(Joining {
                uuid: uuid.into(),
                seqno,
            }),
            ..making()
        };
        proven(&claim(), &making, &label(&image), &head(&image))
    };
    let uuid = "kElRyR-yYhZ-ZH3a-5oHN-vWQu-qCsC-wcGjTa";
    assert_eq!(joining(uuid, 6), Ok(()));
    assert_eq!(joining(uuid, 9), Ok(()), "the group went on without it");
    assert!(joining(uuid, 5).is_err(), "newer than what is known");
    assert!(joining("other", 6).is_err());
    assert!(judge(&image).is_err(), "no group is there");
}

#[test]
fn without_the_journals_word_it_is_not() {
    let image = cut(None);
    let lacking = |change: fn(&mut Claim)| {
        let mut claim = claim();
        change(&mut claim);
        proven(&claim, &making(), &label(&image), &head(&image)).unwrap_err()
    };
    assert!(lacking(|c| c.stage = Stage::Grouped).contains("was in a group"));
    assert!(lacking(|c| c.vg_uuid = Some("x".into())).contains("was in a group"));
    assert!(lacking(|c| c.pv_uuid = "other".into()).contains("not the PV"));
    assert!(lacking(|c| c.size = Bytes(128 << 20)).contains("another disk"));
}

#[test]
fn what_was_in_use_is_not() {
    for (text, why) in [
        (TEXT.replace("seqno = 1", "seqno = 2"), "in use"),
        (TEXT.replace("fast {", "other {"), "group other"),
        (
            TEXT.replace("owner=u", "owner=v"),
            "not the one we were making",
        ),
        (
            TEXT.replace("class=fast", "class=slow"),
            "not the one we were making",
        ),
        (TEXT.replace("id = \"jKfGrb", "id = \"xxxxxx"), "in use"),
        ("garbage".into(), "no description"),
    ] {
        let error = judge(&cut(Some(&text))).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
    let mut image = cut(Some(TEXT));
    image.put(500_000, b"an older text of the ring");
    assert!(
        judge(&image).unwrap_err().contains("more than once"),
        "as vgreduce leaves it"
    );
    let mut image = cut(None);
    image.put(2048, b"x");
    assert!(judge(&image).unwrap_err().contains("around its label"));
}

#[test]
fn a_member_whose_metadata_area_was_lost_is_not() {
    let member = LvmImage {
        size: 64 << 20,
        pv_uuid: UUID.into(),
        used: true,
        committed: slot(TEXT),
        precommitted: None,
    };
    let whole = member.image();
    assert!(judge(&whole).unwrap_err().contains("committed"));
    let mut torn = whole.clone();
    torn.put(4096 + 520, b"torn");
    assert!(
        label(&torn).committed().is_empty(),
        "its text cannot be read"
    );
    assert!(judge(&torn).unwrap_err().contains("committed"));
    let mut headless = whole;
    headless.put(4096, &[0; 512]);
    assert!(judge(&headless).unwrap_err().contains("damaged"));
    let no_area = fixture("lvm-no-mda");
    assert!(judge(&no_area).is_err());
}

#[test]
fn a_pvcreate_of_which_only_the_label_was_written_is_proven() {
    let pv = LvmImage {
        size: 64 << 20,
        pv_uuid: UUID.into(),
        used: false,
        committed: None,
        precommitted: None,
    };
    let mut image = pv.image();
    image.put(4096, &[0; 512]);
    assert_eq!(judge(&image), Ok(()));
    for place in [2048, 9000] {
        let mut more = image.clone();
        more.put(place, b"x");
        assert!(judge(&more).unwrap_err().contains("damaged"), "{place}");
    }
}

#[test]
fn an_erasure_that_was_cut_goes_on_and_nothing_else_does() {
    let kept = Making {
        kept: vec![[head(&cut(Some(TEXT))), vec![0; 1 << 20]].concat()],
        ..making()
    };
    let mut image = cut(Some(TEXT));
    image.put(4096, &[0; 4096]);
    let go_on = |image: &Sparse| proven(&claim(), &kept, &label(image), &head(image));
    assert_eq!(go_on(&image), Ok(()));
    assert!(
        judge(&image).is_err(),
        "without what was kept it is only damaged"
    );
    image.put(9000, b"new");
    assert!(go_on(&image).is_err(), "somebody wrote to it since");
}
