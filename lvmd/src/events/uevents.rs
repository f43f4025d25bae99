//! The kernel's uevents of block devices: disks come, go, change their size or, when a
//! writer has closed one, their contents. They reach every network namespace.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, socket,
};

use super::Heard;

/// The group the kernel speaks to; udevd's own is 2.
const KERNEL: u32 = 1;
/// The kernel's limit of one message is 2 KiB of properties and a head.
const LARGEST: usize = 8 << 10;

pub(super) fn open() -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkKObjectUEvent,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL))?;
    Ok(socket)
}

pub(super) fn drain(socket: &OwnedFd) -> io::Result<Heard> {
    let mut heard = Heard::Nothing;
    let mut buffer = vec![0; LARGEST];
    loop {
        match recvfrom::<NetlinkAddr>(socket.as_raw_fd(), &mut buffer) {
            Ok((length, from)) => {
                // Only the kernel's own messages have no sender.
                let kernel = from.is_some_and(|from| from.pid() == 0);
                if kernel && is_of_block_device(&buffer[..length]) {
                    heard = Heard::News;
                }
            }
            Err(Errno::EAGAIN) => return Ok(heard),
            // The kernel had to drop some.
            Err(Errno::ENOBUFS) => heard = Heard::News,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A message is `ACTION@DEVPATH` and properties, each ended by a zero byte.
fn is_of_block_device(message: &[u8]) -> bool {
    message
        .split(|byte| *byte == 0)
        .any(|property| property == b"SUBSYSTEM=block")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_block_devices_matter() {
        let disk = b"change@/devices/x/block/sda\0ACTION=change\0SUBSYSTEM=block\0DEVNAME=sda\0";
        assert!(is_of_block_device(disk));
        let bdi = b"add@/devices/virtual/bdi/8:0\0ACTION=add\0SUBSYSTEM=bdi\0";
        assert!(!is_of_block_device(bdi));
        assert!(!is_of_block_device(b""));
    }
}
