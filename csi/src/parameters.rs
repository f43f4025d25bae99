//! What a StorageClass says in its parameters.
//!
//! Upstream's two name the device class and the lvcreate options. Ours begin with
//! `basalt.storage/` and travel to the node as the volume's context, so that publishing
//! asks nobody. A parameter of ours that is not known is refused: a typing error would
//! go unnoticed until the volume is full of data. Others are not ours to judge.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use lvmd::names;

use crate::error::Error;

/// What creating a volume needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The device class; empty: the default class.
    pub class: String,
    /// The lvcreate option class; empty: the device class's own options.
    pub option_class: String,
    /// What the node is told at each publish.
    pub context: BTreeMap<String, String>,
    /// Namespace and name of the claim, from external-provisioner's `--extra-create-metadata`.
    pub claim: Option<(String, String)>,
}

/// external-provisioner's parameters of a claim.
const CLAIM: [&str; 2] = [
    "csi.storage.k8s.io/pvc/namespace",
    "csi.storage.k8s.io/pvc/name",
];

/// The VolumeSnapshot, from external-snapshotter's `--extra-create-metadata`.
pub fn snapshot_of(parameters: &HashMap<String, String>) -> Option<(String, String)> {
    let [namespace, name] = SNAPSHOT.map(|key| parameters.get(key).cloned());
    namespace.zip(name)
}

/// external-snapshotter's parameters of a VolumeSnapshot.
const SNAPSHOT: [&str; 2] = [
    "csi.storage.k8s.io/volumesnapshot/namespace",
    "csi.storage.k8s.io/volumesnapshot/name",
];

/// How a volume is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishing {
    /// The mode a file system's root gets; `None`: what it has.
    pub root_mode: Option<u32>,
    /// How its file system is made.
    pub making: Making,
}

/// How a file system is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Making {
    /// Percentage of blocks kept for root; upstream's 0.
    pub ext4_reserved_percent: u8,
    /// One inode for so many bytes.
    pub ext4_bytes_per_inode: Option<u32>,
    /// Whether extents can be shared; off saves memory of the reverse maps.
    pub xfs_reflink: Option<bool>,
    /// Bytes of an inode.
    pub xfs_inode_size: Option<u32>,
    /// How metadata is kept.
    pub btrfs_metadata: Option<Profile>,
}

/// A Btrfs profile that one device can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// One copy.
    Single,
    /// Two copies.
    Dup,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Dup => "dup",
        })
    }
}

/// Everybody may write, and new files get the folder's group, as upstream does.
pub const ROOT_MODE: u32 = 0o2777;

impl Default for Publishing {
    fn default() -> Self {
        Self {
            root_mode: Some(ROOT_MODE),
            making: Making::default(),
        }
    }
}

impl Parameters {
    /// Reads a StorageClass's parameters.
    ///
    /// # Errors
    /// One of ours is unknown or has an impossible value.
    pub fn read(parameters: &HashMap<String, String>) -> Result<Self, Error> {
        let word = |key: &str| parameters.get(key).cloned().unwrap_or_default();
        let ours = parameters
            .iter()
            .filter(|(key, _)| key.starts_with(names::PARAM_OWN));
        let context = ours
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Publishing::read(parameters)?;
        let [namespace, name] = CLAIM.map(|key| parameters.get(key).cloned());
        Ok(Self {
            claim: namespace.zip(name),
            class: word(names::PARAM_CLASS),
            option_class: word(names::PARAM_OPTION_CLASS),
            context,
        })
    }
}

impl Publishing {
    /// Reads a volume's context, or the parameters it came from.
    ///
    /// # Errors
    /// One of ours is unknown or has an impossible value.
    pub fn read(context: &HashMap<String, String>) -> Result<Self, Error> {
        let mut this = Self::default();
        for (key, value) in context {
            let Some(name) = key.strip_prefix(names::PARAM_OWN) else {
                continue;
            };
            let taken = this.set(name, value);
            taken.map_err(|rule| Error::Invalid(format!("parameter {key}: {value:?}: {rule}")))?;
        }
        Ok(this)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let making = &mut self.making;
        match name {
            "root-mode" => self.root_mode = root_mode(value)?,
            "ext4-reserved-percent" => {
                making.ext4_reserved_percent =
                    number(value, 0, 50, "write a percentage from 0 to 50")?;
            }
            "ext4-bytes-per-inode" => {
                let rule = "write a number of bytes from 1024 to 67108864";
                making.ext4_bytes_per_inode = Some(number(value, 1024, 64 << 20, rule)?);
            }
            "xfs-reflink" => {
                making.xfs_reflink = Some(value.parse().map_err(|_| "write true or false")?)
            }
            "xfs-inode-size" => {
                let size: u32 = number(value, 512, 2048, "write 512, 1024 or 2048")?;
                making.xfs_inode_size = Some(size).filter(|size| size.is_power_of_two());
                making.xfs_inode_size.ok_or("write 512, 1024 or 2048")?;
            }
            "btrfs-metadata" => {
                making.btrfs_metadata = Some(match value {
                    "single" => Profile::Single,
                    "dup" => Profile::Dup,
                    _ => return Err("write single or dup"),
                });
            }
            _ => {
                return Err(
                    "this parameter is not known; known are root-mode, ext4-reserved-percent, \
                            ext4-bytes-per-inode, xfs-reflink, xfs-inode-size and btrfs-metadata",
                );
            }
        }
        Ok(())
    }
}

fn root_mode(text: &str) -> Result<Option<u32>, &'static str> {
    if text == "keep" {
        return Ok(None);
    }
    let mode = u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777);
    mode.map(Some)
        .ok_or("write an octal mode such as 0770, or keep")
}

fn number<N: std::str::FromStr + PartialOrd>(
    text: &str,
    least: N,
    most: N,
    rule: &'static str,
) -> Result<N, &'static str> {
    text.parse()
        .ok()
        .filter(|n| *n >= least && *n <= most)
        .ok_or(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn upstreams_parameters_mean_the_same_and_leave_no_context() {
        let read = Parameters::read(&map(&[
            ("topolvm.io/device-class", "ssd"),
            ("topolvm.io/lvcreate-option-class", "raid1"),
            ("csi.storage.k8s.io/pvc/name", "x"),
            ("csi.storage.k8s.io/pvc/namespace", "ns"),
        ]))
        .unwrap();
        assert_eq!(
            (read.class.as_str(), read.option_class.as_str()),
            ("ssd", "raid1")
        );
        assert!(read.context.is_empty());
        assert_eq!(read.claim, Some(("ns".into(), "x".into())));
        assert_eq!(
            Publishing::read(&HashMap::new()).unwrap().root_mode,
            Some(0o2777)
        );
    }

    #[test]
    fn our_parameters_are_typed_and_a_wrong_one_is_refused_at_creation() {
        let good = map(&[
            ("basalt.storage/root-mode", "0770"),
            ("basalt.storage/ext4-bytes-per-inode", "65536"),
            ("basalt.storage/xfs-reflink", "false"),
        ]);
        let context = Parameters::read(&good).unwrap().context;
        let read = Publishing::read(&context.into_iter().collect()).unwrap();
        assert_eq!(read.root_mode, Some(0o770));
        assert_eq!(
            (read.making.ext4_bytes_per_inode, read.making.xfs_reflink),
            (Some(65536), Some(false))
        );
        let keep = Publishing::read(&map(&[("basalt.storage/root-mode", "keep")])).unwrap();
        assert_eq!(keep.root_mode, None);
        for (key, value) in [
            ("root-mode", "rwx"),
            ("root-mode", "17777"),
            ("ext4-reserved-percent", "51"),
            ("xfs-inode-size", "768"),
            ("btrfs-metadata", "raid1"),
            ("xfs-reflnk", "true"),
        ] {
            let key = format!("basalt.storage/{key}");
            let error = Parameters::read(&map(&[(&key, value)]))
                .unwrap_err()
                .to_string();
            assert!(error.contains(&key) && error.contains(value), "{error}");
        }
    }
}
