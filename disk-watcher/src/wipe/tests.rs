use super::*;
use crate::config::RequireZeroed;
use crate::facts::{DevNo, Identified};
use crate::identity::Device;
use crate::rules::{ContentReport, PvSeen, Reason, SignatureSeen};
use crate::select::Selection;
use lvmd::units::Bytes;

struct Case {
    facts: DiskFacts,
    judgement: Judgement,
    reading: Reading,
    listed: bool,
    claimed: bool,
    request: DiskWipeRequest,
}

fn case() -> Case {
    let mut tree = crate::facts::fixture::Tree::new();
    tree.sata("sda", "8:0", "A1");
    let facts = crate::facts::read_all(&tree.root(), &tree.udev)
        .unwrap()
        .remove(0);
    let reason = |code| Reason {
        code,
        detail: String::new(),
    };
    Case {
        judgement: Judgement {
            disk: "sda".into(),
            id: Identified::Missing,
            explanations: vec![],
            selection: Selection::Nobody,
            reasons: vec![
                reason(Code::Signature("ext4".into())),
                reason(Code::NotZeroed),
            ],
            verdict: Verdict::NotSelected,
        },
        facts,
        reading: Reading {
            report: ContentReport {
                signatures: vec![SignatureSeen {
                    kind: "ext4".into(),
                    offset: 1080,
                }],
                partitions: vec![],
                pv: None,
                zeroes_checked: RequireZeroed::None,
                not_zeroed_at: None,
                reading: None,
            },
            fingerprint: "ab".into(),
            members: vec![],
            label: None,
            device: Device {
                dev: DevNo { major: 8, minor: 0 },
                diskseq: 1,
                size: Bytes(1),
                sector: 512,
                read_only: false,
            },
        },
        listed: false,
        claimed: false,
        request: DiskWipeRequest {
            name: "wipe".into(),
            node: "n1".into(),
            disk: DiskId::from("naa.1".to_owned()),
            fingerprint: "ab".into(),
            signatures: BTreeSet::from(["ext4".to_owned()]),
            method: WipeMethod::Full,
            not_after: 100,
            confirm: Some("destroy naa.1 on n1".into()),
            standing: Standing::File,
        },
    }
}

impl Case {
    fn seen(&self) -> Seen<'_> {
        Seen {
            facts: &self.facts,
            judgement: &self.judgement,
            reading: Some(&self.reading),
            listed: self.listed,
            claimed: self.claimed,
        }
    }

    fn answer(&self) -> Answer {
        decide(&self.request, 100, &[self.seen()])
    }
}

#[test]
fn a_confirmed_request_for_the_disk_as_it_was_is_done() {
    assert_eq!(case().answer(), Answer::Go);
}

#[test]
fn any_change_makes_it_void() {
    for spoil in [
        (|c| c.reading.fingerprint = "cd".into()) as fn(&mut Case),
        |c| c.request.signatures = BTreeSet::new(),
        |c| c.request.not_after = 99,
        |c| c.request.confirm = Some("yes".into()),
        |c| c.request.confirm = Some("destroy naa.2 on n1".into()),
        |c| c.claimed = true,
        |c| c.judgement.verdict = Verdict::Ours,
    ] {
        let mut case = case();
        spoil(&mut case);
        assert!(
            matches!(case.answer(), Answer::Refused(_)),
            "{:?}",
            case.answer()
        );
    }
    let unread = case();
    let mut seen = unread.seen();
    seen.reading = None;
    assert!(matches!(
        decide(&unread.request, 0, &[seen]),
        Answer::Refused(_)
    ));
    let twins = [unread.seen(), unread.seen()];
    assert!(matches!(
        decide(&unread.request, 0, &twins),
        Answer::Refused(_)
    ));
    assert!(matches!(
        decide(&unread.request, 0, &[]),
        Answer::Waiting(_)
    ));
}

#[test]
fn nothing_in_use_is_wiped() {
    use Code::{
        BackingLoop, BindMounted, Busy, DuplicateId, DuplicatePV, HasHolders, Mounted,
        MultipathMember, NativeOwner, Offline, ProbeFailed, ReadOnly, Swap, SystemDisk,
    };
    for code in [
        SystemDisk,
        Mounted,
        BindMounted,
        Swap,
        HasHolders,
        Busy,
        BackingLoop,
        MultipathMember,
        DuplicateId,
        DuplicatePV,
        NativeOwner,
        ReadOnly,
        Offline,
        ProbeFailed,
    ] {
        let mut case = case();
        case.judgement.reasons.push(Reason {
            code: code.clone(),
            detail: String::new(),
        });
        assert!(matches!(case.answer(), Answer::Refused(_)), "{code}");
    }
}

#[test]
fn a_member_of_a_group_is_not_wiped_and_an_orphan_is() {
    let pv = |used, committed, listed| {
        let mut case = case();
        case.reading.report.pv = Some(PvSeen {
            uuid: "p".into(),
            used,
            committed,
            ..PvSeen::default()
        });
        case.listed = listed;
        case.answer()
    };
    let on_a_partition = |used, committed| {
        let mut case = case();
        case.reading.members.push(PvSeen {
            used,
            committed,
            ..PvSeen::default()
        });
        case.answer()
    };
    assert_eq!(pv(false, false, false), Answer::Go);
    assert_eq!(on_a_partition(false, false), Answer::Go);
    for member in [
        pv(true, false, false),
        pv(false, true, false),
        pv(false, false, true),
        on_a_partition(true, false),
        on_a_partition(false, true),
    ] {
        assert!(matches!(member, Answer::Refused(_)), "{member:?}");
    }
}

#[test]
fn a_disk_that_a_group_lists_is_not_wiped_whatever_was_read_of_it() {
    let mut case = case();
    case.listed = true;
    assert!(matches!(case.answer(), Answer::Refused(_)));
}

#[test]
fn what_would_be_destroyed_is_said_before_and_the_offer_can_be_pasted() {
    let mut case = case();
    case.request.confirm = None;
    let Answer::Waiting(text) = case.answer() else {
        panic!("{:?}", case.answer())
    };
    for words in [
        "sda",
        "ext4 at byte 1080",
        "confirm: \"destroy naa.1 on n1\"",
    ] {
        assert!(text.contains(words), "{text}");
    }
    case.reading.fingerprint = "ab".repeat(32);
    let id = DiskId::from("naa.1".to_owned());
    let spec = offer("n1", &id, &case.seen(), "2026-11-20T12:00Z").unwrap();
    let text = format!(
        "apiVersion: basalt.storage/v1alpha1\nkind: DiskWipeRequest\nmetadata: {{name: w}}\nspec: {spec}\n"
    );
    let parsed = crate::config::Config::load(&text).unwrap().wipes.remove(0);
    assert!(matches!(
        decide(&parsed, 0, &[case.seen()]),
        Answer::Waiting(_)
    ));
    case.judgement.reasons.clear();
    assert_eq!(
        offer("n1", &id, &case.seen(), "x"),
        None,
        "nothing is on it"
    );
}

#[test]
fn a_partition_is_not_wiped_on_request() {
    let mut case = case();
    let mut tree = crate::facts::fixture::Tree::new();
    tree.sata("sda", "8:0", "A1");
    tree.partition("sda", "sda2", "8:2");
    let disk = tree.disk("sda");
    let part = crate::facts::read_partition(&tree.root(), &disk, "sda2", &tree.udev);
    assert_eq!(decide(&case.request, 0, &[case.seen()]), Answer::Go);
    case.facts = part.unwrap();
    let Answer::Refused(why) = decide(&case.request, 0, &[case.seen()]) else {
        panic!("a partition");
    };
    assert!(why.contains("only whole disks are wiped"), "{why}");
    assert_eq!(offer("n1", &case.request.disk, &case.seen(), "u"), None);
}
