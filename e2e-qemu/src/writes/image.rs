//! The bytes of a disk in memory: only blocks that have something take room.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::Entry;

const BLOCK: usize = 4096;
const SECTOR: usize = 512;

/// The bytes of a disk; blocks of zeroes are not among them. A copy shares what is equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    blocks: BTreeMap<u64, Arc<[u8; BLOCK]>>,
}

impl Image {
    /// Writes there.
    pub fn write(&mut self, mut offset: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let within = usize::try_from(offset % BLOCK as u64).unwrap_or(0);
            let now = data.len().min(BLOCK - within);
            let (head, rest) = data.split_at(now);
            let number = offset / BLOCK as u64;
            let zeroes = || Arc::new([0; BLOCK]);
            let block = self.blocks.entry(number).or_insert_with(zeroes);
            Arc::make_mut(block)[within..within + now].copy_from_slice(head);
            if **block == [0; BLOCK] {
                self.blocks.remove(&number);
            }
            offset += now as u64;
            data = rest;
        }
    }

    /// Does what the entry did.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Write { offset, data, .. } => self.write(*offset, data),
            Entry::Discard { offset, length } => self.discard(*offset, *length),
            Entry::Flush | Entry::Mark(_) => {}
        }
    }

    /// Does the part of a write whose sectors `reached` names, counted from its first.
    pub fn apply_torn(&mut self, entry: &Entry, reached: Range<usize>) {
        if let Entry::Write { offset, data, .. } = entry {
            let end = (reached.end * SECTOR).min(data.len());
            let start = (reached.start * SECTOR).min(end);
            self.write(offset + start as u64, &data[start..end]);
        }
    }

    fn discard(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        let touched = offset / BLOCK as u64..end.div_ceil(BLOCK as u64);
        let numbers: Vec<u64> = self.blocks.range(touched).map(|(n, _)| *n).collect();
        for number in numbers {
            let first = number * BLOCK as u64;
            let (from, to) = (offset.max(first), end.min(first + BLOCK as u64));
            let part = usize::try_from(to - from).unwrap_or(0);
            self.write(from, &[0; BLOCK][..part]);
        }
    }

    /// Whether these bytes are the same in both.
    pub fn same_in(&self, other: &Self, range: &Range<u64>) -> bool {
        let range = range.start / BLOCK as u64..range.end / BLOCK as u64;
        // What copies share is not compared byte by byte.
        let (mine, theirs) = (self.blocks.range(range.clone()), other.blocks.range(range));
        mine.eq(theirs)
    }

    /// Writes these bytes, whole blocks of them, to a file, which becomes that long and is sparse.
    ///
    /// # Errors
    /// The file's own.
    pub fn save(&self, range: &Range<u64>, path: &Path) -> io::Result<()> {
        let file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .open(path)?;
        file.set_len(range.end - range.start)?;
        let blocks = range.start / BLOCK as u64..range.end / BLOCK as u64;
        for (number, block) in self.blocks.range(blocks) {
            file.write_all_at(&block[..], number * BLOCK as u64 - range.start)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(image: &Image, range: Range<u64>) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        image.save(&range, file.path()).unwrap();
        std::fs::read(file.path()).unwrap()
    }

    #[test]
    fn writes_and_discards_end_where_they_end() {
        let mut image = Image::default();
        image.write(4000, &[1; 5000]);
        let mut wanted = vec![0; 12288];
        wanted[4000..9000].fill(1);
        assert_eq!(bytes(&image, 0..12288), wanted);
        assert_eq!(bytes(&image, 4096..12288), wanted[4096..]);
        let (offset, length) = (4608, 3584);
        image.apply(&Entry::Discard { offset, length });
        wanted[4608..8192].fill(0);
        assert_eq!(bytes(&image, 0..12288), wanted);
    }

    #[test]
    fn a_torn_write_reaches_some_sectors() {
        let write = Entry::Write {
            offset: 8192,
            data: vec![9; 2048],
            through: false,
        };
        let mut image = Image::default();
        image.apply_torn(&write, 1..3);
        let mut wanted = vec![0; 4096];
        wanted[512..1536].fill(9);
        assert_eq!(bytes(&image, 8192..12288), wanted);
        let mut whole = Image::default();
        whole.apply_torn(&write, 0..99);
        image.apply(&write);
        assert_eq!(image, whole);
    }

    #[test]
    fn a_copy_keeps_what_it_was() {
        let mut image = Image::default();
        image.write(0, &[1; 4096]);
        let before = image.clone();
        image.write(10, &[2]);
        assert!(!image.same_in(&before, &(0..4096)));
        assert!(image.same_in(&before, &(4096..8192)));
        image.write(10, &[1]);
        image.write(8192, &[0; 4096]);
        assert!(image.same_in(&before, &(0..12288)), "zeroes are nothing");
    }
}
