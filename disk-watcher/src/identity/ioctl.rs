//! What only an ioctl does to a block device, four questions and two deeds
//! (include/uapi/linux/fs.h).

#![expect(unsafe_code, reason = "ioctls; each call says why it is sound")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

mod raw {
    nix::ioctl_write_ptr_bad!(blkzeroout, nix::request_code_none!(0x12, 127), [u64; 2]);
    nix::ioctl_none_bad!(blkrrpart, nix::request_code_none!(0x12, 95));
    nix::ioctl_read!(blkgetdiskseq, 0x12, 128, u64);
    // Declared with size_t, which the kernel ignores: it writes a u64 (block/ioctl.c).
    nix::ioctl_read!(blkgetsize64, 0x12, 114, usize);
    nix::ioctl_read_bad!(
        blkroget,
        nix::request_code_none!(0x12, 94),
        nix::libc::c_int
    );
    nix::ioctl_read_bad!(
        blksszget,
        nix::request_code_none!(0x12, 104),
        nix::libc::c_int
    );
}

/// BLKGETDISKSEQ: the disk sequence number.
pub(super) fn diskseq(file: &File) -> io::Result<u64> {
    let mut value = 0u64;
    // SAFETY: the file is open as long as it is borrowed, and the kernel writes one u64
    // to where the pointer points.
    unsafe { raw::blkgetdiskseq(file.as_raw_fd(), &raw mut value) }?;
    Ok(value)
}

/// BLKGETSIZE64: the size in bytes.
pub(super) fn size(file: &File) -> io::Result<u64> {
    let mut value = 0u64;
    // SAFETY: the file is open as long as it is borrowed, and the kernel writes one u64,
    // for which there is room whatever the size of usize.
    unsafe { raw::blkgetsize64(file.as_raw_fd(), (&raw mut value).cast()) }?;
    Ok(value)
}

/// BLKSSZGET: the logical sector in bytes.
pub(super) fn logical_sector(file: &File) -> io::Result<u32> {
    let mut value = 0;
    // SAFETY: the file is open as long as it is borrowed, and the kernel writes one int
    // to where the pointer points.
    unsafe { raw::blksszget(file.as_raw_fd(), &raw mut value) }?;
    u32::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// BLKROGET: whether writes are refused.
pub(super) fn read_only(file: &File) -> io::Result<bool> {
    let mut value = 0;
    // SAFETY: the file is open as long as it is borrowed, and the kernel writes one int
    // to where the pointer points.
    unsafe { raw::blkroget(file.as_raw_fd(), &raw mut value) }?;
    Ok(value != 0)
}

/// BLKZEROOUT: overwrites a range with zeroes, whatever the disk does with discards. Both are
/// multiples of the sector.
pub(super) fn zero(file: &File, start: u64, length: u64) -> io::Result<()> {
    let range = [start, length];
    // SAFETY: the file is open as long as it is borrowed, and the kernel reads two u64 from
    // where the pointer points.
    unsafe { raw::blkzeroout(file.as_raw_fd(), &raw const range) }?;
    Ok(())
}

/// BLKRRPART: reads the partition table anew.
pub(super) fn reread_partitions(file: &File) -> io::Result<()> {
    // SAFETY: the file is open as long as it is borrowed; there is no argument.
    unsafe { raw::blkrrpart(file.as_raw_fd()) }?;
    Ok(())
}
