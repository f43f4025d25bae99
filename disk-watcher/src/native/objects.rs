//! Disks that objects of the cluster name: other systems' storage on this node. Pure, but for [`ObjectClaims::on`].

use std::collections::BTreeMap;
use std::path::Path;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{means, paths};
use crate::facts::DiskFacts;

/// What the objects of other systems say of this node's disks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectClaims {
    /// In the order of the kinds.
    pub claims: Vec<ObjectClaim>,
    /// Kinds, or objects, that cannot be read, and why. Any disk may be claimed there.
    pub unread: BTreeMap<String, String>,
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectClaim {
    /// Kind, namespace and name of who claims.
    pub object: String,
    /// What it claims.
    pub what: What,
}

/// Which disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// The one at this path, a partition of it, or the one that this partition is on.
    Device(String),
    /// Those whose kernel names a pattern matches (RE2, as Go and Rust have it).
    Names(String),
    /// Those one of whose paths it matches.
    Paths(String),
    /// Every one.
    Any,
}

impl ObjectClaims {
    /// What holds before anybody told anything.
    pub fn unheard() -> Self {
        let why = "the API server has not told of them yet".to_owned();
        Self {
            claims: Vec::new(),
            unread: [("objects of other systems".to_owned(), why)].into(),
        }
    }

    /// With paths outside of /dev followed below the host's `root`: local volumes are often links to their disks.
    #[must_use]
    pub fn on(mut self, root: &Path) -> Self {
        for claim in &mut self.claims {
            let What::Device(path) = &mut claim.what else {
                continue;
            };
            let below = path.trim_start_matches('/');
            if !path.starts_with("/dev/")
                && let Ok(target) = std::fs::read_link(root.join(below))
                && target.starts_with("/dev")
            {
                *path = target.display().to_string();
            }
        }
        self
    }

    /// Who claims this disk. While a kind cannot be read, any disk may be claimed.
    pub fn owner_of(&self, disk: &DiskFacts) -> Option<String> {
        let claim = self.claims.iter().find(|claim| claim.what.is(disk));
        if let Some(ObjectClaim { object, what }) = claim {
            return Some(match what {
                What::Device(device) => format!("{object} ({device})"),
                What::Names(pattern) | What::Paths(pattern) => {
                    format!("{object} (what matches {pattern})")
                }
                What::Any => format!("{object} (every disk of this node)"),
            });
        }
        let (what, why) = self.unread.first_key_value()?;
        Some(format!(
            "perhaps another system: {what} cannot be read ({why}) and"
        ))
    }
}

impl What {
    fn is(&self, disk: &DiskFacts) -> bool {
        let whole = disk.whole();
        match self {
            Self::Device(device) => means(device, disk),
            Self::Names(pattern) => matches(pattern, [disk.name.clone(), whole.name.clone()]),
            Self::Paths(pattern) => matches(pattern, paths(disk).into_iter().chain(paths(whole))),
            Self::Any => true,
        }
    }
}

/// What is no pattern to us may match anything.
fn matches(pattern: &str, texts: impl IntoIterator<Item = String>) -> bool {
    Regex::new(pattern).map_or(true, |pattern| {
        texts.into_iter().any(|text| pattern.is_match(&text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::tests::disk;

    fn of(what: What) -> ObjectClaims {
        let object = "CephCluster rook/a".to_owned();
        ObjectClaims {
            claims: vec![ObjectClaim { object, what }],
            unread: BTreeMap::new(),
        }
    }

    #[test]
    fn a_claim_is_of_the_disks_that_it_names_and_of_no_others() {
        let disk = disk();
        let text = |text: &str| text.to_owned();
        for (what, is) in [
            (What::Device(text("/dev/sda")), true),
            (What::Device(text("/dev/sda2")), true),
            (What::Device(text("/dev/sdaa")), false),
            (What::Device(text("/dev/disk/by-id/ata-X_A1-part1")), true),
            (What::Names(text("^sd[ab]$")), true),
            (What::Names(text("^nvme")), false),
            (What::Names(text("(no pattern")), true),
            (What::Paths(text("by-id/ata-X")), true),
            (What::Paths(text("by-id/ata-Y")), false),
            (What::Any, true),
        ] {
            let owner = of(what.clone()).owner_of(&disk);
            assert_eq!(owner.is_some(), is, "{what:?}: {owner:?}");
            assert!(owner.is_none_or(|owner| owner.starts_with("CephCluster rook/a (")));
        }
    }

    #[test]
    fn what_cannot_be_read_may_claim_any_disk() {
        let owner = ObjectClaims::unheard().owner_of(&disk()).unwrap();
        assert!(owner.contains("has not told of them yet"), "{owner}");
        assert_eq!(ObjectClaims::default().owner_of(&disk()), None);
    }

    #[test]
    fn a_link_of_the_host_is_followed_to_its_disk() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("mnt/disks")).unwrap();
        let link = root.path().join("mnt/disks/a");
        std::os::unix::fs::symlink("/dev/disk/by-id/ata-X_A1", link).unwrap();
        for (path, is) in [
            ("/mnt/disks/a", true),
            ("/mnt/disks/b", false),
            ("/dev/sda", true),
        ] {
            let claims = of(What::Device(path.to_owned())).on(root.path());
            assert_eq!(claims.owner_of(&disk()).is_some(), is, "{path}");
        }
    }
}
