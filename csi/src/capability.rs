//! What a volume is to be used as: access type and access mode of a CSI capability.

use crate::error::Error;
use crate::filesystem::Kind;
use crate::proto::VolumeCapability;
use crate::proto::volume_capability::AccessType;
use crate::proto::volume_capability::access_mode::Mode;

/// One capability, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// As a device or as a file system.
    pub access: Access,
    /// By whom.
    pub writers: Writers,
}

/// As what a volume is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// A block device.
    Block,
    /// A mounted file system.
    Mount {
        /// Which.
        kind: Kind,
        /// Mount options.
        flags: Vec<String>,
    },
}

/// What stands for no file system where one could be named.
pub const BLOCK: &str = "block";

/// Who on the one node of a local volume may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// As before CSI told writers apart: whoever is on the node.
    Node,
    /// One workload (Kubernetes: ReadWriteOncePod); no second target path.
    One,
    /// Several workloads.
    Many,
}

impl Capability {
    /// Reads one capability.
    ///
    /// # Errors
    /// It names no access type, an unknown file system, or a mode a volume on one node
    /// cannot have.
    pub fn read(capability: &VolumeCapability) -> Result<Self, Error> {
        let access = match &capability.access_type {
            Some(AccessType::Block(_)) => Access::Block,
            Some(AccessType::Mount(mount)) => Access::Mount {
                kind: mount.fs_type.parse()?,
                flags: mount.mount_flags.clone(),
            },
            None => return Err(Error::Invalid("unknown or empty access_type".into())),
        };
        let mode = capability
            .access_mode
            .as_ref()
            .map_or(Mode::SingleNodeWriter, |mode| mode.mode());
        let writers = match mode {
            Mode::SingleNodeWriter => Writers::Node,
            Mode::SingleNodeSingleWriter => Writers::One,
            Mode::SingleNodeMultiWriter => Writers::Many,
            other => {
                return Err(Error::Invalid(format!(
                    "access mode {} is not possible: a local volume is on one node",
                    other.as_str_name()
                )));
            }
        };
        Ok(Self { access, writers })
    }

    /// What all of a request's want on the volume: a file system's name, or `block`; `None`
    /// when they do not agree.
    pub fn content(all: &[Self]) -> Option<&'static str> {
        let name = |capability: &Self| match &capability.access {
            Access::Block => BLOCK,
            Access::Mount { kind, .. } => kind.name(),
        };
        let first = name(all.first()?);
        all.iter().all(|one| name(one) == first).then_some(first)
    }

    /// Reads all of a request's.
    ///
    /// # Errors
    /// There is none, or one cannot be.
    pub fn read_all(capabilities: &[VolumeCapability]) -> Result<Vec<Self>, Error> {
        if capabilities.is_empty() {
            return Err(Error::missing("volume_capabilities"));
        }
        capabilities.iter().map(Self::read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::volume_capability::{AccessMode, BlockVolume, MountVolume};

    fn capability(access: Option<AccessType>, mode: Option<Mode>) -> Result<Capability, Error> {
        Capability::read(&VolumeCapability {
            access_type: access,
            access_mode: mode.map(|mode| AccessMode { mode: mode.into() }),
        })
    }

    fn mount(fs_type: &str) -> Option<AccessType> {
        Some(AccessType::Mount(MountVolume {
            fs_type: fs_type.into(),
            ..MountVolume::default()
        }))
    }

    #[test]
    fn only_modes_of_one_node_are_possible() {
        let block = Some(AccessType::Block(BlockVolume {}));
        for (mode, writers) in [
            (None, Some(Writers::Node)),
            (Some(Mode::SingleNodeWriter), Some(Writers::Node)),
            (Some(Mode::SingleNodeSingleWriter), Some(Writers::One)),
            (Some(Mode::SingleNodeMultiWriter), Some(Writers::Many)),
            (Some(Mode::SingleNodeReaderOnly), None),
            (Some(Mode::MultiNodeReaderOnly), None),
            (Some(Mode::MultiNodeSingleWriter), None),
            (Some(Mode::MultiNodeMultiWriter), None),
            (Some(Mode::Unknown), None),
        ] {
            let read = capability(block.clone(), mode).ok().map(|c| c.writers);
            assert_eq!(read, writers, "{mode:?}");
        }
    }

    #[test]
    fn a_file_system_is_ext4_unless_named() {
        let kind = |fs| match capability(mount(fs), None).unwrap().access {
            Access::Mount { kind, .. } => kind,
            Access::Block => unreachable!(),
        };
        assert_eq!(
            (kind(""), kind("xfs"), kind("btrfs")),
            (Kind::Ext4, Kind::Xfs, Kind::Btrfs)
        );
        assert!(capability(mount("ntfs"), None).is_err());
        assert!(capability(None, None).is_err());
        assert!(Capability::read_all(&[]).is_err());
    }

    #[test]
    fn what_is_wanted_on_a_volume_is_told_unless_the_request_wants_two_things() {
        let block = Some(AccessType::Block(BlockVolume {}));
        let content = |all: &[Option<AccessType>]| {
            let all = all.iter().map(|access| capability(access.clone(), None));
            Capability::content(&all.collect::<Result<Vec<_>, _>>().unwrap())
        };
        assert_eq!(content(&[mount("")]), Some("ext4"));
        assert_eq!(content(&[block.clone(), block.clone()]), Some("block"));
        assert_eq!(content(&[mount("xfs"), block]), None);
    }
}
