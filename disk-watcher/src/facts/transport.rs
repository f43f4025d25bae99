//! How a disk is attached, told from where it hangs in the device tree.

use std::fmt;
use std::path::{Component, Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sysfs::names_in;

/// How a disk is attached.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// NVMe on PCI Express.
    Nvme,
    /// SATA or PATA.
    Sata,
    /// Serial attached SCSI; a SATA disk behind a SAS expander too.
    Sas,
    /// Another local SCSI adapter, virtio-scsi and storvsc included.
    Scsi,
    /// virtio-blk.
    Virtio,
    /// USB, whatever protocol runs on it.
    Usb,
    /// SD cards and eMMC.
    Mmc,
    /// iSCSI.
    Iscsi,
    /// Fibre Channel.
    Fc,
    /// NVMe over TCP, RDMA, Fibre Channel or loop.
    Nvmeof,
    /// The kernel's scsi_debug: contents in memory, for tests.
    ScsiDebug,
    /// A disk of user-mode Linux, for tests.
    Ubd,
    /// A file that we made, behind a loop device. No class selects by it: it lists its files.
    #[serde(skip_deserializing)]
    File,
}

impl Transport {
    /// Every transport.
    pub const ALL: [Self; 13] = [
        Self::Nvme,
        Self::Sata,
        Self::Sas,
        Self::Scsi,
        Self::Virtio,
        Self::Usb,
        Self::Mmc,
        Self::Iscsi,
        Self::Fc,
        Self::Nvmeof,
        Self::ScsiDebug,
        Self::Ubd,
        Self::File,
    ];

    /// Whether a class may take such disks without naming the transport. The others
    /// come and go, are shared between hosts, or exist for tests.
    pub fn is_allowed_by_default(self) -> bool {
        matches!(
            self,
            Self::Nvme | Self::Sata | Self::Sas | Self::Scsi | Self::Virtio | Self::File
        )
    }

    /// The name used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nvme => "nvme",
            Self::Sata => "sata",
            Self::Sas => "sas",
            Self::Scsi => "scsi",
            Self::Virtio => "virtio",
            Self::Usb => "usb",
            Self::Mmc => "mmc",
            Self::Iscsi => "iscsi",
            Self::Fc => "fc",
            Self::Nvmeof => "nvmeof",
            Self::ScsiDebug => "scsi_debug",
            Self::Ubd => "ubd",
            Self::File => "file",
        }
    }

    /// Whether the kernel drives it as a SCSI disk, with a device state to check.
    pub fn is_scsi(self) -> bool {
        matches!(
            self,
            Self::Sata
                | Self::Sas
                | Self::Scsi
                | Self::Usb
                | Self::Iscsi
                | Self::Fc
                | Self::ScsiDebug
        )
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Tells the transport of the disk whose directory is `disk`, an absolute path without
/// symbolic links such as `/sys/devices/pci0000:00/.../block/sda`. `None` when the path
/// has nothing we know: an unknown bus is not allowed.
///
/// What is farther away decides: a SATA disk in a USB case is USB.
pub(super) fn of(disk: &Path) -> Option<Transport> {
    let parts: Parts<'_> = Parts(
        disk.components()
            .filter_map(|part| match part {
                Component::Normal(name) => name.to_str(),
                _ => None,
            })
            .collect(),
    );
    if parts.any(|p| numbered(p, "usb")) {
        return Some(Transport::Usb);
    }
    if parts.any(|p| p == "nvme-subsystem" || numbered(p, "nvme")) {
        return nvme(disk);
    }
    if parts.any(|p| p == "mmc_host") {
        return Some(Transport::Mmc);
    }
    if parts.any(|p| p.starts_with("uml-blkdev")) {
        return Some(Transport::Ubd);
    }
    if parts.any(|p| numbered(p, "session")) {
        return Some(Transport::Iscsi);
    }
    if parts.any(|p| p.starts_with("rport-")) {
        return Some(Transport::Fc);
    }
    if parts.any(|p| numbered(p, "pseudo_")) && parts.any(|p| numbered(p, "adapter")) {
        return Some(Transport::ScsiDebug);
    }
    if let Some(host) = disk.ancestors().find(|dir| {
        dir.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| numbered(name, "host"))
    }) {
        return scsi(host, &parts);
    }
    let parts = parts.0;
    let len = parts.len();
    (len >= 3 && parts[len - 2] == "block" && numbered(parts[len - 3], "virtio"))
        .then_some(Transport::Virtio)
}

/// The names of the directories a disk hangs in, from the top.
struct Parts<'a>(Vec<&'a str>);

impl Parts<'_> {
    fn any(&self, test: impl Fn(&str) -> bool) -> bool {
        self.0.iter().any(|part| test(part))
    }
}

/// A SCSI disk, by the classes its host adapter belongs to.
fn scsi(host: &Path, parts: &Parts<'_>) -> Option<Transport> {
    if host.join("fc_host").exists() {
        return Some(Transport::Fc);
    }
    if host.join("iscsi_host").exists() {
        return Some(Transport::Iscsi);
    }
    if parts.any(|p| p.starts_with("end_device-")) {
        return Some(Transport::Sas);
    }
    if parts.any(|p| numbered(p, "ata")) {
        return Some(Transport::Sata);
    }
    // SRP is SCSI over a network; the pseudo adapters of tcm_loop loop back to us.
    if host.join("srp_host").exists() || parts.any(|p| p.starts_with("tcm_loop")) {
        return None;
    }
    Some(Transport::Scsi)
}

/// An NVMe namespace, by the transports of all controllers that lead to it. Its
/// `device` is the controller, or with native multipath the subsystem, in which the
/// controllers are links.
fn nvme(disk: &Path) -> Option<Transport> {
    let device = disk.join("device");
    let mut seen = Vec::new();
    if let Ok(text) = std::fs::read_to_string(device.join("transport")) {
        seen.push(text.trim().to_owned());
    } else {
        for name in names_in(&device).ok()? {
            if let Ok(text) = std::fs::read_to_string(device.join(&name).join("transport")) {
                seen.push(text.trim().to_owned());
            }
        }
    }
    match seen.as_slice() {
        [] => None,
        all if all.iter().all(|t| t == "pcie") => Some(Transport::Nvme),
        all if all
            .iter()
            .all(|t| matches!(t.as_str(), "pcie" | "tcp" | "rdma" | "fc" | "loop")) =>
        {
            Some(Transport::Nvmeof)
        }
        _ => None,
    }
}

/// Whether `name` is `prefix` and then only digits.
fn numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_tells_the_transport() {
        let pci = "/sys/devices/pci0000:00/0000:00:1f.2";
        for (path, transport) in [
            (
                format!("{pci}/ata1/host0/target0:0:0/0:0:0:0/block/sda"),
                Some(Transport::Sata),
            ),
            (
                format!("{pci}/usb1/1-1/1-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb"),
                Some(Transport::Usb),
            ),
            (
                format!("{pci}/host0/port-0:0/end_device-0:0/target0:0:0/0:0:0:0/block/sdc"),
                Some(Transport::Sas),
            ),
            (
                format!("{pci}/host1/rport-1:0-2/target1:0:0/1:0:0:0/block/sdd"),
                Some(Transport::Fc),
            ),
            (
                format!("{pci}/virtio2/host2/target2:0:0/2:0:0:0/block/sde"),
                Some(Transport::Scsi),
            ),
            (format!("{pci}/virtio3/block/vda"), Some(Transport::Virtio)),
            (
                format!("{pci}/mmc_host/mmc0/mmc0:0001/block/mmcblk0"),
                Some(Transport::Mmc),
            ),
            (
                "/sys/devices/platform/host3/session1/target3:0:0/3:0:0:1/block/sdf".into(),
                Some(Transport::Iscsi),
            ),
            (
                "/sys/devices/pseudo_0/adapter0/host4/target4:0:0/4:0:0:0/block/sdg".into(),
                Some(Transport::ScsiDebug),
            ),
            (
                "/sys/devices/platform/uml-blkdev.1/block/ubdb".into(),
                Some(Transport::Ubd),
            ),
            (
                "/sys/devices/tcm_loop_0/tcm_loop_adapter_0/host5/target5:0:1/5:0:1:0/block/sdh"
                    .into(),
                None,
            ),
            ("/sys/devices/virtual/block/loop0".into(), None),
            ("/sys/devices/rbd/0/block/rbd0".into(), None),
            (
                format!("{pci}/ndbus0/region0/namespace0.0/block/pmem0"),
                None,
            ),
        ] {
            assert_eq!(of(Path::new(&path)), transport, "{path}");
        }
    }
}
