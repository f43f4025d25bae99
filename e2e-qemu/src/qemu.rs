//! The virtual machine: how it is started and how its disks come and go.
//!
//! A q35 machine. Each disk has a slot: a PCIe root port for virtio and nvme, an address on the one scsi or usb
//! bus else. A disk is described once, as the JSON that both the command line and the monitor take.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::attached::Attached;
use crate::initramfs;
use crate::protocol::{DiskKey, ShareMount};
use crate::qmp::Monitor;
use crate::spec::{Bus, Recorded, Share, Spec};
use crate::supervise::Plan;

/// How many disks there can be.
const SLOTS: usize = 16;

/// Drivers for every bus a disk can be on, and for the network.
pub(crate) const MODULES: [&str; 7] = [
    "nvme",
    "virtio_scsi",
    "sd_mod",
    "xhci_pci",
    "usb_storage",
    "uas",
    "virtio_net",
];

/// What a machine is made of, beside its spec.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// The guest tree as squashfs.
    pub(crate) root: PathBuf,
    /// The kernel tree.
    pub(crate) kernel: PathBuf,
    /// Does hardware virtualisation work?
    pub(crate) kvm: bool,
}

/// Is there such a slot?
pub(crate) fn has_slot(slot: usize) -> bool {
    slot < SLOTS
}

/// The serial number of a disk that was given none. Never the machine's own: that is the same everywhere.
pub(crate) fn serial(slot: usize) -> String {
    format!("BASALT{slot:04}")
}

/// How the host folders are mounted in the guest.
pub(crate) fn share_mounts(shares: &[Share]) -> Vec<ShareMount> {
    shares
        .iter()
        .enumerate()
        .map(|(n, share)| ShareMount {
            fstype: "9p".to_owned(),
            source: format!("share{n}"),
            target: share.path.clone(),
            writable: share.writable,
        })
        .collect()
}

/// What the supervisor is to start.
///
/// # Errors
/// The initramfs could not be built, or the agent not be copied.
pub(crate) fn plan(
    spec: &Spec,
    parts: &Parts,
    scratch: &Path,
    program: &Path,
    shares: &[Share],
    disks: &[Attached],
) -> io::Result<Plan> {
    let initrd = scratch.join("initramfs");
    if !initrd.exists() {
        fs::write(&initrd, initramfs::build(&parts.kernel)?)?;
        fs::create_dir_all(scratch.join("agent"))?;
        fs::copy(program, scratch.join("agent/agent"))?;
    }
    Ok(Plan {
        scratch: scratch.to_owned(),
        limit: spec.limit,
        root: None,
        one_processor: false,
        argv: argv(spec, parts, scratch, shares, disks)?,
        env: BTreeMap::from([(
            "PATH".to_owned(),
            "/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        )]),
    })
}

fn argv(
    spec: &Spec,
    parts: &Parts,
    scratch: &Path,
    shares: &[Share],
    disks: &[Attached],
) -> io::Result<Vec<String>> {
    let mut argv = Argv(vec!["qemu-system-x86_64".to_owned()]);
    let (accelerator, processor) = if parts.kvm {
        ("kvm", "host")
    } else {
        ("tcg,tb-size=256", "max")
    };
    argv.flag("-nodefaults")
        .flag("-no-user-config")
        .flag("-no-reboot");
    argv.pair("-name", &spec.name)
        .pair("-display", "none")
        .pair("-machine", "q35")
        .pair("-accel", accelerator)
        .pair("-cpu", processor)
        .pair("-smp", spec.processors.to_string())
        .pair("-m", spec.memory_mib.to_string())
        .pair("-kernel", parts.kernel.join("vmlinuz").display())
        .pair("-initrd", scratch.join("initramfs").display())
        .pair(
            "-append",
            "console=ttyS0 loglevel=5 panic=-1 maxcpus=1 rdinit=/init",
        )
        // Not stdio: that would read the agent's line, which is stdin.
        .pair("-chardev", "file,id=console,path=/dev/fd/1,append=on")
        .pair("-serial", "chardev:console")
        .pair(
            "-qmp",
            format!("unix:{},server=on,wait=off", monitor(scratch).display()),
        )
        .pair("-chardev", "socket,id=agent,fd=0")
        .pair("-device", "virtio-serial-pci")
        .pair(
            "-device",
            "virtserialport,chardev=agent,name=basalt.agent,nr=1",
        )
        .pair("-device", "virtio-rng-pci")
        .pair("-device", "virtio-scsi-pci,id=scsi")
        .pair("-device", "qemu-xhci,id=usb,p2=15,p3=15");
    let root = format!(
        "if=none,id=root,format=raw,readonly=on,file={}",
        parts.root.display()
    );
    argv.pair("-drive", root)
        .pair("-device", "virtio-blk-pci,drive=root,serial=basalt-root");
    let agent = [("agent".to_owned(), scratch.join("agent"), false)];
    let modules = [("modules".to_owned(), parts.kernel.join("modules"), false)];
    let shares = shares
        .iter()
        .enumerate()
        .map(|(n, share)| (format!("share{n}"), share.path.clone(), share.writable));
    for (tag, path, writable) in agent.into_iter().chain(modules).chain(shares) {
        let readonly = if writable { "off" } else { "on" };
        argv.pair(
            "-virtfs",
            format!(
                "local,security_model=none,multidevs=remap,readonly={readonly},mount_tag={tag},path={}",
                path.display()
            ),
        );
    }
    for slot in 0..SLOTS {
        // Addresses from 0x10 on: two full devices of eight functions each.
        let address = format!("{:#x}.{}", 0x10 + slot / 8, slot % 8);
        let multifunction = if slot % 8 == 0 {
            ",multifunction=on"
        } else {
            ""
        };
        let port = format!(
            "pcie-root-port,id=port{slot},chassis={slot},slot={slot},addr={address}{multifunction}"
        );
        argv.pair("-device", port);
    }
    for disk in disks {
        argv.pair("-blockdev", image_json(disk))
            .pair("-device", device_json(disk)?);
    }
    if let Some(recorded) = &spec.recorded {
        record(&mut argv, recorded);
    }
    if let Some(tap) = &spec.tap {
        argv.pair(
            "-netdev",
            format!("tap,id=net,ifname={tap},script=no,downscript=no"),
        )
        .pair(
            "-device",
            format!("virtio-net-pci,netdev=net,mac={}", address(scratch)),
        );
    }
    Ok(argv.0)
}

/// One file, above it what keeps each write, above that the slices: so one order covers all of them.
fn record(argv: &mut Argv, recorded: &Recorded) {
    let file = |path: &Path| json!({ "driver": "file", "filename": path, "discard": "unmap" });
    let log = json!({
        "driver": "blklogwrites",
        "node-name": "recorded",
        "discard": "unmap",
        "file": file(&recorded.image),
        "log": file(&recorded.log),
    });
    argv.pair("-blockdev", log);
    let mut offset = 0;
    for (n, size) in recorded.sizes.iter().enumerate() {
        let slice = json!({
            "driver": "raw",
            "node-name": format!("slice{n}"),
            "discard": "unmap",
            "file": "recorded",
            "offset": offset,
            "size": size,
        });
        // From the last port down: the others are for disks that come and go.
        let port = SLOTS - recorded.sizes.len() + n;
        argv.pair("-blockdev", slice).pair(
            "-device",
            format!("virtio-blk-pci,bus=port{port},drive=slice{n},share-rw=on"),
        );
        offset += size;
    }
}

/// A network address of the guest's own: the machine's default is the same everywhere.
fn address(scratch: &Path) -> String {
    let hash = Sha256::digest(scratch.as_os_str().as_encoded_bytes());
    format!("52:54:00:{:02x}:{:02x}:{:02x}", hash[0], hash[1], hash[2])
}

struct Argv(Vec<String>);

impl Argv {
    fn flag(&mut self, flag: &str) -> &mut Self {
        self.0.push(flag.to_owned());
        self
    }

    fn pair(&mut self, flag: &str, value: impl std::fmt::Display) -> &mut Self {
        self.0.push(flag.to_owned());
        self.0.push(value.to_string());
        self
    }
}

fn monitor(scratch: &Path) -> PathBuf {
    scratch.join("monitor")
}

fn device_id(slot: usize) -> String {
    format!("disk{slot}")
}

fn image_json(disk: &Attached) -> Value {
    json!({
        "driver": "raw",
        "node-name": format!("image{}", disk.slot()),
        "discard": "unmap",
        "file": { "driver": "file", "filename": disk.image(), "discard": "unmap" },
    })
}

fn device_json(disk: &Attached) -> io::Result<Value> {
    let slot = disk.slot();
    let port = format!("port{slot}");
    let mut device = match disk.bus() {
        Bus::Virtio => json!({ "driver": "virtio-blk-pci", "bus": port }),
        Bus::Nvme => json!({ "driver": "nvme", "bus": port }),
        Bus::Scsi => json!({ "driver": "scsi-hd", "bus": "scsi.0", "lun": slot }),
        Bus::Usb => json!({ "driver": "usb-storage", "bus": "usb.0" }),
    };
    let unsupported = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    device["id"] = json!(device_id(slot));
    device["drive"] = json!(format!("image{slot}"));
    device["serial"] = json!(
        disk.serial()
            .ok_or_else(|| unsupported("a machine's disk needs a serial"))?
    );
    match (disk.bus(), disk.wwn()) {
        (_, None) => {}
        (Bus::Scsi, Some(wwn)) => device["wwn"] = json!(wwn),
        (bus, Some(_)) => {
            return Err(unsupported(&format!(
                "{bus:?} disks have no WWN that can be chosen"
            )));
        }
    }
    Ok(device)
}

/// Attaches an image while the machine runs.
pub(crate) fn plug(scratch: &Path, disk: &Attached) -> io::Result<()> {
    let device = device_json(disk)?;
    let mut monitor = Monitor::open(&monitor(scratch))?;
    monitor.ask("blockdev-add", image_json(disk))?;
    monitor.ask("device_add", device).map(drop)
}

/// Takes a disk away while the machine runs, open or not; returns when the guest has let go of its device.
pub(crate) fn pull(scratch: &Path, disk: &Attached) -> io::Result<()> {
    let id = device_id(disk.slot());
    let mut monitor = Monitor::open(&monitor(scratch))?;
    monitor.ask("device_del", json!({ "id": id }))?;
    monitor.await_gone(&id)?;
    monitor
        .ask(
            "blockdev-del",
            json!({ "node-name": format!("image{}", disk.slot()) }),
        )
        .map(drop)
}

/// How the agent knows a disk that was just attached.
pub(crate) fn key(disk: &Attached) -> DiskKey {
    DiskKey::Serial(disk.serial().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Disk;

    fn disk(disk: Disk) -> Attached {
        Attached::new(3, "disk3", "/s/disk3.img", disk)
    }

    #[test]
    fn each_bus_has_its_device() {
        let nvme = device_json(&disk(Disk::new(1).bus(Bus::Nvme).serial("N1"))).unwrap();
        assert_eq!(
            nvme,
            json!({"driver": "nvme", "bus": "port3", "id": "disk3", "drive": "image3", "serial": "N1"})
        );
        let scsi = device_json(&disk(Disk::new(1).bus(Bus::Scsi).serial("S1").wwn(9))).unwrap();
        assert_eq!(
            (&scsi["bus"], &scsi["lun"], &scsi["wwn"]),
            (&json!("scsi.0"), &json!(3), &json!(9))
        );
        assert!(device_json(&disk(Disk::new(1).bus(Bus::Usb).serial("U1").wwn(9))).is_err());
        assert!(device_json(&disk(Disk::new(1))).is_err());
    }

    #[test]
    fn the_machines_arguments() {
        let parts = Parts {
            root: "/c/root.squashfs".into(),
            kernel: "/c/kernel".into(),
            kvm: false,
        };
        let shares = [Share {
            path: "/w".into(),
            writable: false,
        }];
        let disks = [disk(Disk::new(1).serial("V1"))];
        let spec = Spec::qemu().processors(2);
        let argv = argv(&spec, &parts, Path::new("/s"), &shares, &disks).unwrap();
        let after = |flag: &str, part: &str| {
            argv.windows(2)
                .any(|pair| pair[0] == flag && pair[1].contains(part))
        };
        assert!(after("-accel", "tcg") && after("-smp", "2"));
        assert!(after("-qmp", "unix:/s/monitor,"));
        assert!(after("-virtfs", "readonly=on,mount_tag=share0,path=/w"));
        assert!(after("-blockdev", "\"filename\":\"/s/disk3.img\""));
        assert!(after("-device", "\"serial\":\"V1\""));
        let recorded = Spec::qemu().recorded(Recorded {
            image: "/r/all".into(),
            log: "/r/log".into(),
            sizes: vec![4096, 8192],
        });
        let recording = super::argv(&recorded, &parts, Path::new("/s"), &[], &[]).unwrap();
        let slice = recording.iter().find(|arg| arg.contains("\"slice1\""));
        assert!(slice.unwrap().contains("\"offset\":4096,\"size\":8192"));
        assert!(after("-device", "id=port15,chassis=15,slot=15,addr=0x11.7"));
    }
}
