use super::*;
use crate::config::Config;
use crate::facts::fixture::Tree;
use crate::labels::Labels;

fn classes(specs: &[&str]) -> Vec<DiskClass> {
    let text: Vec<String> = specs
        .iter()
        .enumerate()
        .map(|(n, spec)| {
            format!(
                "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {{name: c{n}}}\n\
                 spec:\n  volumeGroup: {{name: vg{n}}}\n  {spec}\n"
            )
        })
        .collect();
    Config::load(&text.join("---\n")).unwrap().classes
}

fn disk() -> DiskFacts {
    let mut tree = Tree::new();
    tree.sata("sda", "8:0", "A1");
    tree.links(
        "sda",
        &[
            "/dev/disk/by-diskseq/3",
            "/dev/disk/by-id/ata-TEST_DISK_20G_A1",
        ],
    );
    let record = tree.udev.records.get_mut("sda").unwrap();
    record
        .properties
        .insert("ID_MODEL".into(), "TEST_DISK_20G".into());
    tree.disk("sda")
}

fn answer(spec: &str) -> Answer {
    ask(&classes(&[spec])[0], &disk())
}

#[test]
fn every_predicate_picks_and_passes() {
    for spec in [
        "select: {paths: ['/dev/disk/by-id/ata-*_A1']}",
        "select: {paths: ['/dev/disk/by-id/x', '/dev/disk/by-id/ata-TEST*']}",
        "select: {paths: [/dev/sda], allowUnstableNames: true}",
        "select: {model: ['TEST DISK*']}",
        "select: {model: ['TEST_DISK*']}",
        "select: {vendor: [ATA]}",
        "select: {serial: ['A[12]']}",
        "select: {wwid: ['naa.5000c500*']}",
        "select: {transport: [nvme, sata]}",
        "select: {media: [ssd]}",
        "select: {model: ['TEST*'], size: {min: 20Gi, max: 20Gi}}",
    ] {
        assert_eq!(answer(spec), Answer::Selected, "{spec}");
    }
    for (spec, field) in [
        (
            "select: {paths: ['/dev/disk/by-id/nvme-*']}",
            "spec.select.paths",
        ),
        ("select: {paths: ['/dev/disk/by-*/3']}", "spec.select.paths"),
        ("select: {model: ['OTHER*']}", "spec.select.model"),
        ("select: {vendor: [ata]}", "spec.select.vendor"),
        ("select: {serial: [A]}", "spec.select.serial"),
        ("select: {wwid: ['eui.*']}", "spec.select.wwid"),
        ("select: {transport: [nvme]}", "spec.select.transport"),
        ("select: {media: [hdd, nvme]}", "spec.select.media"),
    ] {
        let Answer::Missed(misses) = answer(spec) else {
            panic!("{spec}")
        };
        assert_eq!(misses[0].field, field, "{spec}");
    }
}

#[test]
fn labels_that_are_not_known_are_not_taken_for_none() {
    let fast = "select: {diskLabels: {matchLabels: {tier: fast}}}";
    let not_slow = "select: {model: ['TEST*'], diskLabels: {matchExpressions: \
        [{key: tier, operator: Exists}, {key: tier, operator: NotIn, values: [slow]}]}}";
    for (labels, takes_fast, takes_not_slow) in [
        (None, false, false),
        (Some(""), false, false),
        (Some("fast"), true, true),
        (Some("slow"), false, false),
    ] {
        let mut disk = disk();
        disk.labels = labels.map(|tier| match tier {
            "" => Labels::new(),
            tier => Labels::from([("tier".to_owned(), tier.to_owned())]),
        });
        for (spec, takes) in [(fast, takes_fast), (not_slow, takes_not_slow)] {
            match ask(&classes(&[spec])[0], &disk) {
                Answer::Selected => assert!(takes, "{labels:?} {spec}"),
                Answer::Missed(misses) => {
                    assert!(!takes, "{labels:?} {spec}");
                    assert_eq!(misses[0].field, "spec.select.diskLabels");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn every_field_that_does_not_hold_is_explained() {
    let Answer::Missed(misses) = answer("select: {model: [X*], transport: [nvme], media: [hdd]}")
    else {
        panic!()
    };
    let details: Vec<&str> = misses.iter().map(|miss| miss.detail.as_str()).collect();
    assert_eq!(
        details,
        [
            "TEST DISK 20G, TEST_DISK_20G does not match X*",
            "sata is not one of nvme",
            "it does not rotate"
        ]
    );
}

#[test]
fn an_exclusion_wins_and_does_not_mind_case() {
    for exclude in [
        "paths: ['/dev/disk/by-id/ata-*']",
        "model: ['test*']",
        "serial: [a1]",
        "wwid: ['NAA.5000C500*']",
    ] {
        let answer = answer(&format!(
            "select: {{vendor: [ATA]}}\n  exclude: {{{exclude}}}"
        ));
        assert!(
            matches!(answer, Answer::Excluded(_)),
            "{exclude}: {answer:?}"
        );
    }
}

#[test]
fn two_classes_may_share_a_model_and_split_it_by_size() {
    let of = |specs: &[&str]| decide(&explain(&classes(specs), &disk()));
    let small = "select: {vendor: [ATA], size: {min: 1Gi, max: 15Gi}}";
    let large = "select: {vendor: [ATA], size: {min: 16Gi}}";
    assert_eq!(of(&[small, large]), Selection::Class("c1".into()));
    assert_eq!(
        of(&[large, large]),
        Selection::Conflict(vec!["c0".into(), "c1".into()])
    );
    assert_eq!(of(&["select: {vendor: [X]}"]), Selection::Nobody);
    let Selection::BySizeOnly(why) = of(&[small, "select: {vendor: [ATA], size: {min: 1Ti}}"])
    else {
        panic!()
    };
    assert!(
        matches!(&why[0].answer, Answer::TooLarge(miss) if miss.detail == "20Gi is more than max 15Gi of class c0")
    );
    assert!(matches!(&why[1].answer, Answer::TooSmall(_)));
}

#[test]
fn a_paused_class_still_speaks_for_its_disks() {
    let paused = "select: {vendor: [ATA]}\n  mode: Paused";
    let selection = decide(&explain(
        &classes(&[paused, "select: {vendor: [ATA]}"]),
        &disk(),
    ));
    assert!(matches!(selection, Selection::Conflict(_)));
}

#[test]
fn a_name_stands_for_the_disk_it_was_bound_to_and_is_not_followed() {
    let mut class = classes(&["select: {transport: [sata]}"]).remove(0);
    let named = |path: &str, bound: Option<&str>| Named {
        path: path.to_owned(),
        bound: bound.map(|id| crate::facts::DiskId::from(id.to_owned())),
    };
    let mut ask_with = |names: Vec<Named>| {
        class.select.named = Some(names);
        ask(&class, &disk())
    };
    let id = "naa.5000c500000000A1";
    assert_eq!(ask_with(vec![named("/dev/sda", None)]), Answer::Selected);
    let link = "/dev/disk/by-id/ata-TEST_DISK_20G_A1";
    assert_eq!(ask_with(vec![named(link, None)]), Answer::Selected);
    assert_eq!(
        ask_with(vec![named("/dev/sdq", Some(id))]),
        Answer::Selected,
        "another name since the last boot"
    );
    for names in [vec![], vec![named("/dev/sdb", None)]] {
        assert!(matches!(ask_with(names), Answer::Missed(_)));
    }
    let Answer::Missed(misses) = ask_with(vec![named("/dev/sda", Some("naa.other"))]) else {
        panic!("another disk has the name")
    };
    assert!(
        misses[0].detail.contains("names are not followed"),
        "{misses:?}"
    );
}

#[test]
fn a_file_is_the_disk_of_the_class_that_lists_it() {
    let both = "select: {transport: [sata], files: [{path: /var/a, size: 64Mi}]}";
    let only = "select: {files: [{path: /var/b, size: 64Mi}]}";
    let disks = "select: {model: ['TEST*', 'none']}";
    let classes = classes(&[both, only, disks]);
    let picked = |disk: &DiskFacts| {
        let answers = classes
            .iter()
            .map(|class| ask(class, disk) == Answer::Selected);
        answers.collect::<Vec<_>>()
    };
    let mut disk = disk();
    assert_eq!(picked(&disk), [true, false, true], "no file: a disk");
    let made = |path: &str| crate::files::MadeFile {
        id: crate::facts::DiskId::from("file.1".to_owned()),
        path: path.into(),
        size: lvmd::units::Bytes(1),
        inode: crate::files::Inode {
            number: 1,
            born: 1,
            born_nanos: 1,
        },
        named: true,
    };
    disk.file = Some(made("/var/a"));
    assert_eq!(picked(&disk), [true, false, false]);
    disk.file = Some(made("/var/b"));
    assert_eq!(picked(&disk), [false, true, false]);
}

/// The partition sda2 of that disk, named r-data.
fn partition() -> DiskFacts {
    let mut tree = Tree::new();
    tree.sata("sda", "8:0", "A1");
    tree.partition("sda", "sda2", "8:2");
    tree.links("sda2", &["/dev/disk/by-partlabel/r-data"]);
    let disk = tree.disk("sda");
    let mut part = crate::facts::read_partition(&tree.root(), &disk, "sda2", &tree.udev).unwrap();
    part.part.as_mut().unwrap().entry = Some(PartEntry {
        guid: "f47ac10b-58cc-4372-a567-0e02b2c3d479".into(),
        label: "r-data".into(),
        type_guid: "e6d6d379-f507-44c2-a23c-238f2a3df928".into(),
        attributes: 0,
    });
    part
}

#[test]
fn a_partition_is_picked_by_its_name_and_type_and_by_what_its_disk_is() {
    let ask = |spec: &str| ask(&classes(&[spec])[0], &partition());
    for spec in [
        "select: {partitionLabel: ['r-*'], size: {min: 1Gi, max: 1Gi}}",
        "select: {partitionLabel: [x, r-data], transport: [sata], model: ['TEST*'], size: {min: 1Gi}}",
        "select: {partitionType: [E6D6D379-F507-44C2-A23C-238F2A3DF928], size: {min: 1Gi}}",
        "select: {partitionLabel: [r-data], paths: ['/dev/disk/by-id/ata-*'], size: {min: 1Gi}}",
        "select: {partitionLabel: [r-data], paths: ['/dev/disk/by-partlabel/r-*'], size: {min: 1Gi}}",
        "select: {partitionLabel: [r-data], cel: 'disk.size == 20u * GiB', size: {min: 1Gi}}",
        "select: {partitionLabel: [r-data], wwid: ['naa.5000c500*'], size: {min: 1Gi}}",
    ] {
        assert_eq!(ask(spec), Answer::Selected, "{spec}");
    }
    for (spec, field) in [
        (
            "select: {partitionLabel: [R-DATA]}",
            "spec.select.partitionLabel",
        ),
        (
            "select: {partitionType: [0fc63daf-8483-4772-8e79-3d69d8477de4]}",
            "spec.select.partitionType",
        ),
        (
            "select: {partitionLabel: [r-data], partitionType: [0fc63daf-8483-4772-8e79-3d69d8477de4]}",
            "spec.select.partitionLabel",
        ),
        ("select: {transport: [sata]}", "spec.select.partitionLabel"),
        (
            "select: {partitionLabel: [r-data], transport: [nvme]}",
            "spec.select.transport",
        ),
    ] {
        let Answer::Missed(misses) = ask(spec) else {
            panic!("{spec}");
        };
        assert_eq!(
            misses.iter().map(|m| m.field).collect::<Vec<_>>(),
            [field],
            "{spec}"
        );
    }
    assert!(
        matches!(
            ask("select: {partitionLabel: [r-data]}"),
            Answer::TooSmall(_)
        ),
        "its own size counts"
    );
    for exclude in [
        "{paths: ['/dev/sda']}",
        "{paths: ['/dev/disk/by-id/*A1']}",
        "{paths: ['/dev/sda2']}",
        "{serial: [A1]}",
    ] {
        let unstable = "allowUnstableNames: true";
        let spec =
            format!("select: {{partitionLabel: [r-data], {unstable}}}\n  exclude: {exclude}");
        assert!(
            matches!(ask(&spec), Answer::Excluded(_)),
            "exclude wins: {exclude}"
        );
    }
    let whole = super::ask(&classes(&["select: {partitionLabel: ['*a*']}"])[0], &disk());
    assert!(
        matches!(whole, Answer::Missed(_)),
        "whole disks are not taken: {whole:?}"
    );
    let two = classes(&[
        "select: {partitionLabel: [r-data], size: {min: 1Gi}}",
        "select: {partitionLabel: ['r-*'], size: {min: 1Gi}}",
    ]);
    assert!(matches!(
        decide(&explain(&two, &partition())),
        Selection::Conflict(_)
    ));
}
