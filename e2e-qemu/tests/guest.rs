//! Runs inside a guest: what every guest test may rely on.

use std::fs;
use std::io::{Seek, SeekFrom};
use std::path::Path;

/// The disks that are for the test, from `$BASALT_DISKS`.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness hands the disks over in the environment"
)]
fn disks() -> Vec<String> {
    let list = std::env::var("BASALT_DISKS").expect("runs in a guest: e2e-qemu test");
    list.split(',').map(str::to_owned).collect()
}

fn mounted(path: &str) -> Option<(String, String)> {
    fs::read_to_string("/proc/self/mounts")
        .expect("/proc is mounted")
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .filter(|words| words[1] == path)
        .map(|words| (words[2].to_owned(), words[3].to_owned()))
        .next_back()
}

#[test]
fn four_disks_are_there() {
    let disks = disks();
    assert_eq!(disks.len(), 4);
    for disk in disks {
        let size = fs::File::open(&disk).unwrap().seek(SeekFrom::End(0));
        assert_eq!(size.unwrap(), 512 << 20, "{disk}");
    }
}

#[test]
fn the_root_is_read_only_and_state_is_not() {
    let (_, options) = mounted("/").unwrap();
    assert!(options.split(',').any(|option| option == "ro"), "{options}");
    for path in ["/run", "/tmp", "/var/lib", "/etc/lvm"] {
        assert_eq!(mounted(path).unwrap().0, "tmpfs", "{path}");
    }
    assert!(Path::new("/run/lock/lvm").is_dir());
    assert!(fs::write("/usr/written", "").is_err());
}

#[test]
fn udev_knows_the_disks() {
    assert!(Path::new("/run/udev/control").exists());
    for disk in disks() {
        let name = disk.strip_prefix("/dev/").unwrap();
        let number = fs::read_to_string(format!("/sys/block/{name}/dev")).unwrap();
        assert!(
            Path::new(&format!("/run/udev/data/b{}", number.trim())).exists(),
            "{disk}"
        );
    }
}

#[test]
fn device_mapper_is_loaded() {
    let targets = fs::read_to_string("/proc/modules").unwrap();
    for module in ["dm_mod", "dm_thin_pool", "dm_snapshot"] {
        assert!(targets.contains(module), "{module}");
    }
}

/// Leaves a mess on purpose: the guest must not be used for another test.
#[test]
fn a_mess_is_left_behind_dirty() {
    fs::write(&disks()[0], b"not blank").unwrap();
}
