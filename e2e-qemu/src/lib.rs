//! Guests to test in: boots a kernel with the root tree that ships, and runs things in it.
//!
//! ```no_run
//! # use e2e_qemu::{Command, Disk, Guest, Spec};
//! # fn main() -> e2e_qemu::Result<()> {
//! let guest = Guest::boot(Spec::uml().memory_mib(512).disk(Disk::new(256 << 20)))?;
//! guest.check(Command::new("pvcreate").arg(guest.disks()[0].path()))?;
//! let disk = guest.plug(Disk::new(64 << 20))?;
//! guest.pull(&disk)?;
//! guest.cut_power()?;
//! let guest = guest.reboot()?;
//! # drop(guest);
//! # Ok(())
//! # }
//! ```
//!
//! Who starts what, and through which channel:
//!
//! - [`Guest`] starts one keeper per boot (this program's `supervise`), which starts process 1 of a process
//!   namespace, which starts the kernel; see [`supervise`] for why nothing of a guest outlives its owner.
//! - The kernel starts this program again as the guest's process 1: the [`agent`]. It starts udev and every
//!   command, and is the only one that talks to the host.
//! - Host and agent talk in [`frame`]s over one line: a socket that a user-mode kernel shows as a serial line and
//!   a virtual machine as a virtio port. One thread per guest reads it; callers block on what they wait for.
//! - Disks are plugged and pulled through the user-mode kernel's console socket or the machine's monitor.
//! - [`host`] is the one door to other programs, in the guest too.

pub mod agent;
mod attached;
mod backend;
pub mod cluster;
mod command;
mod connection;
mod console;
mod error;
pub mod frame;
mod guest;
pub mod host;
mod initramfs;
mod kvm;
mod mconsole;
pub mod peer;
mod process;
pub mod protocol;
pub mod python;
mod qemu;
mod qmp;
pub mod registry;
pub mod release_tools;
pub mod scenario;
mod scratch;
mod scsi_debug;
mod spec;
pub mod suite;
pub mod supervise;
mod uml;
pub mod writes;

pub use attached::Attached;
pub use command::{Command, DEFAULT_TIMEOUT, Output};
pub use error::{GuestError, Result};
pub use guest::{Forward, Guest, prepare};
pub use process::Process;
pub use protocol::{Status, Stream};
pub use spec::{Backend, Bus, Disk, Recorded, Share, Spec, find_workspace};
