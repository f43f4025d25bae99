//! What is in a tree.
//!
//! `node` is what ships. `guest` is the same and what only a guest under test needs on top; `kernel` is what a
//! virtual machine needs beside a tree. Names of packages are Debian's.

use sha2::{Digest, Sha256};

use crate::arch::Arch;

/// The Debian release everything comes from.
pub const SUITE: &str = "trixie";

/// LVM and what it calls, the file systems that volumes get, and what a daemon and a shell need around them.
const NODE: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "btrfs-progs",
    "coreutils",
    "dash",
    "dmsetup",
    "e2fsprogs",
    "findutils",
    "grep",
    "gzip",
    "kmod",
    "libc-bin",
    "lvm2",
    "mawk",
    "mount",
    "passwd",
    "procps",
    "sed",
    "thin-provisioning-tools",
    "udev",
    "util-linux",
    "xfsprogs",
];

/// Makers of every signature that the disk rules must recognise, tools to look into a guest, and what a kubelet calls.
const TEST_TOOLS: &[&str] = &[
    "bcache-tools",
    "busybox-static",
    "containernetworking-plugins",
    "cryptsetup-bin",
    "diffutils",
    "dosfstools",
    "drbd-utils",
    "erofs-utils",
    "exfatprogs",
    "f2fs-tools",
    "fdisk",
    "gdisk",
    "hdparm",
    "iproute2",
    "mdadm",
    "nbd-client",
    "nilfs-tools",
    "ntfs-3g",
    "nvme-cli",
    "ocfs2-tools",
    "parted",
    "runc",
    "sg3-utils",
    "squashfs-tools",
    "strace",
    "tar",
    "udftools",
];

/// A kernel that runs as a process, with its modules.
const UML: &[&str] = &["user-mode-linux"];

/// A kernel for a virtual machine, and the one program its initramfs needs.
const KERNEL: &[&str] = &["busybox-static", "linux-image-amd64"];

const PACKAGES_SH: &str = include_str!("../recipe/packages.sh");
const BASE_SH: &str = include_str!("../recipe/base.sh");
const NODE_SH: &str = include_str!("../recipe/node.sh");
const GUEST_SH: &str = include_str!("../recipe/guest.sh");
const KERNEL_SH: &str = include_str!("../recipe/kernel.sh");

/// Everything that decides the content of a tree, but for the packages' versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// What people call it; part of the name of its cached tree.
    pub name: &'static str,
    /// What its programs run on; another one has another name.
    pub arch: Arch,
    /// The Debian release.
    pub suite: &'static str,
    /// Package names; their dependencies follow.
    pub packages: Vec<&'static str>,
    /// The shell script that lists the packages while their archives are there; gets the root as `$1`.
    pub list: &'static str,
    /// Shell scripts that finish the tree, in order; each gets its root as `$1`.
    pub finish: Vec<&'static str>,
}

impl Recipe {
    /// The tree that ships: node image, extension container, sysext.
    #[must_use]
    pub fn node() -> Self {
        Self {
            name: "node",
            arch: Arch::Amd64,
            suite: SUITE,
            packages: NODE.to_vec(),
            list: PACKAGES_SH,
            finish: vec![BASE_SH, NODE_SH],
        }
    }

    /// The tree that ships for `arch`.
    #[must_use]
    pub fn node_for(arch: Arch) -> Self {
        let name = match arch {
            Arch::Amd64 => "node",
            Arch::Arm64 => "arm64-node",
        };
        Self {
            name,
            arch,
            ..Self::node()
        }
    }

    /// The shipped tree and what a guest under test needs on top of it.
    #[must_use]
    pub fn guest() -> Self {
        Self {
            name: "guest",
            packages: [NODE, TEST_TOOLS, UML].concat(),
            finish: vec![BASE_SH, NODE_SH, GUEST_SH],
            ..Self::node()
        }
    }

    /// `vmlinuz`, `modules/`, `busybox`: what boots a virtual machine with a guest tree.
    #[must_use]
    pub fn kernel() -> Self {
        Self {
            name: "kernel",
            packages: KERNEL.to_vec(),
            finish: vec![BASE_SH, KERNEL_SH],
            ..Self::node()
        }
    }

    /// A hash of the recipe, 16 hexadecimal digits. The mirror and the day do not enter.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for field in [
            &[self.name, self.suite, self.list],
            &self.packages[..],
            &self.finish[..],
        ] {
            hash.update(u64::try_from(field.len()).unwrap_or(u64::MAX).to_le_bytes());
            for text in field {
                hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
                hash.update(text.as_bytes());
            }
        }
        hash.finalize()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The name of its tree in a cache: `<name>-<hash>`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}-{}", self.name, self.hash())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_contains_the_node() {
        let guest = Recipe::guest();
        for package in Recipe::node().packages {
            assert!(guest.packages.contains(&package), "{package}");
        }
        for script in Recipe::node().finish {
            assert!(guest.finish.contains(&script));
        }
    }

    #[test]
    fn no_test_tool_ships() {
        let node = Recipe::node();
        for package in TEST_TOOLS.iter().chain(UML).chain(KERNEL) {
            assert!(!node.packages.contains(package), "{package}");
        }
    }

    #[test]
    fn the_hash_follows_every_input() {
        let base = Recipe::node();
        assert_eq!(base.hash(), Recipe::node().hash());
        assert_eq!(base.hash().len(), 16);
        let changed = [
            Recipe {
                name: "other",
                ..base.clone()
            },
            Recipe {
                suite: "forky",
                ..base.clone()
            },
            Recipe {
                packages: base.packages[1..].to_vec(),
                ..base.clone()
            },
            Recipe {
                finish: vec![NODE_SH, BASE_SH],
                ..base.clone()
            },
        ];
        for other in changed {
            assert_ne!(other.hash(), base.hash(), "{other:?}");
        }
    }

    #[test]
    fn text_that_moves_between_fields_changes_the_hash() {
        let one = Recipe {
            packages: vec!["ab", "c"],
            ..Recipe::node()
        };
        let two = Recipe {
            packages: vec!["a", "bc"],
            ..Recipe::node()
        };
        assert_ne!(one.hash(), two.hash());
    }
}
