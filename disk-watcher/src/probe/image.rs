//! Disks for tests: sparse images, the captured fixtures, and images of formats that no tool at hand can make.
//!
//! Only with the feature `fixtures`, so none of it is in the product. The writers here repeat the published formats in
//! their own words and share no constant with the probes: a slip in one shows against the other.

mod device;
mod filesystem;
mod firmware;
mod lvm;

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

pub use lvm::{LvmImage, LvmSlot};

use super::{Geometry, SignatureKind};

/// A disk of any size that holds only what was written to it; the rest reads as zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sparse {
    size: u64,
    sector: u32,
    sectors: BTreeMap<u64, [u8; 512]>,
    position: u64,
}

impl Sparse {
    /// A blank disk of `size` bytes with logical sectors of `sector` bytes.
    pub fn new(size: u64, sector: u32) -> Self {
        Self {
            size,
            sector,
            sectors: BTreeMap::new(),
            position: 0,
        }
    }

    /// Size and sector, as a scan wants them.
    pub fn geometry(&self) -> Geometry {
        Geometry {
            size_bytes: self.size,
            logical_sector: self.sector,
        }
    }

    /// The same contents on a disk with another sector size.
    pub fn with_sector(mut self, sector: u32) -> Self {
        self.sector = sector;
        self
    }

    /// The same contents on a disk of another size; what lies behind its end is dropped.
    pub fn resized(mut self, size: u64) -> Self {
        self.size = size;
        self.sectors.retain(|sector, _| *sector * 512 < size);
        self
    }

    /// Writes `bytes` at `offset`. What lies behind the end of the disk is dropped.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) -> &mut Self {
        for (at, byte) in (offset..self.size).zip(bytes) {
            let sector = self.sectors.entry(at / 512).or_insert([0; 512]);
            sector[usize::try_from(at % 512).unwrap_or(0)] = *byte;
        }
        self
    }

    /// Writes `bytes` so that they begin `back` bytes before the end.
    pub fn put_back(&mut self, back: u64, bytes: &[u8]) -> &mut Self {
        self.put(self.size.saturating_sub(back), bytes)
    }

    /// What is on the disk: offset and bytes of each 512 byte sector that was written, in order.
    pub fn parts(&self) -> impl Iterator<Item = (u64, &[u8; 512])> {
        self.sectors
            .iter()
            .map(|(sector, bytes)| (sector * 512, bytes))
    }

    /// Writes the contents onto a device or file at their places. Nothing between is touched.
    ///
    /// # Errors
    /// What the target says.
    pub fn write_to<W: Write + Seek>(&self, mut target: W) -> io::Result<()> {
        for (offset, bytes) in self.parts() {
            target.seek(SeekFrom::Start(offset))?;
            target.write_all(bytes)?;
        }
        target.flush()
    }
}

impl Read for Sparse {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let count = out.len().min(left);
        let (from, to) = (self.position, self.position + count as u64);
        out[..count].fill(0);
        for (sector, bytes) in self.sectors.range(from / 512..to.div_ceil(512)) {
            let start = sector * 512;
            let (a, b) = (start.max(from), (start + 512).min(to));
            let at = |offset: u64, base: u64| usize::try_from(offset - base).unwrap_or(0);
            out[at(a, from)..at(b, from)].copy_from_slice(&bytes[at(a, start)..at(b, start)]);
        }
        self.position = to;
        Ok(count)
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => self.size.checked_add_signed(delta),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// An image and what a scan has to find on it.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// Short name, unique among its like.
    pub name: String,
    /// Kinds that must be found. Others may be.
    pub finds: Vec<SignatureKind>,
    /// The disk.
    pub image: Sparse,
}

/// A captured fixture (`tests/fixtures/*.sparse.json`) could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// Not the JSON that `capture.py` writes.
    #[error("fixture is no fixture")]
    Json(#[from] serde_json::Error),
    /// A kind that [`SignatureKind::ALL`] has not.
    #[error("fixture names the unknown kind {0}")]
    Kind(String),
    /// Sector contents that are no hex digits.
    #[error("fixture has bad hex at byte {0}")]
    Hex(u64),
}

#[derive(serde::Deserialize)]
struct Captured {
    size: u64,
    sector: u32,
    finds: Vec<String>,
    sectors: Vec<(u64, String)>,
}

impl Fixture {
    /// Reads a captured fixture from the text of its file.
    ///
    /// # Errors
    /// [`FixtureError`] when the text is not what `capture.py` writes.
    pub fn parse(name: &str, json: &str) -> Result<Self, FixtureError> {
        let captured: Captured = serde_json::from_str(json)?;
        let mut image = Sparse::new(captured.size, captured.sector);
        for (offset, digits) in &captured.sectors {
            image.put(*offset, &unhex(digits).ok_or(FixtureError::Hex(*offset))?);
        }
        let kind = |name: &String| {
            let found = SignatureKind::ALL.iter().find(|kind| kind.name() == name);
            found
                .copied()
                .ok_or_else(|| FixtureError::Kind(name.clone()))
        };
        let finds = captured.finds.iter().map(kind).collect::<Result<_, _>>()?;
        Ok(Self {
            name: name.to_owned(),
            finds,
            image,
        })
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// Images of every kind whose [`SignatureKind::maker`] is [`super::Maker::Written`], some in several forms.
pub fn written() -> Vec<Fixture> {
    let mut all = filesystem::images();
    all.extend(device::images());
    all.extend(firmware::images());
    all
}

/// A disk of 64 MiB with these parts on it.
fn fixture(name: &str, kind: SignatureKind, parts: &[(u64, &[u8])]) -> Fixture {
    sized(name, kind, 64 << 20, parts)
}

/// A disk of `size` bytes with these parts on it.
fn sized(name: &str, kind: SignatureKind, size: u64, parts: &[(u64, &[u8])]) -> Fixture {
    let mut image = Sparse::new(size, 512);
    for (offset, bytes) in parts {
        image.put(*offset, bytes);
    }
    Fixture {
        name: name.to_owned(),
        finds: vec![kind],
        image,
    }
}

/// A block of `length` bytes with these fields in it.
fn block(length: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut block = vec![0; length];
    for (at, bytes) in fields {
        block[*at..*at + bytes.len()].copy_from_slice(bytes);
    }
    block
}
