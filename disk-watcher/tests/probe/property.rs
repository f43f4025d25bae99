//! What holds for every disk: no panic, no miss, bounded and aligned input, and no error taken for "nothing".

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::LazyLock;

use crate::fixtures::captured;
use disk_watcher::probe::image::{Fixture, Sparse, written};
use disk_watcher::probe::{Geometry, ProbeError, SignatureKind, scan};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use proptest::{prop_assert, prop_assume};

static ALL: LazyLock<Vec<Fixture>> =
    LazyLock::new(|| captured().into_iter().chain(written()).collect());

/// A disk that answers a read only when it is whole pages, counts what it gives, and can refuse one page.
struct Strict {
    inner: Sparse,
    size: u64,
    given: u64,
    bad: Option<u64>,
}

impl Strict {
    fn new(inner: Sparse) -> Self {
        let size = inner.geometry().size_bytes;
        Self {
            inner,
            size,
            given: 0,
            bad: None,
        }
    }
}

impl Read for Strict {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let at = self.inner.stream_position()?;
        let end = at + out.len() as u64;
        assert!(at.is_multiple_of(4096), "read at {at}");
        assert!(
            end.is_multiple_of(4096) || end == self.size,
            "read up to {end}"
        );
        if self.bad.is_some_and(|bad| (at..end).contains(&bad)) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.given += out.len() as u64;
        self.inner.read(out)
    }
}

impl Seek for Strict {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

fn kinds(image: &Sparse) -> BTreeSet<SignatureKind> {
    let found = scan(image.clone(), image.geometry()).expect("the image can be read");
    found
        .signatures
        .iter()
        .map(|finding| finding.kind)
        .collect()
}

#[test]
fn input_is_aligned_and_bounded_on_disks_of_all_sizes() {
    for size in [
        512,
        4096 + 512,
        1 << 20,
        100 << 20,
        1 << 40,
        20 << 40,
        (20 << 40) + 512 * 3,
    ] {
        let mut disk = Strict::new(Sparse::new(size, 512));
        let geometry = disk.inner.geometry();
        scan(&mut disk, geometry).unwrap();
        assert!(
            disk.given <= 12 << 20,
            "{} bytes read of {size}",
            disk.given
        );
    }
}

#[test]
fn a_page_that_cannot_be_read_is_an_error_wherever_a_scan_looks() {
    // 0, a backup of ext4, a mirror of btrfs, the last sector.
    for bad in [0, 128 << 20, 64 << 20, (1 << 40) - 1] {
        let mut disk = Strict::new(Sparse::new(1 << 40, 512));
        disk.bad = Some(bad);
        let geometry = disk.inner.geometry();
        let error = scan(&mut disk, geometry).unwrap_err();
        assert!(matches!(error, ProbeError::Io { .. }), "{error}");
    }
}

#[test]
fn a_damaged_metadata_pointer_cannot_exceed_the_budget() {
    for fixture in ALL.iter() {
        let mut disk = Strict::new(fixture.image.clone());
        let geometry = disk.inner.geometry();
        scan(&mut disk, geometry).unwrap();
        assert!(
            disk.given <= 32 << 20,
            "{}: {} bytes",
            fixture.name,
            disk.given
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_heads_and_tails_never_panic(
        head in prop::collection::vec(any::<u8>(), 0..20_000),
        tail in prop::collection::vec(any::<u8>(), 0..20_000),
        sectors in 1_u64..200_000,
    ) {
        let mut image = Sparse::new(sectors * 512, 512);
        image.put(0, &head).put_back(tail.len() as u64, &tail);
        prop_assert!(scan(image.clone(), image.geometry()).is_ok());
    }

    /// Bytes behind a real magic number go wrong: the finding stays or changes, nothing panics or runs away.
    #[test]
    fn damaged_structures_never_panic(
        index in any::<prop::sample::Index>(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..512, any::<u8>()), 1..40),
    ) {
        let mut image = index.get(&ALL).image.clone();
        let places: Vec<u64> = image.parts().map(|(at, _)| at).collect();
        for (sector, at, byte) in hits {
            image.put(sector.get(&places) + at as u64, &[byte]);
        }
        prop_assert!(scan(image.clone(), image.geometry()).is_ok());
    }

    /// The same on a disk cut off anywhere: its reader ends early, which is an error, or its size is what is left.
    #[test]
    fn truncated_disks_never_panic_and_never_pass_for_whole(
        index in any::<prop::sample::Index>(),
        part in 0.0_f64..1.0,
    ) {
        let image = index.get(&ALL).image.clone();
        let geometry = image.geometry();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "any cut will do")]
        let left = (geometry.size_bytes as f64 * part) as u64 / 4096 * 4096;
        prop_assume!(left > 0 && left < geometry.size_bytes / 4096 * 4096);
        let cut = image.resized(left);
        prop_assert!(scan(cut.clone(), cut.geometry()).is_ok());
        let error = scan(cut, geometry).expect_err("the tail is missing");
        let short = matches!(error, ProbeError::Short { .. });
        prop_assert!(short, "{}", error);
    }

    /// Whatever else is on the disk, a signature in its place is found. Only a format that says by a checksum or a
    /// second field what it is can be hidden by damage to itself, so the noise keeps off its sectors.
    #[test]
    fn a_planted_signature_is_found_whatever_else_there_is(
        index in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let planted = index.get(&ALL);
        let Geometry { size_bytes, .. } = planted.image.geometry();
        let mut image = Sparse::new(size_bytes, 512);
        let mut noise = seed | 1;
        let mut block = [0; 8192];
        for place in [0, 8192, 16_384, 64 << 10, 1 << 20, 64 << 20, size_bytes.saturating_sub(8192)] {
            for byte in &mut block {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = noise.to_be_bytes()[0];
            }
            image.put(place, &block);
        }
        for (at, bytes) in other.get(&ALL).image.parts() {
            image.put(at, bytes);
        }
        for (at, bytes) in planted.image.parts() {
            image.put(at, bytes);
        }
        let found = kinds(&image);
        for kind in &planted.finds {
            prop_assert!(found.contains(kind), "{}: no {kind}", planted.name);
        }
    }
}

#[test]
fn random_disks_of_4096_byte_sectors_never_panic() {
    for fixture in ALL.iter() {
        let size = fixture.image.geometry().size_bytes / 4096 * 4096;
        let image = fixture
            .image
            .clone()
            .resized(size.max(4096))
            .with_sector(4096);
        let _ = kinds(&image);
    }
}
