//! Disks that are nobody's to take: not one byte of them may change.

use anyhow::{Result, ensure};

use crate::cluster::Node;
use crate::command::Command;
use crate::spec::Disk;

/// A disk of a node, and the sha256 of all of it.
#[derive(Debug)]
pub(super) struct Theirs {
    path: String,
    sum: String,
}

impl Theirs {
    /// Plugs one of `mib` MiB with somebody's data in its first part, which no signature says.
    pub(super) fn with_data(node: &Node, mib: u64) -> Result<Self> {
        let mut disk = Self::blank(node, mib)?;
        let fill = format!(
            "dd if=/dev/urandom of={} bs=1M count=16 conv=fsync status=none",
            disk.path
        );
        node.guest().check(Command::shell(fill))?;
        disk.sum = sum(node, &disk.path)?;
        Ok(disk)
    }

    /// Plugs one of `mib` MiB with nothing on it.
    pub(super) fn blank(node: &Node, mib: u64) -> Result<Self> {
        let path = node.guest().plug(Disk::new(mib << 20))?.path();
        let sum = sum(node, &path)?;
        Ok(Self { path, sum })
    }

    /// Whether every byte is the one that it was.
    pub(super) fn check(&self, node: &Node) -> Result<()> {
        let now = sum(node, &self.path)?;
        ensure!(now == self.sum, "{} is not ours", self.path);
        Ok(())
    }
}

fn sum(node: &Node, path: &str) -> Result<String> {
    let sum = Command::shell(format!("blockdev --flushbufs {path}; sha256sum <{path}"));
    Ok(node.guest().check(sum)?)
}
