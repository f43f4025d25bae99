//! The reader every probe goes through: whole, aligned, bounded reads, each page read once.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::{Geometry, ProbeError};

/// Unit of all input: offsets and lengths are multiples of it (but for a tail that the disk itself cuts off), so the
/// reads suit O_DIRECT on 512 and 4096 byte sectors alike.
pub(super) const PAGE: u64 = 4096;

/// Most input one scan may cause, in bytes.
pub(super) const BUDGET: u64 = 64 << 20;

/// A disk being scanned. Pages are kept, so probes that look at the same place cost one read.
#[derive(Debug)]
pub(super) struct Disk<R> {
    reader: R,
    geometry: Geometry,
    pages: BTreeMap<u64, Vec<u8>>,
    input: u64,
}

impl<R: Read + Seek> Disk<R> {
    /// # Errors
    /// [`ProbeError::Geometry`] for a size of zero or not of whole sectors, or a sector that no disk has.
    pub(super) fn new(reader: R, geometry: Geometry) -> Result<Self, ProbeError> {
        geometry.check()?;
        Ok(Self {
            reader,
            geometry,
            pages: BTreeMap::new(),
            input: 0,
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.geometry.size_bytes
    }

    /// Bytes of input so far.
    #[cfg(test)]
    pub(super) fn input(&self) -> u64 {
        self.input
    }

    /// `length` bytes at `offset`, or `None` when they do not all lie on the disk.
    ///
    /// # Errors
    /// Any failed or short read, and [`ProbeError::Budget`].
    pub(super) fn at(&mut self, offset: u64, length: usize) -> Result<Option<Vec<u8>>, ProbeError> {
        let Some(end) = offset
            .checked_add(length as u64)
            .filter(|end| *end <= self.size())
        else {
            return Ok(None);
        };
        let mut out = Vec::with_capacity(length);
        let (first, last) = (offset / PAGE, end.div_ceil(PAGE));
        let mut page = first;
        while page < last {
            if self.pages.contains_key(&page) {
                page += 1;
                continue;
            }
            let run = (page..last)
                .take_while(|p| !self.pages.contains_key(p))
                .count() as u64;
            self.load(page, run)?;
            page += run;
        }
        for (index, page) in self.pages.range(first..last) {
            let start = index * PAGE;
            let from = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
            let to = usize::try_from(end - start)
                .unwrap_or(usize::MAX)
                .min(page.len());
            out.extend_from_slice(&page[from..to]);
        }
        Ok(Some(out))
    }

    /// The same, counted from the end of the disk: the first byte is `back` bytes before the end of the last whole
    /// unit of `align` bytes.
    pub(super) fn before_end(
        &mut self,
        align: u64,
        back: u64,
        length: usize,
    ) -> Result<Option<(u64, Vec<u8>)>, ProbeError> {
        match (self.size() / align * align).checked_sub(back) {
            Some(offset) => Ok(self.at(offset, length)?.map(|bytes| (offset, bytes))),
            None => Ok(None),
        }
    }

    /// Reads `count` pages in one request.
    fn load(&mut self, page: u64, count: u64) -> Result<(), ProbeError> {
        let offset = page * PAGE;
        let bytes = (count * PAGE).min(self.size() - offset);
        self.input += bytes;
        if self.input > BUDGET {
            return Err(ProbeError::Budget { limit: BUDGET });
        }
        let length = usize::try_from(bytes).map_err(|_| ProbeError::Budget { limit: BUDGET })?;
        let mut buffer = vec![0; length];
        read_exactly(&mut self.reader, self.geometry, offset, &mut buffer)?;
        for (index, chunk) in (page..).zip(buffer.chunks(4096)) {
            self.pages.insert(index, chunk.to_vec());
        }
        Ok(())
    }
}

/// Fills `buffer` from `offset`, or says at which byte the disk ended: a short read is never taken for zeros.
pub(super) fn read_exactly<R: Read + Seek>(
    reader: &mut R,
    geometry: Geometry,
    offset: u64,
    buffer: &mut [u8],
) -> Result<(), ProbeError> {
    let length = buffer.len();
    let io = |source| ProbeError::Io {
        offset,
        length,
        source,
    };
    reader.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut filled = 0;
    while filled < length {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => {
                return Err(ProbeError::Short {
                    ended: offset + filled as u64,
                    size_bytes: geometry.size_bytes,
                });
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(io(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn disk(bytes: Vec<u8>) -> Disk<Cursor<Vec<u8>>> {
        let geometry = Geometry {
            size_bytes: bytes.len() as u64,
            logical_sector: 512,
        };
        Disk::new(Cursor::new(bytes), geometry).unwrap()
    }

    #[test]
    fn gives_bytes_across_pages_and_reads_each_page_once() {
        let content: Vec<u8> = (0..10_240_u32)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect();
        let mut disk = disk(content.clone());
        assert_eq!(disk.at(4000, 5000).unwrap().unwrap(), content[4000..9000]);
        assert_eq!(disk.at(0, 10_240).unwrap().unwrap(), content);
        assert_eq!(disk.at(10_000, 240).unwrap().unwrap(), content[10_000..]);
        assert_eq!(disk.input(), 10_240);
    }

    #[test]
    fn places_off_the_disk_are_none() {
        let mut disk = disk(vec![0; 1024]);
        assert!(disk.at(1000, 25).unwrap().is_none());
        assert!(disk.at(u64::MAX, 2).unwrap().is_none());
        assert!(disk.before_end(512, 1536, 1).unwrap().is_none());
    }

    #[test]
    fn a_disk_shorter_than_its_size_is_an_error() {
        let geometry = Geometry {
            size_bytes: 8192,
            logical_sector: 512,
        };
        let mut disk = Disk::new(Cursor::new(vec![0; 5000]), geometry).unwrap();
        let error = disk.at(0, 8192).unwrap_err();
        assert!(
            matches!(
                error,
                ProbeError::Short {
                    ended: 5000,
                    size_bytes: 8192
                }
            ),
            "{error}"
        );
    }
}
