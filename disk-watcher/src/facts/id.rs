//! Which disk it is: an id that stays the same when names, ports and kernels change.
//!
//! The WWID where there is one, else vendor, model and serial number together. Makers
//! and hypervisors fill both with rubbish; what is known to be rubbish is no id.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The id of a disk, such as `eui.0025385b71b0a2f1` or `serial.ATA.QEMU_HARDDISK.a1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(transparent)]
pub struct DiskId(String);

/// What stands between the id of a disk and the GUID of a partition of it.
const PART: &str = ".part-";
/// The characters of a GUID.
const GUID: usize = 36;

/// What the disk's own words amount to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Identified {
    /// It has an id.
    As(DiskId),
    /// It says something, and all of it is known rubbish.
    Junk(Vec<String>),
    /// It says nothing.
    Missing,
}

impl DiskId {
    /// The id of a disk that has none of its own: good until it is unplugged or the
    /// machine reboots, and never again equal to another disk's.
    pub fn for_session(boot_id: &str, diskseq: u64) -> Self {
        Self(format!("session.{}.{diskseq}", boot_id.trim()))
    }

    /// Whether it was made by [`DiskId::for_session`].
    pub fn is_session(&self) -> bool {
        self.0.starts_with("session.")
    }

    /// Whether it was made so in another boot than this one: no disk has it any more.
    pub fn is_of_another_session(&self, boot_id: &str) -> bool {
        let this = format!("session.{}.", boot_id.trim());
        self.is_session() && !self.0.starts_with(&this)
    }

    /// The id of the partition with this GUID on the disk.
    pub fn of_part(&self, guid: &str) -> Self {
        Self(format!("{self}{PART}{guid}"))
    }

    /// Whether it was made by [`DiskId::of_part`].
    pub fn is_of_a_part(&self) -> bool {
        self.whole().is_some()
    }

    /// Whether it is that of a partition of this disk.
    pub fn is_part_of(&self, disk: &Self) -> bool {
        self.whole() == Some(disk.as_str())
    }

    /// The id of the disk that it is a partition of.
    fn whole(&self) -> Option<&str> {
        let (disk, guid) = self.0.rsplit_once(PART)?;
        let is_guid = |b: u8| b.is_ascii_hexdigit() || b == b'-';
        (guid.len() == GUID && guid.bytes().all(is_guid)).then_some(disk)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for DiskId {
    /// An id that was written down before.
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Identified {
    /// The id, where there is one.
    pub fn id(&self) -> Option<&DiskId> {
        match self {
            Self::As(id) => Some(id),
            Self::Junk(_) | Self::Missing => None,
        }
    }
}

/// Identifies a disk by its own words.
pub(super) fn identify(
    wwid: Option<&str>,
    vendor: Option<&str>,
    model: Option<&str>,
    serial: Option<&str>,
) -> Identified {
    let mut junk = Vec::new();
    if let Some(wwid) = wwid {
        if !is_junk(wwid) {
            return Identified::As(DiskId(squeeze(wwid)));
        }
        junk.push(wwid.to_owned());
    }
    match serial {
        Some(serial) if !is_junk(serial) => {
            let words: Vec<String> = [vendor, model, Some(serial)]
                .into_iter()
                .flatten()
                .map(squeeze)
                .collect();
            Identified::As(DiskId(format!("serial.{}", words.join("."))))
        }
        Some(serial) => {
            junk.push(serial.to_owned());
            Identified::Junk(junk)
        }
        None if junk.is_empty() => Identified::Missing,
        None => Identified::Junk(junk),
    }
}

/// One word: white space as single underscores, control characters as `?`.
fn squeeze(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .join("_")
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Words that makers and hypervisors write where a serial number belongs.
const JUNK_WORDS: [&str; 34] = [
    "qemu",
    "qemuharddisk",
    "harddisk",
    "qemunvmectrl",
    "vmware",
    "vmwarevirtualsharddisk",
    "virtualdisk",
    "vbox",
    "vboxharddisk",
    "none",
    "null",
    "nil",
    "na",
    "n/a",
    "unknown",
    "invalid",
    "default",
    "defaultstring",
    "notspecified",
    "notavailable",
    "notapplicable",
    "notpresent",
    "tobefilledbyoem",
    "serialnumber",
    "systemserialnumber",
    "serial",
    "noserial",
    "noserialnumber",
    "generic",
    "massstorage",
    "usbdisk",
    "disk",
    "deadbeef",
    "baadf00d",
];

/// Counting up is what a factory writes that was never told a number.
const COUNTING: [&str; 3] = [
    "0123456789abcdef0123456789abcdef",
    "1234567890abcdef1234567890abcdef",
    "12345678901234567890123456789012",
];

/// Whether a WWID or serial number is known rubbish: empty, one character over and
/// over, counting up, or a word that stands for "none".
pub fn is_junk(value: &str) -> bool {
    let lower = value.trim().to_lowercase();
    let mut core = lower.as_str();
    for prefix in ["t10.", "naa.", "eui.", "uuid.", "wwn-", "scsi-", "0x"] {
        core = core.strip_prefix(prefix).unwrap_or(core);
    }
    if lower.starts_with("t10.") {
        // Vendor, product and serial number, padded with blanks; only the last tells
        // two disks of a kind apart.
        return core.split_whitespace().last().is_none_or(is_junk_word);
    }
    if let Some(rest) = core.strip_prefix("nvme.") {
        // The kernel's stand-in: nvme.<vendor>-<serial>-<model>-<namespace>, in hex.
        let serial = rest.split('-').nth(1).and_then(from_hex);
        return serial.is_none_or(|serial| is_junk_word(&serial.to_lowercase()));
    }
    is_junk_word(core)
}

fn is_junk_word(word: &str) -> bool {
    let core: String = word
        .chars()
        .filter(|c| !c.is_whitespace() && !"-_.:()".contains(*c))
        .collect();
    let core = core.as_str();
    let mut chars = core.chars();
    let same = chars.next().is_none_or(|first| chars.all(|c| c == first));
    same || JUNK_WORDS.contains(&core)
        || (core.len() >= 6 && COUNTING.iter().any(|all| all.starts_with(core)))
        || (core.len() >= 12 && core.trim_start_matches('0').len() <= 1)
}

fn from_hex(text: &str) -> Option<String> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let digits = digits?;
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect();
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_is_no_id() {
        for value in [
            "",
            "  ",
            "0x0000000000000000",
            "0000000000000000",
            "eui.0000000000000000",
            "naa.0000000000000000",
            "00000000-0000-0000-0000-000000000000",
            "uuid.ffffffff-ffff-ffff-ffff-ffffffffffff",
            "QEMU",
            "qemu",
            "t10.ATA     QEMU HARDDISK",
            "XXXXXXXXXXXX",
            "0123456789ABCDEF",
            "1234567890",
            "123456789012",
            "None",
            "Default string",
            "To Be Filled By O.E.M.",
            "n/a",
            "(null)",
            "nvme.1b36-51454d55-51454d55204e564d65204374726c-00000001",
            "nvme.1b36--51454d55-00000001",
            "000000000001",
            "0",
        ] {
            assert!(is_junk(value), "{value:?} must be junk");
        }
    }

    #[test]
    fn what_tells_disks_apart_is_an_id() {
        for value in [
            "S64GNE0R00001",
            "eui.0025385b71b0a2f1",
            "naa.5000c500a1b2c3d4",
            "t10.ATA     QEMU HARDDISK                           QM00001",
            "nvme.1b36-6131-51454d55204e564d65204374726c-00000001",
            "uuid.2f1b1c5e-0b8a-4b7e-9a37-1e6a9d2f6a11",
            "d1",
            "basalt-1",
            "naa.3333333000002710",
        ] {
            assert!(!is_junk(value), "{value:?} is no junk");
        }
    }

    #[test]
    fn a_partition_is_told_by_its_disk_and_its_guid() {
        let disk = DiskId::from("naa.1".to_owned());
        let part = disk.of_part("f47ac10b-58cc-4372-a567-0e02b2c3d479");
        assert_eq!(
            part.as_str(),
            "naa.1.part-f47ac10b-58cc-4372-a567-0e02b2c3d479"
        );
        assert!(part.is_of_a_part() && part.is_part_of(&disk));
        assert!(!disk.is_of_a_part() && !disk.is_part_of(&disk));
        assert!(!part.is_part_of(&DiskId::from("naa.11".to_owned())));
        assert!(!DiskId::from("serial.x.part-1".to_owned()).is_of_a_part());
        let session = DiskId::for_session("b", 3).of_part("f47ac10b-58cc-4372-a567-0e02b2c3d479");
        assert!(session.is_session() && !session.is_of_another_session("b"));
        assert!(session.is_of_another_session("c"));
    }

    #[test]
    fn a_wwid_comes_before_a_serial_and_junk_before_nothing() {
        let id = |wwid, serial| identify(wwid, Some("ATA"), Some("QEMU  HARDDISK"), serial);
        assert_eq!(
            id(Some("naa.5000c500a1b2c3d4"), Some("x"))
                .id()
                .unwrap()
                .as_str(),
            "naa.5000c500a1b2c3d4"
        );
        assert_eq!(
            id(Some("naa.0000000000000000"), Some("a1"))
                .id()
                .unwrap()
                .as_str(),
            "serial.ATA.QEMU_HARDDISK.a1"
        );
        assert_eq!(
            id(None, Some("QEMU")),
            Identified::Junk(vec!["QEMU".into()])
        );
        assert_eq!(id(None, None), Identified::Missing);
    }
}
