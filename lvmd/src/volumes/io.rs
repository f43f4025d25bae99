//! What went through a volume since it became active, by the kernel's own counters.
//!
//! Source: Linux `Documentation/block/stat.rst`.

use std::path::Path;
use std::time::Duration;

use crate::units::{Bytes, SECTOR};

/// Where the kernel shows block devices by their numbers.
const DEVICES: &str = "/sys/dev/block";

/// One direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Through {
    /// Requests that were completed.
    pub requests: u64,
    /// Bytes in them.
    pub bytes: Bytes,
    /// What they took, together.
    pub time: Duration,
}

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Io {
    /// What was read.
    pub read: Through,
    /// What was written.
    pub written: Through,
}

impl Io {
    /// Of the device with this major and minor number; `None` when the kernel does not tell.
    pub(super) fn of(devno: (u32, u32)) -> Option<Self> {
        Self::of_device(Path::new(DEVICES), devno)
    }

    fn of_device(devices: &Path, (major, minor): (u32, u32)) -> Option<Self> {
        let path = devices.join(format!("{major}:{minor}/stat"));
        Self::parse(&std::fs::read_to_string(path).ok()?)
    }

    /// Of a device's line of counters; each direction has four: requests, those merged with others, sectors of 512 bytes, ms.
    fn parse(text: &str) -> Option<Self> {
        let counts = text.split_ascii_whitespace().map(str::parse);
        let counts: Vec<u64> = counts.collect::<Result<_, _>>().ok()?;
        let through = |at: usize| {
            let [requests, _, sectors, ms] = counts.get(at..at + 4)?.try_into().ok()?;
            Some(Through {
                requests,
                bytes: Bytes(u64::saturating_mul(sectors, SECTOR)),
                time: Duration::from_millis(ms),
            })
        };
        Some(Self {
            read: through(0)?,
            written: through(4)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devices_counters_are_read_by_its_number() {
        let devices = tempfile::tempdir().unwrap();
        std::fs::create_dir(devices.path().join("254:3")).unwrap();
        let stat = "      10        1       20     1500       40        2       60      700        0     1800     2200        0\n";
        std::fs::write(devices.path().join("254:3/stat"), stat).unwrap();
        let of = |devno| Io::of_device(devices.path(), devno);
        let through = |requests, bytes, ms| Through {
            requests,
            bytes: Bytes(bytes),
            time: Duration::from_millis(ms),
        };
        let expected = Io {
            read: through(10, 10_240, 1500),
            written: through(40, 30_720, 700),
        };
        assert_eq!(of((254, 3)), Some(expected));
        assert_eq!(of((254, 4)), None, "it is gone");
        assert_eq!(Io::parse("1 2 3 4 5 6 7"), None);
        assert_eq!(Io::parse("1 2 3 4 5 6 7 x"), None);
    }
}
