//! Every signature is found: on disks that real tools made, and on disks written from the formats.

use std::collections::BTreeSet;

use crate::fixtures::{captured, look};
use disk_watcher::probe::image::{Sparse, written};
use disk_watcher::probe::{Findings, Geometry, Maker, SignatureKind};

fn kinds(findings: &Findings) -> BTreeSet<&'static str> {
    findings
        .signatures
        .iter()
        .map(|finding| finding.kind.name())
        .collect()
}

#[test]
fn finds_what_real_tools_made() {
    for fixture in captured() {
        let found = kinds(&look(&fixture.image));
        for kind in &fixture.finds {
            assert!(
                found.contains(kind.name()),
                "{}: no {kind} in {found:?}",
                fixture.name
            );
        }
    }
}

#[test]
fn finds_what_is_written_from_the_formats() {
    for fixture in written() {
        let found = kinds(&look(&fixture.image));
        for kind in &fixture.finds {
            assert!(
                found.contains(kind.name()),
                "{}: no {kind} in {found:?}",
                fixture.name
            );
        }
    }
}

#[test]
fn every_kind_has_a_disk_and_real_tools_made_those_they_can() {
    let real: BTreeSet<_> = captured()
        .iter()
        .flat_map(|fixture| fixture.finds.clone())
        .collect();
    let written: BTreeSet<_> = written()
        .iter()
        .flat_map(|fixture| fixture.finds.clone())
        .collect();
    for kind in SignatureKind::ALL {
        match kind.maker() {
            Maker::Tool(tool) => {
                assert!(real.contains(kind), "no fixture of {kind} made by {tool}")
            }
            Maker::Written => assert!(written.contains(kind), "nothing writes {kind}"),
        }
    }
}

#[test]
fn names_are_unique_and_lower_case() {
    let names: BTreeSet<_> = SignatureKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), SignatureKind::ALL.len());
    for name in names {
        assert!(
            name.bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')),
            "{name}"
        );
    }
}

#[test]
fn a_blank_disk_has_nothing() {
    for sector in [512, 4096] {
        for size in [
            4096,
            1 << 20,
            (64 << 20) + 4096 * 77,
            300 << 30,
            2 << 40,
            64 << 40,
        ] {
            let found = look(&Sparse::new(size, sector));
            assert_eq!(
                found,
                Findings::default(),
                "{size} bytes in sectors of {sector}"
            );
        }
    }
}

#[test]
fn no_size_of_disk_is_too_small_to_look_at() {
    for sectors in 1..600 {
        assert!(look(&Sparse::new(sectors * 512, 512)).is_empty());
    }
}

#[test]
fn the_sector_size_of_the_disk_does_not_hide_a_signature() {
    for fixture in captured().into_iter().chain(written()) {
        let Geometry {
            size_bytes,
            logical_sector,
        } = fixture.image.geometry();
        let other = if logical_sector == 512 { 4096 } else { 512 };
        if size_bytes % other == 0 {
            let image = fixture
                .image
                .clone()
                .with_sector(u32::try_from(other).unwrap());
            assert_eq!(look(&image), look(&fixture.image), "{}", fixture.name);
        }
    }
}

#[test]
fn findings_are_where_they_say() {
    // Each finding's bytes are on the disk: something is written inside the range it names.
    for fixture in captured().into_iter().chain(written()) {
        for finding in look(&fixture.image).signatures {
            let (from, to) = (finding.offset, finding.offset + finding.length);
            let inside = |(at, bytes): (u64, &[u8; 512])| {
                (at..)
                    .zip(bytes)
                    .any(|(at, byte)| (from..to).contains(&at) && *byte != 0)
            };
            assert!(
                fixture.image.parts().any(inside),
                "{}: {finding:?}",
                fixture.name
            );
        }
    }
}
