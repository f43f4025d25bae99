//! The lvm.conf every command of ours runs with.
//!
//! Each program and VG has a directory of its own under `/run/topolvm/lvm`, given to
//! the child as `LVM_SYSTEM_DIR`; the file is replaced by rename, so a child reads
//! the old one or the new one. Most settings could be given with `--config`, but not
//! `use_aio`: lvm reads it before it reads its arguments, and with asynchronous I/O
//! each process waits for an RCU grace period when it exits (up to 35 ms).

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory that lvm touches and locks before it suspends a device, so that it need not wait for a page that only that device
/// could make room for (lvm.conf(5), `activation/reserved_memory`), in KiB. See docs/decisions/udev.md.
pub const RESERVED_KIB: u32 = 1024;

/// How lvm and udevd share the work of making device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Udev<'a> {
    /// udevd runs and makes all names in /dev. lvm does not wait for it (that would need
    /// the host's IPC namespace); its own names go to this directory, see [`super::nodes`].
    Runs(&'a Path),
    /// No udevd runs: lvm makes the names in /dev.
    Absent,
}

/// The setting that lets lvm see `devices` and no other; `None` when there are none, or one
/// has a name that a pattern would read otherwise.
pub(super) fn filter(devices: &[PathBuf]) -> Option<String> {
    let mut patterns = String::new();
    for device in devices {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/_-".contains(&b);
        let name = device.to_str().filter(|name| name.bytes().all(plain))?;
        patterns.push_str(&format!("\"a|^{name}$|\", "));
    }
    (!patterns.is_empty()).then(|| format!("filter=[{patterns}\"r|.*|\"]"))
}

/// The text of the lvm.conf for one program and VG, for a command that may see `devices`.
pub fn render(udev: Udev<'_>, lock_dir: &Path, devices: &[PathBuf]) -> String {
    let (dir, by_udev) = match udev {
        Udev::Runs(dir) => (format!("\n\tdir=\"{}\"", dir.display()), 1),
        Udev::Absent => (String::new(), 0),
    };
    let filter = filter(devices).map_or_else(String::new, |filter| format!("\n\t{filter}"));
    let lock_dir = lock_dir.display();
    format!(
        "# Generated; changes are lost. Explained in docs/decisions/udev.md.\n\
         global {{\n\tuse_aio=0\n\tuse_lvmpolld=0\n\tevent_activation=0\n\tnotify_dbus=0\n\tuse_lvmlockd=0\n\tlocking_dir=\"{lock_dir}\"\n}}\n\
         backup {{\n\tbackup=0\n\tarchive=0\n}}\n\
         devices {{{dir}{filter}\n\tpreferred_names=[\"^/dev/mapper/\"]\n\tuse_devicesfile=0\n\thints=\"none\"\n\tscan_lvs=0\n\tobtain_device_list_from_udev=0\n\texternal_device_info_source=\"none\"\n}}\n\
         activation {{\n\tmonitoring=0\n\tudev_sync=0\n\tudev_rules={by_udev}\n\tverify_udev_operations={by_udev}\n\treserved_memory={RESERVED_KIB}\n}}\n\
         log {{\n\tverbose=0\n\tsyslog=0\n}}\n"
    )
}

/// Writes the lvm.conf of `program` for `vg` (`_scan` stands for "no VG") below `root`
/// and returns the directory for `LVM_SYSTEM_DIR`.
///
/// # Errors
/// When the directory or the file cannot be written.
pub fn place(root: &Path, program: &str, vg: &str, text: &str) -> io::Result<PathBuf> {
    let dir = root.join(program).join(vg);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&dir)?;
    // Half a file would be LVM's defaults.
    let file = dir.join("lvm.conf");
    if fs::read_to_string(&file).is_ok_and(|old| old == text) {
        return Ok(dir);
    }
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Nobody else writes to this name.
    let (pid, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let next = file.with_extension(format!("next.{pid}.{n}"));
    let mut out = fs::File::create(&next)?;
    out.write_all(text.as_bytes())?;
    fs::rename(next, file)?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_holds_only_names_that_mean_themselves() {
        let filter = |names: &[&str]| filter(&names.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(
            filter(&["/dev/sda", "/dev/nvme0n1"]).unwrap(),
            r#"filter=["a|^/dev/sda$|", "a|^/dev/nvme0n1$|", "r|.*|"]"#
        );
        assert_eq!(filter(&["/dev/sda", "/dev/mapper/a.b"]), None);
        assert_eq!(filter(&[]), None, "not everything");
    }

    #[test]
    fn the_file_is_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let lock = Path::new("/run/lock/lvm");
        let nodes = Path::new("/dev/.basalt/lvmd/vg");
        let dir = place(
            root.path(),
            "lvmd",
            "vg",
            &render(Udev::Runs(nodes), lock, &["/dev/sda".into()]),
        )
        .unwrap();
        let text = fs::read_to_string(dir.join("lvm.conf")).unwrap();
        assert!(
            text.contains("use_aio=0")
                && text.contains("filter=[\"a|^/dev/sda$|\", \"r|.*|\"]")
                && text.contains("dir=\"/dev/.basalt/lvmd/vg\"")
                && text.contains("udev_sync=0\n\tudev_rules=1\n\tverify_udev_operations=1"),
            "{text}"
        );
        place(root.path(), "lvmd", "vg", &render(Udev::Absent, lock, &[])).unwrap();
        assert!(
            fs::read_to_string(dir.join("lvm.conf"))
                .unwrap()
                .contains("udev_rules=0")
        );
        assert_eq!(
            fs::read_dir(dir).unwrap().count(),
            1,
            "no half-written file stays"
        );
    }
}
