//! That a pvmove copied what it says it copied.
//!
//! When its mirror has come to its end the kernel forgets which parts could not be copied (Linux `drivers/md/dm-raid1.c`,
//! `do_recovery`: `reset_ms_flags`), and without `handle_errors` those count as copied. So both legs are read and compared,
//! past the page cache, while the mirror still writes to both: that also finds what a disk has not kept.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::stat::makedev;

use crate::probe::aligned::DirectReader;

const SECTOR: u64 = 512;
/// How much is read at once, in bytes.
const CHUNK: usize = 1 << 20;
/// How much is compared at once where something differs, in bytes.
const BLOCK: usize = 4096;
/// How long a block may differ: who writes to it while it is read has one leg behind the other for a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// A device and a sector of it, as device-mapper's tables name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `major:minor`.
    pub device: String,
    /// In sectors of 512 bytes.
    pub sector: u64,
}

/// A mirror with two legs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// What is copied.
    pub from: Place,
    /// Where to.
    pub to: Place,
    /// In sectors of 512 bytes.
    pub length: u64,
}

impl Mirror {
    /// Reads the parameters of a mirror's table, such as `core 1 4096 2 8:0 2048 8:16 2048`, of a target of this length
    /// (Linux Documentation/admin-guide/device-mapper/dm-log.rst, and `dm-raid1.c`, `mirror_ctr`). `None` when it has not
    /// two legs, or is not understood.
    pub fn parse(params: &str, length: u64) -> Option<Self> {
        let mut words = params.split_whitespace();
        words.next()?;
        let of_log: usize = words.next()?.parse().ok()?;
        let mut words = words.skip(of_log);
        if words.next()? != "2" {
            return None;
        }
        let mut place = || {
            Some(Place {
                device: words.next()?.to_owned(),
                sector: words.next()?.parse().ok()?,
            })
        };
        Some(Self {
            from: place()?,
            to: place()?,
            length,
        })
    }

    /// Reads and compares both legs.
    ///
    /// # Errors
    /// Where one cannot be read, or differs from the other.
    pub fn is_same(&self) -> Result<(), String> {
        let length = self.length * SECTOR;
        let (from, to) = (Leg::of(&self.from)?, Leg::of(&self.to)?);
        let (mut one, mut two) = (from.open()?, to.open()?);
        let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
        let mut at = 0;
        while at < length {
            let count = usize::try_from(length - at).unwrap_or(CHUNK).min(CHUNK);
            from.read(&mut one, at, &mut left[..count])?;
            to.read(&mut two, at, &mut right[..count])?;
            for offset in (0..count).step_by(BLOCK) {
                let block = offset..(offset + BLOCK).min(count);
                if left[block.clone()] != right[block.clone()] {
                    settled(&from, &to, at + offset as u64, block.len())?;
                }
            }
            at += count as u64;
        }
        Ok(())
    }
}

/// Reads a block anew, until both legs have the same.
fn settled(from: &Leg, to: &Leg, at: u64, length: usize) -> Result<(), String> {
    let (mut left, mut right) = (vec![0; length], vec![0; length]);
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        // A reader keeps what it has read.
        from.read(&mut from.open()?, at, &mut left)?;
        to.read(&mut to.open()?, at, &mut right)?;
        if left == right {
            return Ok(());
        }
    }
    Err(format!(
        "{} at byte {} has not what {} has at byte {}, though the kernel says that it was copied",
        to.node.display(),
        to.begin + at,
        from.node.display(),
        from.begin + at
    ))
}

/// A place on a disk that can be opened.
struct Leg {
    node: PathBuf,
    begin: u64,
}

impl Leg {
    fn of(place: &Place) -> Result<Self, String> {
        let fails = |why: String| format!("device {}: {why}", place.device);
        let sys = PathBuf::from("/sys/dev/block").join(&place.device);
        let target = fs::read_link(&sys).map_err(|e| fails(e.to_string()))?;
        let name = target.file_name().ok_or_else(|| fails("no name".into()))?;
        let node = Path::new("/dev").join(name);
        let number = || -> Option<u64> {
            let (major, minor) = place.device.split_once(':')?;
            Some(makedev(major.parse().ok()?, minor.parse().ok()?))
        };
        let there = fs::metadata(&node).map_err(|e| fails(e.to_string()))?;
        if Some(there.rdev()) != number() {
            return Err(fails(format!("{} is another", node.display())));
        }
        Ok(Self {
            node,
            begin: place.sector * SECTOR,
        })
    }

    fn open(&self) -> Result<DirectReader, String> {
        DirectReader::open(&self.node).map_err(|e| format!("{}: {e}", self.node.display()))
    }

    fn read(&self, reader: &mut DirectReader, at: u64, into: &mut [u8]) -> Result<(), String> {
        let mut all = || -> io::Result<()> {
            reader.seek(SeekFrom::Start(self.begin + at))?;
            reader.read_exact(into)
        };
        all().map_err(|e| {
            format!(
                "{} cannot be read near byte {}: {e}",
                self.node.display(),
                self.begin + at
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirrors_table_names_both_legs() {
        let place = |device: &str, sector| Place {
            device: device.into(),
            sector,
        };
        let mirror = Mirror {
            from: place("8:0", 2048),
            to: place("8:16", 4096),
            length: 8192,
        };
        for params in [
            "core 1 4096 2 8:0 2048 8:16 4096",
            "core 2 4096 nosync 2 8:0 2048 8:16 4096 1 handle_errors",
        ] {
            assert_eq!(Mirror::parse(params, 8192).as_ref(), Some(&mirror));
        }
        for params in [
            "",
            "core 1 4096 3 8:0 0 8:16 0 8:32 0",
            "core 1 4096 2 8:0 0 8:16",
            "core x 4096 2 8:0 0 8:16 0",
        ] {
            assert_eq!(Mirror::parse(params, 8192), None, "{params}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_not_the_same_as_another() {
        let mirror = Mirror::parse("core 1 4096 2 0:0 0 0:0 0", 8).unwrap();
        assert!(mirror.is_same().unwrap_err().contains("device 0:0"));
    }
}
