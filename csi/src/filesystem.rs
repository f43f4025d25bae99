//! File systems: which there are, and how they are made, checked and grown.
//!
//! Programs are data here and are run elsewhere. None of them is forced: mkfs looks for
//! old contents itself and refuses, and that second look is wanted.

use std::fmt;
use std::str::FromStr;

use lvmd::cmd::{Cmd, CmdError, find_program};

use crate::error::Error;
use crate::parameters::Making;

/// A file system a volume can have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// ext4; what a request gets that names none, as with upstream.
    #[default]
    Ext4,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "" | "ext4" => Ok(Self::Ext4),
            "xfs" => Ok(Self::Xfs),
            "btrfs" => Ok(Self::Btrfs),
            other => Err(Error::Invalid(format!(
                "file system {other:?} is not one of ext4, xfs, btrfs"
            ))),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Kind {
    /// Its name, as the kernel and blkid know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The options of every mount of it. XFS refuses to mount a copy beside its original
    /// without `nouuid`, and snapshots and clones are such copies.
    pub fn mount_options(self) -> &'static [&'static str] {
        match self {
            Self::Xfs => &["nouuid"],
            Self::Ext4 | Self::Btrfs => &[],
        }
    }

    /// How it is made on `device`, with this UUID.
    ///
    /// # Errors
    /// The program is not there.
    pub fn make(self, making: &Making, uuid: &str, device: &str) -> Result<Cmd, CmdError> {
        let program = match self {
            Self::Ext4 => "mkfs.ext4",
            Self::Xfs => "mkfs.xfs",
            Self::Btrfs => "mkfs.btrfs",
        };
        Ok(Cmd::new(find_program(program)?)
            .args(self.making_args(making, uuid))
            .arg(device))
    }

    fn making_args(self, making: &Making, uuid: &str) -> Vec<String> {
        let mut args = vec!["-q".to_owned()];
        match self {
            Self::Ext4 => {
                // Blocks kept for root help the root file system only.
                args.push(format!("-m{}", making.ext4_reserved_percent));
                args.push(format!("-U{uuid}"));
                args.extend(making.ext4_bytes_per_inode.map(|n| format!("-i{n}")));
            }
            Self::Xfs => {
                args.push(format!("-muuid={uuid}"));
                args.extend(
                    making
                        .xfs_reflink
                        .map(|on| format!("-mreflink={}", u8::from(on))),
                );
                args.extend(making.xfs_inode_size.map(|n| format!("-isize={n}")));
            }
            Self::Btrfs => {
                args.push(format!("-U{uuid}"));
                args.extend(making.btrfs_metadata.map(|profile| format!("-m{profile}")));
            }
        }
        args
    }

    /// How an unmounted one is checked before it is mounted, repairing only what is safe;
    /// `None` where mounting does it.
    ///
    /// # Errors
    /// The program is not there.
    pub fn check(self, device: &str) -> Result<Option<Cmd>, CmdError> {
        match self {
            Self::Ext4 => Ok(Some(Cmd::new(find_program("e2fsck")?).args(["-p", device]))),
            Self::Xfs | Self::Btrfs => Ok(None),
        }
    }

    /// How a mounted one is grown to the size of its device.
    ///
    /// # Errors
    /// The program is not there.
    pub fn grow(self, device: &str, mounted_at: &str) -> Result<Cmd, CmdError> {
        Ok(match self {
            Self::Ext4 => Cmd::new(find_program("resize2fs")?).arg(device),
            Self::Xfs => Cmd::new(find_program("xfs_growfs")?).args(["-d", mounted_at]),
            Self::Btrfs => {
                Cmd::new(find_program("btrfs")?).args(["filesystem", "resize", "max", mounted_at])
            }
        })
    }
}

/// Whether e2fsck's exit code means that the file system may be mounted: e2fsck(8),
/// "EXIT CODE". 1: errors were corrected.
pub fn is_checked(code: i32) -> bool {
    matches!(code, 0 | 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Profile;

    #[test]
    fn making_is_never_forced_and_takes_typed_options() {
        let plain = Making::default();
        let all = Making {
            ext4_reserved_percent: 3,
            ext4_bytes_per_inode: Some(65536),
            xfs_reflink: Some(false),
            xfs_inode_size: Some(1024),
            btrfs_metadata: Some(Profile::Dup),
        };
        for (kind, making, args) in [
            (Kind::Ext4, &plain, "-q -m0 -Uid"),
            (Kind::Ext4, &all, "-q -m3 -Uid -i65536"),
            (Kind::Xfs, &plain, "-q -muuid=id"),
            (Kind::Xfs, &all, "-q -muuid=id -mreflink=0 -isize=1024"),
            (Kind::Btrfs, &plain, "-q -Uid"),
            (Kind::Btrfs, &all, "-q -Uid -mdup"),
        ] {
            assert_eq!(kind.making_args(making, "id").join(" "), args);
        }
    }
}
