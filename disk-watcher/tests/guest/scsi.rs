//! SCSI disks that the guest's kernel makes up: they have serial numbers, and they can be
//! unplugged and plugged again with what stands on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::{output, run};

const DRIVER: &str = "/sys/bus/pseudo/drivers/scsi_debug";

/// Takes any disk of scsi_debug; `zeroes` is what it asks of their contents.
pub(crate) fn class(zeroes: &str, max_disks: u32) -> String {
    format!(
        "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {{name: fast}}
spec:
  mode: Enforce
  select: {{transport: [scsi_debug], size: {{min: 1Mi}}}}
  limits: {{settle: 0s, maxDisks: {max_disks}}}
  safety: {{requireZeroed: {zeroes}}}
  volumeGroup: {{name: fast}}
"
    )
}

/// The adapter that such disks hang on. All disks of one adapter have the same size.
pub(crate) struct Bench(());

/// A disk. It keeps its contents while it is unplugged.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    host: PathBuf,
}

impl Bench {
    /// Loads the driver for blank disks of `mib` MiB with sectors of `sector` bytes.
    pub(crate) fn new(mib: u64, sector: u32) -> Self {
        Self::with(&[
            &format!("dev_size_mb={mib}"),
            &format!("sector_size={sector}"),
        ])
    }

    /// Loads the driver with these parameters on top of what all disks here need.
    pub(crate) fn with(parameters: &[&str]) -> Self {
        unload();
        // ndelay: answers after 10 us, not after a tick.
        let mut args = vec![
            "scsi_debug",
            "per_host_store=1",
            "add_host=0",
            "ndelay=10000",
        ];
        args.extend(parameters);
        run("modprobe", &args);
        Self(())
    }

    /// Plugs in a blank disk; returns when it can be opened. udev may still be busy with it.
    pub(crate) fn add(&self) -> Disk {
        let hosts = || -> Vec<PathBuf> {
            let adapters = fs::read_dir("/sys/bus/pseudo/devices").unwrap();
            let all = adapters.flat_map(|a| fs::read_dir(a.unwrap().path()).unwrap());
            all.map(|entry| entry.unwrap().path())
                .filter(|path| name(path).starts_with("host"))
                .collect()
        };
        let before = hosts();
        fs::write(format!("{DRIVER}/add_host"), "1").unwrap();
        let host = hosts().into_iter().find(|h| !before.contains(h)).unwrap();
        let disk = Disk { host };
        let node = disk.node();
        // The kernel makes the node a moment before the disk behind it is there; each try in between starts modprobe.
        let opens = (0..50).any(|_| {
            let opens = fs::File::open(&node).is_ok();
            if !opens {
                run("udevadm", &["settle"]);
            }
            opens
        });
        assert!(opens, "{} cannot be opened", node.display());
        disk
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        unload();
    }
}

fn unload() {
    run("udevadm", &["settle"]);
    if !Path::new(DRIVER).exists() {
        return;
    }
    // What udev's rules stacked on a member they found.
    output("mdadm", &["--stop", "--scan"]);
    output("lvm", &["vgchange", "-an", "--select", "pv_name=~/dev/sd"]);
    for pattern in ["/sys/block/*/bcache/stop", "/sys/fs/bcache/*/stop"] {
        for bcache in glob::glob(pattern).unwrap() {
            fs::write(bcache.unwrap(), "1").unwrap();
        }
    }
    let started = Instant::now();
    while !output("rmmod", &["scsi_debug"]).status.success() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "a disk of scsi_debug is still in use"
        );
    }
}

impl Disk {
    /// Its name in `/sys/block`, if it is plugged in.
    fn find(&self) -> Option<String> {
        let pattern = format!("{}/target*/*/block/*", self.host.display());
        let path = glob::glob(&pattern).unwrap().next()?.unwrap();
        Some(name(&path).to_owned())
    }

    /// Its kernel name; waits for it.
    pub(crate) fn name(&self) -> String {
        let started = Instant::now();
        loop {
            if let Some(name) = self.find() {
                return name;
            }
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "{self:?} does not appear"
            );
        }
    }

    /// Its node; waits for it.
    pub(crate) fn node(&self) -> PathBuf {
        let node = Path::new("/dev").join(self.name());
        let started = Instant::now();
        while !node.exists() {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "{} is missing",
                node.display()
            );
        }
        node
    }

    /// Unplugs it, in use or not.
    pub(crate) fn pull(&self) {
        fs::write(format!("/sys/block/{}/device/delete", self.name()), "1").unwrap();
    }

    /// Plugs it in again. Its counts begin at zero.
    pub(crate) fn plug(&self) {
        let scan = self
            .host
            .join("scsi_host")
            .join(name(&self.host))
            .join("scan");
        fs::write(scan, "- - -").unwrap();
        self.name();
    }

    /// What the kernel counted since it was plugged in: (writes, sectors written, discards,
    /// flushes); see Documentation/block/stat.rst.
    pub(crate) fn written(&self) -> [u64; 4] {
        let text = fs::read_to_string(format!("/sys/block/{}/stat", self.name())).unwrap();
        let fields: Vec<u64> = text
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect();
        [fields[4], fields[6], fields[11], fields[15]]
    }

    /// The digest of all its bytes, past the page cache.
    pub(crate) fn sum(&self) -> String {
        let node = self.node();
        output("blockdev", &["--flushbufs", node.to_str().unwrap()]);
        run("sha256sum", &[node.to_str().unwrap()])[..64].to_owned()
    }
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}
