//! That what is to be moved can be read.
//!
//! pvmove copies by a mirror that handles no errors (lvm2 leaves `handle_errors` out for it; LVM 2.03.31): what it cannot
//! read it takes for copied, it reports success, and from then on the volume has there, without any error, whatever stood
//! in the new place before. So each piece is read once before it is moved, and one that cannot be read stays where it is.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use lvmd::lvm::devices::read_label;

use crate::probe::aligned::DirectReader;

/// How much is read at once, in bytes.
const CHUNK: usize = 1 << 20;

/// Runs of extents of the PV on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extents {
    /// The PV's node in /dev.
    pub disk: PathBuf,
    /// The first and the last extent of each.
    pub runs: Vec<(u64, u64)>,
    /// The size of an extent in bytes.
    pub size: u64,
}

/// Reads all of it from the disk, past the page cache.
///
/// # Errors
/// Where it cannot be read, and what that means.
pub fn readable(extents: &Extents) -> Result<(), String> {
    let disk = &extents.disk;
    let fails = |why: String| format!("{}: {why}", disk.display());
    let label = read_label(disk).map_err(|e| fails(e.to_string()))?;
    let (label, _) = label.ok_or_else(|| fails("it has no label".into()))?;
    let at = |extent: u64| label.data_start + extent * extents.size;
    for &(first, last) in &extents.runs {
        read(disk, at(first)..at(last + 1)).map_err(|(at, why)| {
            fails(format!(
                "it cannot be read at byte {at} ({why}), and pvmove would lose without a word what its volume has there; \
                 nothing of extents {first} to {last} is moved. Save what can be read of the volume, and restore the \
                 rest from a backup"
            ))
        })?;
    }
    Ok(())
}

/// Gives the byte where it fails.
fn read(disk: &Path, bytes: Range<u64>) -> Result<(), (u64, String)> {
    let mut position = bytes.start;
    let mut all = || -> std::io::Result<()> {
        let mut reader = DirectReader::open(disk)?;
        reader.seek(SeekFrom::Start(position))?;
        let mut chunk = vec![0; CHUNK];
        while position < bytes.end {
            let most = usize::try_from(bytes.end - position)
                .unwrap_or(CHUNK)
                .min(CHUNK);
            let count = reader.read(&mut chunk[..most])?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            position += count as u64;
        }
        Ok(())
    };
    let ended = all().map_err(|e| e.to_string());
    ended.map_err(|why| (position, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read_and_the_first_that_cannot_be_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(3 << 20).unwrap();
        assert_eq!(read(file.path(), 1 << 20..3 << 20), Ok(()));
        let (at, _) = read(file.path(), 1 << 20..4 << 20).unwrap_err();
        assert_eq!(at, 3 << 20);
        assert!(read(Path::new("/nonexistent"), 0..1).is_err());
    }
}
