//! Loop devices (loop(4), include/uapi/linux/loop.h).

#![expect(unsafe_code, reason = "ioctls; each call says why it is sound")]

use std::fs::{self, File};
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use linux_raw_sys::loop_device::{
    LO_FLAGS_DIRECT_IO, LO_FLAGS_READ_ONLY, loop_config, loop_info64,
};
use nix::libc;

use crate::facts::DevNo;

/// How often another free device is asked for when somebody else was faster.
const TRIES: usize = 16;

mod raw {
    use linux_raw_sys::loop_device::{loop_config, loop_info64};
    nix::ioctl_none_bad!(ctl_get_free, nix::request_code_none!(0x4c, 0x82));
    nix::ioctl_write_ptr_bad!(configure, nix::request_code_none!(0x4c, 0x0a), loop_config);
    nix::ioctl_read_bad!(
        get_status64,
        nix::request_code_none!(0x4c, 0x05),
        loop_info64
    );
}

/// Attaches an open file, with O_DIRECT where its file system can do that. Whole: sectors of 512
/// bytes, and it stays until somebody detaches it (losetup -d) or the machine ends.
///
/// # Errors
/// There is no driver, or no device.
pub(super) fn attach(file: &File, path: &Path) -> io::Result<PathBuf> {
    let control = File::options()
        .read(true)
        .write(true)
        .open("/dev/loop-control")?;
    for _ in 0..TRIES {
        // SAFETY: the file is open as long as it is borrowed; there is no argument.
        let number = unsafe { raw::ctl_get_free(control.as_raw_fd()) }?;
        let device = PathBuf::from(format!("/dev/loop{number}"));
        let open = File::options().read(true).write(true).open(&device)?;
        // SAFETY: integers and arrays of integers, for which all zeroes is a value.
        let mut config: loop_config = unsafe { mem::zeroed() };
        config.fd = u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?;
        config.info.lo_flags = LO_FLAGS_DIRECT_IO as u32;
        // What losetup shows; a name that is too long is cut, the last byte stays 0.
        let room = config.info.lo_file_name.len() - 1;
        let name = path.as_os_str().as_bytes();
        for (to, from) in config
            .info
            .lo_file_name
            .iter_mut()
            .zip(name.iter().take(room))
        {
            *to = *from;
        }
        // SAFETY: both files are open as long as they are borrowed, and the kernel reads one
        // loop_config from where the pointer points.
        match unsafe { raw::configure(open.as_raw_fd(), &raw const config) } {
            Ok(_) => return Ok(device),
            Err(nix::errno::Errno::EBUSY) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other(format!(
        "{TRIES} free loop devices were taken by others"
    )))
}

/// The loop device of an open file; `None` when there is none.
///
/// # Errors
/// There are several, or it hands on only a part of the file, or refuses writes: what is written
/// to it and what is written to ours would not be the same.
pub(super) fn of(file: &File) -> io::Result<Option<PathBuf>> {
    let mut found = None;
    for entry in fs::read_dir("/sys/block")? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with("loop")) else {
            continue;
        };
        if !Path::new("/sys/block").join(name).join("loop").exists() {
            continue;
        }
        let path = Path::new("/dev").join(name);
        let Some(info) = status(&File::open(&path)?)? else {
            continue;
        };
        if !is_of(&info, file)? {
            continue;
        }
        if !is_whole(&info) {
            return Err(io::Error::other(format!(
                "somebody has attached a part of it, or for reading only, to {}; detach that with \
                 losetup -d",
                path.display()
            )));
        }
        if let Some(other) = found.replace(path.clone()) {
            return Err(io::Error::other(format!(
                "it is attached twice, to {} and {}; detach the one that is not in use with losetup -d",
                other.display(),
                path.display()
            )));
        }
    }
    Ok(found)
}

/// Whether this open file, and all of it, is behind this open loop device.
///
/// # Errors
/// It cannot be told.
pub(super) fn is_behind(file: &File, device: &File) -> io::Result<bool> {
    match status(device)? {
        Some(info) => Ok(is_whole(&info) && is_of(&info, file)?),
        None => Ok(false),
    }
}

/// The block device that this loop device hands on; `None` when it hands on a file, is gone, or
/// has nothing behind it.
///
/// # Errors
/// It cannot be told.
pub(crate) fn device_behind(device: &Path) -> io::Result<Option<DevNo>> {
    let file = match File::open(device) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // ENXIO: detached a moment ago.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(None),
        Err(error) => return Err(error),
    };
    // Kernels before 5.17 repeat the device of the file system where the file is none.
    let info = status(&file)?.filter(|info| info.lo_rdevice != info.lo_device);
    Ok(info.and_then(|info| decode(info.lo_rdevice)))
}

/// Undoes `huge_encode_dev`; 0 is no device.
fn decode(encoded: u64) -> Option<DevNo> {
    let number = |part: u64| u32::try_from(part).ok();
    (encoded != 0).then_some(DevNo {
        major: number(encoded >> 8 & 0xfff)?,
        minor: number(encoded & 0xff | encoded >> 12 & 0xf_ff00)?,
    })
}

fn is_whole(info: &loop_info64) -> bool {
    info.lo_offset == 0 && info.lo_sizelimit == 0 && info.lo_flags & LO_FLAGS_READ_ONLY as u32 == 0
}

/// By device and inode, as LOOP_GET_STATUS64 tells them (huge_encode_dev, linux/kdev_t.h).
fn is_of(info: &loop_info64, file: &File) -> io::Result<bool> {
    let stat = file.metadata()?;
    let (major, minor) = (libc::major(stat.dev()), libc::minor(stat.dev()));
    let encoded = u64::from(minor & 0xff) | u64::from(major) << 8 | u64::from(minor & !0xff) << 12;
    Ok(info.lo_inode == stat.ino() && info.lo_device == encoded)
}

/// LOOP_GET_STATUS64; `None` when nothing is attached.
fn status(device: &File) -> io::Result<Option<loop_info64>> {
    // SAFETY: integers and arrays of integers, for which all zeroes is a value.
    let mut info: loop_info64 = unsafe { mem::zeroed() };
    // SAFETY: the file is open as long as it is borrowed, and the kernel writes one loop_info64
    // to where the pointer points.
    match unsafe { raw::get_status64(device.as_raw_fd(), &raw mut info) } {
        Ok(_) => Ok(Some(info)),
        Err(nix::errno::Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_number_is_read_as_the_kernel_writes_it() {
        let dev = |major, minor| Some(DevNo { major, minor });
        assert_eq!(decode(0), None);
        assert_eq!(decode(0x0810), dev(8, 16));
        // 259:1048575, the largest minor number.
        assert_eq!(decode(0xfff1_03ff), dev(259, 0xf_ffff));
    }
}
