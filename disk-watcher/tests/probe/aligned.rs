//! O_DIRECT input gives the same bytes as any other.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use disk_watcher::probe::aligned::DirectReader;
use disk_watcher::probe::image::written;
use disk_watcher::probe::scan;

/// In the target folder, which is on a real file system: a tmpfs may not have O_DIRECT.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn reads_any_range_of_a_file() {
    let path = scratch("probe-aligned-ranges");
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1])
        .collect();
    fs::write(&path, &content).unwrap();
    let mut reader = DirectReader::open(&path).unwrap();
    for (offset, length) in [
        (0, 1),
        (511, 2),
        (4095, 4098),
        (2_999_000, 1000),
        (100, 2_500_000),
    ] {
        reader.seek(SeekFrom::Start(offset as u64)).unwrap();
        let mut out = vec![0; length];
        reader.read_exact(&mut out).unwrap();
        assert_eq!(out, content[offset..offset + length]);
    }
    reader.seek(SeekFrom::Start(3_000_000)).unwrap();
    assert_eq!(reader.read(&mut [0; 16]).unwrap(), 0);
    reader.seek(SeekFrom::Start(9_000_000)).unwrap();
    assert_eq!(reader.read(&mut [0; 16]).unwrap(), 0);
    assert!(reader.seek(SeekFrom::End(0)).is_err());
    fs::remove_file(path).unwrap();
}

#[test]
fn a_scan_through_it_is_a_scan() {
    let path = scratch("probe-aligned-scan");
    for fixture in written() {
        let geometry = fixture.image.geometry();
        if geometry.size_bytes > 1 << 30 || !geometry.size_bytes.is_multiple_of(4096) {
            continue;
        }
        let file = File::create(&path).unwrap();
        file.set_len(geometry.size_bytes).unwrap();
        fixture.image.write_to(&file).unwrap();
        file.sync_all().unwrap();
        let direct = scan(DirectReader::open(&path).unwrap(), geometry).unwrap();
        assert_eq!(
            direct,
            scan(fixture.image.clone(), geometry).unwrap(),
            "{}",
            fixture.name
        );
    }
    fs::remove_file(path).unwrap();
}
