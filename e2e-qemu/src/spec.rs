//! What a guest is to be like.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What runs the guest's kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Backend {
    /// A user-mode kernel: a process of the host, up in two seconds, without any hardware to speak of.
    #[default]
    Uml,
    /// A virtual machine: nvme, usb, virtio and scsi disks with serial numbers.
    Qemu,
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Uml => "uml",
            Self::Qemu => "qemu",
        })
    }
}

/// How a disk is attached. A user-mode kernel has one kind only and takes no notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
pub enum Bus {
    /// virtio-blk: has a serial number, no WWN.
    #[default]
    Virtio,
    /// SCSI on a virtio controller: serial number and WWN.
    Scsi,
    /// NVMe: serial number and EUI-64.
    Nvme,
    /// USB mass storage: serial number, no WWN.
    Usb,
}

/// What is on a disk when it is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Zeroes, taking no room on the host.
    Empty,
    /// A copy of this file; the file itself is never written.
    CopyOf(PathBuf),
}

/// A disk to attach. Its image is sparse, belongs to the guest and ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub(crate) size: u64,
    pub(crate) content: Content,
    pub(crate) bus: Bus,
    pub(crate) serial: Option<String>,
    pub(crate) wwn: Option<u64>,
}

impl Disk {
    /// An empty disk of `size` bytes.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self {
            size,
            content: Content::Empty,
            bus: Bus::default(),
            serial: None,
            wwn: None,
        }
    }

    /// A disk that starts as a copy of a file, holes included, and is at least `size` bytes long.
    #[must_use]
    pub fn copy_of(image: impl Into<PathBuf>, size: u64) -> Self {
        Self {
            content: Content::CopyOf(image.into()),
            ..Self::new(size)
        }
    }

    /// The same disk with what another one's image has on it.
    #[must_use]
    pub fn from_image(mut self, image: impl Into<PathBuf>) -> Self {
        self.content = Content::CopyOf(image.into());
        self
    }

    /// The serial number it shows. Without, a virtual machine's disk gets one that is unique in the guest; a
    /// user-mode kernel's disk never has any.
    #[must_use]
    pub fn serial(mut self, serial: impl Into<String>) -> Self {
        self.serial = Some(serial.into());
        self
    }

    /// The world wide name it shows, where its bus has such a thing.
    #[must_use]
    pub fn wwn(mut self, wwn: u64) -> Self {
        self.wwn = Some(wwn);
        self
    }

    /// How it is attached.
    #[must_use]
    pub fn bus(mut self, bus: Bus) -> Self {
        self.bus = bus;
        self
    }
}

/// Disks whose every write is kept, in one order: slices of one file. They are virtio disks without a serial number, in
/// this order behind the guest's other disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The file; it has at least the size of all slices together.
    pub image: PathBuf,
    /// Where what is written is kept, an empty file before; see [`writes::log`](crate::writes::log).
    pub log: PathBuf,
    /// The sizes of the slices in bytes.
    pub sizes: Vec<u64>,
}

/// A host folder in the guest, at the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub(crate) path: PathBuf,
    pub(crate) writable: bool,
}

/// A guest to boot. The workspace is always shared read-only, at its own path.
#[derive(Debug, Clone)]
pub struct Spec {
    pub(crate) backend: Backend,
    pub(crate) name: String,
    pub(crate) memory_mib: u32,
    pub(crate) processors: u8,
    pub(crate) disks: Vec<Disk>,
    pub(crate) shares: Vec<Share>,
    pub(crate) modules: Vec<String>,
    pub(crate) limit: Option<Duration>,
    pub(crate) console: Option<PathBuf>,
    pub(crate) tap: Option<String>,
    pub(crate) lock_tmpfs: bool,
    pub(crate) udev: bool,
    pub(crate) workspace: Option<PathBuf>,
    pub(crate) program: Option<PathBuf>,
    pub(crate) scratch: PathBuf,
    pub(crate) recorded: Option<Recorded>,
}

impl Spec {
    /// A guest of the backend: one processor, 512 MiB, no disks, device-mapper with thin pools and snapshots loaded, udev running.
    #[must_use]
    pub fn new(backend: Backend) -> Self {
        Self {
            backend,
            name: "basalt".to_owned(),
            memory_mib: 512,
            processors: 1,
            disks: Vec::new(),
            shares: Vec::new(),
            modules: ["dm-mod", "dm-thin-pool", "dm-snapshot"]
                .map(str::to_owned)
                .to_vec(),
            limit: None,
            console: None,
            tap: None,
            lock_tmpfs: false,
            udev: true,
            workspace: None,
            program: None,
            scratch: PathBuf::from("/var/tmp"),
            recorded: None,
        }
    }

    /// A user-mode kernel.
    #[must_use]
    pub fn uml() -> Self {
        Self::new(Backend::Uml)
    }

    /// A virtual machine.
    #[must_use]
    pub fn qemu() -> Self {
        Self::new(Backend::Qemu)
    }

    /// Its host name, and how messages call it.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Its memory in MiB. The host gives only what is touched.
    #[must_use]
    pub fn memory_mib(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// Its processors. Only a virtual machine has more than one.
    #[must_use]
    pub fn processors(mut self, count: u8) -> Self {
        self.processors = count;
        self
    }

    /// One more disk from the start.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// Shares a host folder at the same path, writable.
    #[must_use]
    pub fn share(mut self, path: impl Into<PathBuf>) -> Self {
        self.shares.push(Share {
            path: path.into(),
            writable: true,
        });
        self
    }

    /// Shares a host folder at the same path, read-only.
    #[must_use]
    pub fn share_read_only(mut self, path: impl Into<PathBuf>) -> Self {
        self.shares.push(Share {
            path: path.into(),
            writable: false,
        });
        self
    }

    /// One more kernel module to load at the start.
    #[must_use]
    pub fn module(mut self, name: impl Into<String>) -> Self {
        self.modules.push(name.into());
        self
    }

    /// The guest is killed after this long, whatever it does.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Keeps the console's log in this file, after the guest's end too. It is appended to.
    #[must_use]
    pub fn console(mut self, path: impl Into<PathBuf>) -> Self {
        self.console = Some(path.into());
        self
    }

    /// Connects the guest's first network interface to an existing tap device of the caller's network namespace.
    #[must_use]
    pub fn tap(mut self, interface: impl Into<String>) -> Self {
        self.tap = Some(interface.into());
        self
    }

    /// Makes /run/lock a tmpfs of its own, as Debian and Ubuntu have it. Else it is a folder of /run.
    #[must_use]
    pub fn lock_tmpfs(mut self) -> Self {
        self.lock_tmpfs = true;
        self
    }

    /// More disks, of which every write is recorded below the guest. Only a virtual machine has them.
    #[must_use]
    pub fn recorded(mut self, recorded: Recorded) -> Self {
        self.recorded = Some(recorded);
        self
    }

    /// Boots without systemd-udevd.
    #[must_use]
    pub fn without_udev(mut self) -> Self {
        self.udev = false;
        self
    }

    /// The workspace, where it is not the one around the current folder.
    #[must_use]
    pub fn workspace(mut self, path: impl Into<PathBuf>) -> Self {
        self.workspace = Some(path.into());
        self
    }

    /// The `e2e-qemu` executable, for callers that are another program.
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// Where the guest's own folder is made; its disk images lie there. Default: /var/tmp. Keep it short: it is
    /// part of the paths of sockets.
    #[must_use]
    pub fn scratch(mut self, path: impl Into<PathBuf>) -> Self {
        self.scratch = path.into();
        self
    }
}

/// The folder at or above `start` that has the workspace's Cargo.toml.
#[must_use]
pub fn find_workspace(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .find(|dir| {
            std::fs::read_to_string(dir.join("Cargo.toml"))
                .is_ok_and(|text| text.lines().any(|line| line.trim() == "[workspace]"))
        })
        .map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_found_from_a_crate_in_it() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(find_workspace(&here.join("src")).as_deref(), here.parent());
        assert_eq!(find_workspace(Path::new("/proc")), None);
    }

    #[test]
    fn a_spec_is_built_step_by_step() {
        let spec = Spec::qemu()
            .name("n1")
            .memory_mib(256)
            .disk(Disk::new(1 << 20).serial("S1").wwn(7).bus(Bus::Scsi))
            .share("/srv")
            .lock_tmpfs();
        assert_eq!(spec.backend, Backend::Qemu);
        assert_eq!(spec.disks[0].serial.as_deref(), Some("S1"));
        assert!(spec.shares[0].writable && spec.lock_tmpfs && spec.udev);
    }
}
