//! What is measured, and what it is measured on.

use std::ops::Range;

use crate::host::{clean, disks, lvm, run};

/// A case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    CreateThick,
    CreateThin,
    ResizeThick,
    ResizeThin,
    SnapshotThin,
    RemoveThick,
    RemoveThin,
    List,
    Free,
    RemoveThickZeroed,
}

/// All, in the order of the table.
pub const CASES: [Case; 10] = [
    Case::CreateThick,
    Case::CreateThin,
    Case::ResizeThick,
    Case::ResizeThin,
    Case::SnapshotThin,
    Case::RemoveThick,
    Case::RemoveThin,
    Case::List,
    Case::Free,
    Case::RemoveThickZeroed,
];

impl Case {
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateThick => "create-thick",
            Self::CreateThin => "create-thin",
            Self::ResizeThick => "resize-thick",
            Self::ResizeThin => "resize-thin",
            Self::SnapshotThin => "snapshot-thin",
            Self::RemoveThick => "remove-thick",
            Self::RemoveThin => "remove-thin",
            Self::List => "list",
            Self::Free => "free",
            Self::RemoveThickZeroed => "remove-thick-zeroed",
        }
    }
}

/// The VGs: of thick volumes, of a pool, and of thick volumes that are overwritten when removed.
pub const GROUPS: [&str; 3] = ["thick", "thin", "zeroed"];

/// Makes the VGs on a disk each, and the pool.
pub fn make_groups() {
    clean();
    for (vg, disk) in GROUPS.iter().zip(disks()) {
        lvm(&["vgcreate", vg, &disk]);
    }
    lvm(&["lvcreate", "-y", "-l", "80%VG", "-T", "thin/pool"]);
    settle();
}

/// Adds other volumes to two VGs, and activates them at once.
pub fn add_volumes(numbers: Range<u32>) {
    for n in numbers.clone() {
        let name = format!("other{n}");
        let thick = "lvcreate -y -an -Zn -Wn -L 4M thick -n";
        let thin = "lvcreate -y -an -V 8M -T thin/pool -n";
        for args in [thick, thin] {
            let args: Vec<_> = args.split(' ').chain([name.as_str()]).collect();
            lvm(&args);
        }
    }
    if !numbers.is_empty() {
        lvm(&["vgchange", "-ay", "thick", "thin"]);
        settle();
    }
}

/// Waits until udevd has nothing left to do.
pub fn settle() {
    run("udevadm", &["settle", "--timeout=60"]);
}
