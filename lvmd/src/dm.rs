//! Device-mapper, read through its control device. The only module that talks to it.
//!
//! Reading spawns no process and takes no lock. Every status is asked with
//! `DM_NOFLUSH_FLAG`: a plain status of a thin pool commits its metadata, which would
//! turn each look into a write. What is changed here is only to put right what a cut-off
//! command left ([`Control::remove_unused`], [`Control::drop_loaded`], [`Control::resume`], [`Control::message`]).
//!
//! Source of the layout: Linux `include/uapi/linux/dm-ioctl.h`.

mod thin_pool;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;

pub use thin_pool::{PoolMode, PoolStatus, PoolTable};

/// Where device-mapper is controlled.
pub const CONTROL: &str = "/dev/mapper/control";

const HEADER: usize = 312;
/// The kernel clears and copies the whole buffer, so each question begins with what usually
/// suffices: a list of 100 devices, the table of an LV, a device without anything.
const LIST_SIZE: usize = 16 << 10;
const TABLE_SIZE: usize = 2 << 10;
const DEVICE_SIZE: usize = 512;
const LARGEST: usize = 16 << 20;
const NAME_LEN: usize = 128;
const UUID_LEN: usize = 129;

const LIST_DEVICES: u64 = 2;
const DEV_REMOVE: u64 = 4;
const DEV_SUSPEND: u64 = 6;
const DEV_STATUS: u64 = 7;
const TABLE_CLEAR: u64 = 10;
const TABLE_STATUS: u64 = 12;
const LIST_VERSIONS: u64 = 13;
const TARGET_MSG: u64 = 14;
const ARM_POLL: u64 = 16;

const READONLY_FLAG: u32 = 1;
const SUSPEND_FLAG: u32 = 1 << 1;
const STATUS_TABLE_FLAG: u32 = 1 << 4;
const ACTIVE_PRESENT_FLAG: u32 = 1 << 5;
const INACTIVE_PRESENT_FLAG: u32 = 1 << 6;
const BUFFER_FULL_FLAG: u32 = 1 << 8;
const NOFLUSH_FLAG: u32 = 1 << 11;
const QUERY_INACTIVE_TABLE_FLAG: u32 = 1 << 12;
/// With `LIST_DEVICES`: uuids are wanted too.
const UUID_FLAG: u32 = 1 << 14;
const NAME_HAS_UUID: u32 = 1;
const NAME_HAS_NO_UUID: u32 = 2;

/// An open control device.
#[derive(Debug)]
pub struct Control {
    file: File,
}

/// One line of the device list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its uuid, empty when it has none; `None` where the kernel (before 5.12) does not list it.
    pub uuid: Option<String>,
    /// Major and minor number.
    pub devno: (u32, u32),
    /// How many events it has seen.
    pub event_nr: u32,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its uuid, empty when it has none.
    pub uuid: String,
    /// Major and minor number.
    pub devno: (u32, u32),
    /// How often it is open; an LV under another device counts too.
    pub open_count: i32,
    /// It is suspended.
    pub suspended: bool,
    /// Its table is read-only.
    pub readonly: bool,
    /// It has a live table.
    pub live: bool,
    /// Another table is loaded, which the next resume makes live.
    pub loaded: bool,
    /// How many events it has seen.
    pub event_nr: u32,
}

/// One target of a device's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// First sector (512 bytes) of the device it maps.
    pub start: u64,
    /// How many sectors it maps.
    pub length: u64,
    /// Its type, e.g. `thin-pool`.
    pub kind: String,
    /// Its status or table text.
    pub params: String,
}

impl Control {
    /// Opens [`CONTROL`].
    ///
    /// # Errors
    /// When it is missing (module `dm-mod` not loaded, /dev not the host's) or forbidden.
    pub fn open() -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(CONTROL)?;
        Ok(Self { file })
    }

    /// All devices.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn list(&self) -> io::Result<Vec<Listed>> {
        let (_, data) = self.ask(LIST_DEVICES, "", UUID_FLAG)?;
        let mut devices = Vec::new();
        let mut at = 0;
        while let Some(entry) = data.get(at..).filter(|e| e.len() >= 12) {
            let dev = u64_at(entry, 0);
            let next = usize_at(entry, 8);
            let name = c_string(&entry[12..]);
            if dev == 0 {
                break;
            }
            // event_nr follows the name, aligned to 8 bytes; then flags and the uuid.
            let after = (12 + name.len() + 1).next_multiple_of(8);
            let flags = u32_at(entry, after + 4);
            let uuid = if flags & NAME_HAS_UUID != 0 {
                Some(c_string(entry.get(after + 8..).unwrap_or_default()))
            } else {
                (flags & NAME_HAS_NO_UUID != 0).then(String::new)
            };
            devices.push(Listed {
                uuid,
                devno: devno(dev),
                event_nr: u32_at(entry, after),
                name,
            });
            if next == 0 {
                break;
            }
            at += next;
        }
        Ok(devices)
    }

    /// The device with this uuid; `None` when there is none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn device(&self, uuid: &str) -> io::Result<Option<Device>> {
        match self.ask(DEV_STATUS, uuid, NOFLUSH_FLAG) {
            Ok((header, _)) => Ok(Some(header)),
            Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The status of each target of the device with this uuid; `None` when there is none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn status(&self, uuid: &str) -> io::Result<Option<Vec<Target>>> {
        let answer = self.device_and_status(uuid)?;
        Ok(answer.map(|(_, targets)| targets))
    }

    /// The device with this uuid and the status of its targets, in one question.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn device_and_status(&self, uuid: &str) -> io::Result<Option<(Device, Vec<Target>)>> {
        self.targets(uuid, NOFLUSH_FLAG)
    }

    /// The live table of the device with this uuid; `None` when there is none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn table(&self, uuid: &str) -> io::Result<Option<Vec<Target>>> {
        let answer = self.targets(uuid, NOFLUSH_FLAG | STATUS_TABLE_FLAG)?;
        Ok(answer.map(|(_, targets)| targets))
    }

    /// The table of the device with this uuid that is loaded and not live; `None` when there is no such device.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn loaded_table(&self, uuid: &str) -> io::Result<Option<Vec<Target>>> {
        let flags = NOFLUSH_FLAG | STATUS_TABLE_FLAG | QUERY_INACTIVE_TABLE_FLAG;
        let answer = self.targets(uuid, flags)?;
        Ok(answer.map(|(_, targets)| targets))
    }

    /// Lets [`Self::as_fd`] poll readable at the next event of any device: a table came or
    /// went, a device was resumed, renamed or removed, a thin pool crossed its low-water
    /// mark or changed its mode. Whoever arms first and looks afterwards misses nothing.
    ///
    /// # Errors
    /// `ENOTTY` or `EINVAL` where the kernel is older than 4.13 and cannot.
    pub fn arm_poll(&self) -> io::Result<()> {
        self.ask(ARM_POLL, "", 0).map(drop)
    }

    /// The target types the kernel knows now, e.g. `linear`, `thin-pool`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn targets_known(&self) -> io::Result<Vec<String>> {
        let (_, data) = self.ask(LIST_VERSIONS, "", 0)?;
        let mut names = Vec::new();
        let mut at = 0;
        // struct dm_target_versions: u32 next, u32 version[3], name.
        while let Some(entry) = data.get(at..).filter(|e| e.len() > 16) {
            names.push(c_string(&entry[16..]));
            match usize_at(entry, 0) {
                0 => break,
                next => at += next,
            }
        }
        Ok(names)
    }

    /// Removes the device with this uuid if nobody has it open.
    ///
    /// It is for the `_tmeta` and `_tdata` of a pool that was
    /// cut while it was activated: every lvm command then fails ("Activation of logical
    /// volume vg/pool is prohibited while logical volume vg/pool_tmeta is active"), and
    /// `lvchange -an` returns 0 and repairs nothing. Removing a mapping nobody uses
    /// changes no data; the next activation makes it again.
    ///
    /// # Errors
    /// `EBUSY` when it is open; the kernel checks this itself.
    pub fn remove_unused(&self, uuid: &str) -> io::Result<()> {
        self.ask(DEV_REMOVE, uuid, 0).map(drop)
    }

    /// Drops the table of this device that is loaded and not live; the live one stays.
    ///
    /// It is for a table that a command which was cut off left behind. No data is
    /// reached through it, and a command that needs it loads it again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn drop_loaded(&self, uuid: &str) -> io::Result<()> {
        self.ask(TABLE_CLEAR, uuid, 0).map(drop)
    }

    /// Lets a suspended device go on, with the table that is loaded, if one is, else with its live one.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn resume(&self, uuid: &str) -> io::Result<()> {
        // The same command suspends when the flag says so.
        self.ask(DEV_SUSPEND, uuid, 0).map(drop)
    }

    /// Gives the first target of this device a message (Linux `thin-provisioning.rst`,
    /// "Messages", for a thin pool's).
    ///
    /// # Errors
    /// When the target refuses it.
    pub fn message(&self, uuid: &str, text: &str) -> io::Result<()> {
        // struct dm_target_msg: u64 sector, then the text.
        let payload = [&[0; 8], text.as_bytes(), &[0]].concat();
        self.ask_with(TARGET_MSG, uuid, 0, &payload).map(drop)
    }

    fn targets(&self, uuid: &str, flags: u32) -> io::Result<Option<(Device, Vec<Target>)>> {
        let (device, data, count) = match self.ask_with(TABLE_STATUS, uuid, flags, &[]) {
            Ok(answer) => answer,
            Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut targets = Vec::new();
        let mut at = 0;
        for _ in 0..count {
            let Some(spec) = data.get(at..).filter(|s| s.len() >= 40) else {
                break;
            };
            targets.push(Target {
                start: u64_at(spec, 0),
                length: u64_at(spec, 8),
                kind: c_string(&spec[24..40]),
                params: c_string(&spec[40..]),
            });
            // `next` counts from the start of the data, not from this target.
            at = usize_at(spec, 20);
        }
        Ok(Some((device, targets)))
    }

    fn ask(&self, command: u64, uuid: &str, flags: u32) -> io::Result<(Device, Vec<u8>)> {
        self.ask_with(command, uuid, flags, &[])
            .map(|(device, data, _)| (device, data))
    }

    fn ask_with(
        &self,
        command: u64,
        uuid: &str,
        flags: u32,
        payload: &[u8],
    ) -> io::Result<(Device, Vec<u8>, u32)> {
        if uuid.len() >= UUID_LEN {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a device-mapper uuid has at most 128 bytes",
            ));
        }
        let mut size = match command {
            TABLE_STATUS => TABLE_SIZE,
            DEV_STATUS | DEV_REMOVE | DEV_SUSPEND | TABLE_CLEAR | TARGET_MSG => {
                DEVICE_SIZE + payload.len()
            }
            _ => LIST_SIZE,
        };
        loop {
            let mut buffer = vec![0u8; size];
            buffer[0..4].copy_from_slice(&4u32.to_le_bytes());
            put_u32(&mut buffer, 12, u32::try_from(size).unwrap_or(u32::MAX));
            put_u32(&mut buffer, 16, u32::try_from(HEADER).unwrap_or(u32::MAX));
            put_u32(&mut buffer, 28, flags);
            let uuid_at = 48 + NAME_LEN;
            buffer[uuid_at..uuid_at + uuid.len()].copy_from_slice(uuid.as_bytes());
            buffer[HEADER..HEADER + payload.len()].copy_from_slice(payload);
            self.ioctl(command, &mut buffer)?;
            if u32_at(&buffer, 28) & BUFFER_FULL_FLAG != 0 && size < LARGEST {
                size *= 4;
                continue;
            }
            let flags = u32_at(&buffer, 28);
            let device = Device {
                name: c_string(&buffer[48..48 + NAME_LEN]),
                uuid: c_string(&buffer[uuid_at..uuid_at + UUID_LEN]),
                devno: devno(u64_at(&buffer, 40)),
                open_count: i32::from_le_bytes([buffer[24], buffer[25], buffer[26], buffer[27]]),
                suspended: flags & SUSPEND_FLAG != 0,
                readonly: flags & READONLY_FLAG != 0,
                live: flags & ACTIVE_PRESENT_FLAG != 0,
                loaded: flags & INACTIVE_PRESENT_FLAG != 0,
                event_nr: u32_at(&buffer, 32),
            };
            let count = u32_at(&buffer, 20);
            let start = usize_at(&buffer, 16).min(size);
            let end = usize_at(&buffer, 12).clamp(start, size);
            return Ok((device, buffer[start..end].to_vec(), count));
        }
    }

    fn ioctl(&self, command: u64, buffer: &mut [u8]) -> io::Result<()> {
        // _IOWR(0xfd, command, struct dm_ioctl)
        let request = (3 << 30) | ((HEADER as u64) << 16) | (0xfd << 8) | command;
        #[expect(
            unsafe_code,
            reason = "device-mapper has no other interface than ioctl"
        )]
        // SAFETY: the buffer outlives the call, begins with a whole `struct dm_ioctl`, and its
        // `data_size` field says how long it is; the kernel writes no further than that.
        let result =
            unsafe { nix::libc::ioctl(self.file.as_raw_fd(), request, buffer.as_mut_ptr()) };
        Errno::result(result).map(drop).map_err(io::Error::from)
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Control {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.file.as_raw_fd()
    }
}

fn put_u32(buffer: &mut [u8], at: usize, value: u32) {
    buffer[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_ne_bytes)
}

fn usize_at(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u32_at(bytes, at)).unwrap_or(usize::MAX)
}

fn c_string(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The kernel's `huge_encode_dev`: 12 bits of major, 20 of minor around it.
fn devno(dev: u64) -> (u32, u32) {
    let major = (dev >> 8) & 0xfff;
    let minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
    (
        u32::try_from(major).unwrap_or_default(),
        u32::try_from(minor).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_device_numbers_keep_their_bits() {
        assert_eq!(devno(0xfe_03), (254, 3));
        assert_eq!(devno(0x0010_fe03), (254, 0x103));
    }
}
