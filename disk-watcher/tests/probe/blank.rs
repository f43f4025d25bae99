//! The content check, and what every reader of a whole disk refuses.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use disk_watcher::probe::blank::{Progress, check};
use disk_watcher::probe::image::Sparse;
use disk_watcher::probe::{Blank, BlankPolicy, Geometry, ProbeError, fingerprint, scan};

const MIB: u64 = 1 << 20;

fn go(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn run(image: &Sparse, policy: BlankPolicy) -> Blank {
    check(image.clone(), image.geometry(), policy, go).expect("the image can be read")
}

#[test]
fn full_finds_any_byte() {
    let size = 20 * MIB;
    assert_eq!(
        run(&Sparse::new(size, 512), BlankPolicy::Full),
        Blank::Blank
    );
    for at in [
        0,
        1,
        511,
        4095,
        4096,
        MIB - 1,
        MIB,
        7 * MIB + 12_345,
        size - 1,
    ] {
        let mut image = Sparse::new(size, 512);
        image.put(at, &[1]);
        assert_eq!(
            run(&image, BlankPolicy::Full),
            Blank::NotZero { first_offset: at }
        );
    }
}

#[test]
fn head_and_tail_reads_both_ends_and_the_samples() {
    let size = 1 << 40;
    let policy = BlankPolicy::HeadAndTail;
    assert_eq!(run(&Sparse::new(size, 4096), policy), Blank::Blank);
    // The first and last byte of each range.
    let seen = [
        0,
        4 * MIB - 1,
        4 * MIB,
        4 * MIB + 65_535,
        size - 4 * MIB,
        size - 1,
    ];
    for at in seen {
        let mut image = Sparse::new(size, 4096);
        image.put(at, &[0x80]);
        assert_eq!(
            run(&image, policy),
            Blank::NotZero { first_offset: at },
            "{at}"
        );
    }
    // It promises no more than that.
    let mut image = Sparse::new(size, 4096);
    image.put(4 * MIB + 65_536, &[1]);
    assert_eq!(run(&image, policy), Blank::Blank);
    assert_eq!(run(&image, BlankPolicy::None), Blank::Blank);
}

#[test]
fn samples_are_sixty_four_apart_and_inside() {
    for size in [17 * MIB, 100 * MIB + 512 * 77, (3 << 40) + 4096 * 5] {
        let counted = Counting {
            inner: Sparse::new(size, 512),
            reads: Vec::new(),
        };
        let mut reader = counted;
        let geometry = Geometry {
            size_bytes: size,
            logical_sector: 512,
        };
        check(&mut reader, geometry, BlankPolicy::HeadAndTail, go).unwrap();
        let samples: Vec<_> = reader
            .reads
            .iter()
            .filter(|(_, length)| *length == 65_536)
            .collect();
        assert_eq!(samples.len(), 64, "{size}");
        assert!(
            reader
                .reads
                .iter()
                .all(|(at, length)| at % 4096 == 0 && at + *length as u64 <= size)
        );
        assert!(reader.reads.is_sorted());
        assert_eq!(
            reader
                .reads
                .iter()
                .map(|(at, length)| at + *length as u64)
                .max(),
            Some(size)
        );
    }
}

struct Counting {
    inner: Sparse,
    reads: Vec<(u64, usize)>,
}

impl Read for Counting {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let at = self.inner.stream_position()?;
        self.reads.push((at, out.len()));
        self.inner.read(out)
    }
}

impl Seek for Counting {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn small_disks_are_read_whole_by_head_and_tail() {
    let mut image = Sparse::new(12 * MIB, 512);
    image.put(6 * MIB + 3, &[1]);
    assert_eq!(
        run(&image, BlankPolicy::HeadAndTail),
        Blank::NotZero {
            first_offset: 6 * MIB + 3
        }
    );
}

#[test]
fn the_default_reads_disks_of_up_to_64_gib_in_full() {
    assert_eq!(BlankPolicy::default_for(64 << 30), BlankPolicy::Full);
    assert_eq!(
        BlankPolicy::default_for((64 << 30) + 512),
        BlankPolicy::HeadAndTail
    );
}

#[test]
fn reports_progress_and_stops_when_told() {
    let image = Sparse::new(10 * MIB, 512);
    let mut steps = Vec::new();
    let progress = |progress: Progress| {
        steps.push(progress);
        ControlFlow::Continue(())
    };
    check(image.clone(), image.geometry(), BlankPolicy::Full, progress).unwrap();
    assert_eq!(steps.len(), 10);
    assert_eq!(
        steps[9],
        Progress {
            done: 10 * MIB,
            total: 10 * MIB
        }
    );

    let stop = |progress: Progress| {
        if progress.done >= 3 * MIB {
            ControlFlow::Break(())
        } else {
            go(progress)
        }
    };
    let error = check(image.clone(), image.geometry(), BlankPolicy::Full, stop).unwrap_err();
    assert!(
        matches!(error, ProbeError::Cancelled { offset } if offset == 3 * MIB),
        "{error}"
    );
}

#[test]
fn a_short_disk_is_never_blank() {
    let zeros = Cursor::new(vec![0; 5 << 20]);
    let geometry = Geometry {
        size_bytes: 6 * MIB,
        logical_sector: 512,
    };
    for policy in [BlankPolicy::Full, BlankPolicy::HeadAndTail] {
        let error = check(zeros.clone(), geometry, policy, go).unwrap_err();
        assert!(
            matches!(
                error,
                ProbeError::Short {
                    ended: 5_242_880,
                    ..
                }
            ),
            "{error}"
        );
    }
    assert!(matches!(
        scan(zeros, geometry).unwrap_err(),
        ProbeError::Short { .. }
    ));
}

#[test]
fn a_geometry_that_cannot_be_is_an_error() {
    for (size_bytes, logical_sector) in [
        (0, 512),
        (1000, 512),
        (4096, 0),
        (4096, 520),
        (512, 4096),
        (4096, 256),
    ] {
        let geometry = Geometry {
            size_bytes,
            logical_sector,
        };
        let zeros = Cursor::new(vec![0; 8192]);
        let error = scan(zeros.clone(), geometry).unwrap_err();
        assert!(matches!(error, ProbeError::Geometry { .. }), "{error}");
        assert!(check(zeros.clone(), geometry, BlankPolicy::None, go).is_err());
        assert!(fingerprint("id", zeros, geometry, &[]).is_err());
    }
}
