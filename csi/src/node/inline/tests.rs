use lvmd::units::{GIB, MIB};

use super::*;
use crate::filesystem::Kind;

const ID: &str = "csi-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn mount(kind: Kind) -> Access {
    Access::Mount {
        kind,
        flags: vec![],
    }
}

fn context(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    let usual = [
        ("csi.storage.k8s.io/ephemeral", "true"),
        ("csi.storage.k8s.io/pod.namespace", "ns"),
        ("csi.storage.k8s.io/pod.name", "pod-1"),
        ("topolvm.io/device-class", "ssd"),
    ];
    let all = usual.iter().chain(pairs);
    all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn wanted(pairs: &[(&str, &str)], kind: Kind) -> Wanted {
    Wanted::read(ID, &context(pairs), &mount(kind), false)
        .unwrap()
        .unwrap()
}

fn allowed() -> Allowed {
    Allowed {
        classes: [("ssd".to_owned(), Bytes(2 * GIB))].into(),
        minimums: Minimums::default(),
    }
}

#[test]
fn what_a_pod_asks_for_becomes_an_lv_that_says_so() {
    let create = allowed()
        .judge(&wanted(&[("basalt.storage/size", "1500Mi")], Kind::Xfs))
        .unwrap();
    assert_eq!(
        (create.name.as_str(), create.class.as_str(), create.size),
        (ID, "ssd", Bytes(1500 * MIB))
    );
    assert_eq!(
        create.tags,
        [
            "basalt.ephemeral=ns/pod-1",
            "basalt.device-class=ssd",
            "basalt.content=xfs"
        ]
    );
    // A size that is not told, and one that no XFS has room on.
    let sizes = [("", GIB), ("1Mi", 300 * MIB)].map(|(text, size)| {
        let pairs = [("basalt.storage/size", text)];
        let pairs = if text.is_empty() { &[][..] } else { &pairs };
        (
            allowed().judge(&wanted(pairs, Kind::Xfs)).unwrap().size,
            Bytes(size),
        )
    });
    for (is, wanted) in sizes {
        assert_eq!(is, wanted);
    }
}

#[test]
fn only_the_classes_and_sizes_that_are_allowed_are_made() {
    let refused = |allowed: &Allowed, pairs: &[(&str, &str)]| {
        let error = allowed.judge(&wanted(pairs, Kind::Ext4)).unwrap_err();
        assert_eq!(error::code(&error), Code::FailedPrecondition);
        error.to_string()
    };
    let other = refused(&allowed(), &[("topolvm.io/device-class", "hdd")]);
    assert!(
        other.contains("ssd may be used") && other.contains("ns/pod-1"),
        "{other}"
    );
    let large = refused(&allowed(), &[("basalt.storage/size", "3Gi")]);
    assert!(large.contains("2Gi"), "{large}");
    let none = refused(&Allowed::default(), &[]);
    assert!(none.contains("node.inlineVolumes.classes"), "{none}");
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_made() {
    let read = |id: &str, pairs: &[(&str, &str)], access: Access, read_only: bool| {
        Wanted::read(id, &context(pairs), &access, read_only)
    };
    let ext4 = || mount(Kind::Ext4);
    assert!(read(ID, &[], ext4(), false).unwrap().is_some());
    for (id, pairs, access, read_only) in [
        (
            "1b1f0a5e-0000-4000-8000-000000000000",
            &[][..],
            ext4(),
            false,
        ),
        (&ID[..67], &[], ext4(), false),
        (ID, &[], Access::Block, false),
        (ID, &[], ext4(), true),
        (ID, &[("topolvm.io/device-class", "")], ext4(), false),
        (ID, &[("basalt.storage/size", "much")], ext4(), false),
        (ID, &[("basalt.storage/size", "0")], ext4(), false),
        (
            ID,
            &[("topolvm.io/lvcreate-option-class", "raid1")],
            ext4(),
            false,
        ),
    ] {
        let error = read(id, pairs, access, read_only).unwrap_err();
        assert_eq!(error::code(&error), Code::InvalidArgument, "{error}");
    }
    // A volume that a PersistentVolume stands for is none, whatever its attributes are.
    for told in ["false", ""] {
        let pairs = [("csi.storage.k8s.io/ephemeral", told)];
        assert_eq!(read("x", &pairs, Access::Block, true).unwrap(), None);
    }
}

#[test]
fn nothing_is_removed_but_what_was_made_for_a_pod() {
    let device = |id: &str, tags: &[&str]| Device {
        id: id.to_owned(),
        class: "ssd".to_owned(),
        devno: None,
        size: Bytes(GIB),
        is_thin: true,
        is_usable: false,
        unzeroed: false,
        sick: None,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    };
    assert!(goes_with_its_pod(&device(
        ID,
        &["basalt.ephemeral=ns/pod-1"]
    )));
    for (id, tags) in [
        (ID, &[][..]),
        (ID, &["basalt.ephemeralx=ns/pod-1"]),
        // Somebody made a LogicalVolume for it.
        (ID, &["basalt.ephemeral=ns/pod-1", "basalt.lv=pvc-1"]),
        (
            "1b1f0a5e-0000-4000-8000-000000000000",
            &["basalt.ephemeral=ns/pod-1"],
        ),
    ] {
        assert!(!goes_with_its_pod(&device(id, tags)), "{id} {tags:?}");
    }
}

#[test]
fn after_an_answer_the_kubelet_unpublishes_what_may_be_there() {
    for (error, code) in [
        (Error::Internal("mkfs".into()), Code::Unavailable),
        (Error::Precondition("frozen".into()), Code::Unavailable),
        (Error::NoSpace("full".into()), Code::ResourceExhausted),
        (Error::Aborted("busy".into()), Code::Aborted),
    ] {
        let text = error.to_string();
        let said = lasting(error);
        assert_eq!((error::code(&said), said.to_string()), (code, text));
    }
}
