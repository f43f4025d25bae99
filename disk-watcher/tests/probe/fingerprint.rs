//! The fingerprint changes with all it covers, and with nothing else.

use disk_watcher::probe::image::Sparse;
use disk_watcher::probe::{Finding, SignatureKind, fingerprint};

const MIB: u64 = 1 << 20;

#[test]
fn fingerprint_changes_with_everything_it_covers() {
    let of = |id: &str, image: &Sparse, findings: &[Finding]| {
        fingerprint(id, image.clone(), image.geometry(), findings).unwrap()
    };
    let swap = Finding {
        kind: SignatureKind::Swap,
        offset: 4086,
        length: 10,
        detail: "any".into(),
    };
    let xfs = Finding {
        kind: SignatureKind::Xfs,
        offset: 0,
        length: 4,
        detail: String::new(),
    };
    let blank = Sparse::new(10 * MIB, 512);
    let base = of("wwn-1", &blank, &[]);
    assert_eq!(base.len(), 64);
    assert!(
        base.bytes()
            .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
    );

    let mut head = blank.clone();
    head.put(MIB - 1, &[1]);
    let mut tail = blank.clone();
    tail.put(9 * MIB, &[1]);
    let others = [
        of("wwn-2", &blank, &[]),
        of("wwn-1", &Sparse::new(11 * MIB, 512), &[]),
        of("wwn-1", &head, &[]),
        of("wwn-1", &tail, &[]),
        of("wwn-1", &blank, std::slice::from_ref(&swap)),
        of(
            "wwn-1",
            &blank,
            &[Finding {
                offset: 8182,
                ..swap.clone()
            }],
        ),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_ne!(*other, base, "{index}");
        assert!(!others[..index].contains(other), "{index}");
    }
    let mut middle = blank.clone();
    middle.put(5 * MIB, &[1]);
    assert_eq!(of("wwn-1", &middle, &[]), base);

    // The order of findings and their texts do not count.
    let told = Finding {
        detail: "other".into(),
        ..swap.clone()
    };
    assert_eq!(
        of("a", &blank, &[swap, xfs.clone()]),
        of("a", &blank, &[xfs, told])
    );
}

#[test]
fn fingerprint_of_a_small_disk_covers_it_whole() {
    for size in [512, MIB, MIB + 512, 2 * MIB] {
        let blank = Sparse::new(size, 512);
        let base = fingerprint("id", blank.clone(), blank.geometry(), &[]).unwrap();
        for at in [0, size / 2, size - 1] {
            let mut image = blank.clone();
            image.put(at, &[1]);
            assert_ne!(
                fingerprint("id", image.clone(), image.geometry(), &[]).unwrap(),
                base,
                "{size} {at}"
            );
        }
    }
}
