//! The reader every probe goes through: whole, aligned, bounded reads, each page read once.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::{Geometry, ProbeError};

/// Unit of all input: offsets and lengths are multiples of it (but for a tail that the disk itself cuts off), so the
/// reads suit O_DIRECT on 512 and 4096 byte sectors alike.
pub(super) const PAGE: u64 = 4096;

/// Most input one scan may cause, in bytes.
pub(super) const BUDGET: u64 = 64 << 20;

/// A disk being scanned. What was read is kept, so probes that look at the same place cost one read.
#[derive(Debug)]
pub(super) struct Disk<R> {
    reader: R,
    geometry: Geometry,
    /// By their first page; no two have a page in common.
    runs: BTreeMap<u64, Vec<u8>>,
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
            runs: BTreeMap::new(),
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

    /// Has these bytes read, so that whoever looks at parts of them causes no read; those that do not all lie on the
    /// disk are left alone.
    ///
    /// # Errors
    /// Any failed or short read, and [`ProbeError::Budget`].
    pub(super) fn fetch(&mut self, offset: u64, length: u64) -> Result<(), ProbeError> {
        self.cover(offset, length).map(drop)
    }

    /// `length` bytes at `offset`, or `None` when they do not all lie on the disk.
    ///
    /// # Errors
    /// Any failed or short read, and [`ProbeError::Budget`].
    pub(super) fn at(&mut self, offset: u64, length: usize) -> Result<Option<Vec<u8>>, ProbeError> {
        let Some(end) = self.cover(offset, length as u64)? else {
            return Ok(None);
        };
        let mut out = Vec::with_capacity(length);
        while out.len() < length {
            let at = offset + out.len() as u64;
            let (page, run) = self.run_of(at / PAGE).ok_or(ProbeError::Short {
                ended: at,
                size_bytes: self.size(),
            })?;
            let start = page * PAGE;
            let from = usize::try_from(at - start).unwrap_or(usize::MAX);
            let to = usize::try_from(end - start).unwrap_or(usize::MAX);
            out.extend_from_slice(&run[from..to.min(run.len())]);
        }
        Ok(Some(out))
    }

    /// Reads what is not read yet of these bytes; gives their end, or `None` when they do not all lie on the disk.
    fn cover(&mut self, offset: u64, length: u64) -> Result<Option<u64>, ProbeError> {
        let end = offset.checked_add(length);
        let Some(end) = end.filter(|end| *end <= self.size()) else {
            return Ok(None);
        };
        let (mut page, last) = (offset / PAGE, end.div_ceil(PAGE));
        while page < last {
            if let Some((first, run)) = self.run_of(page) {
                page = first + (run.len() as u64).div_ceil(PAGE);
                continue;
            }
            let next = self.runs.range(page..last).next();
            let until = next.map_or(last, |(first, _)| *first);
            self.load(page, until - page)?;
            page = until;
        }
        Ok(Some(end))
    }

    /// The run that has this page, and its first page.
    fn run_of(&self, page: u64) -> Option<(u64, &[u8])> {
        let (first, run) = self.runs.range(..=page).next_back()?;
        let has = (page - first) * PAGE < run.len() as u64;
        has.then_some((*first, &run[..]))
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
        self.runs.insert(page, buffer);
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
