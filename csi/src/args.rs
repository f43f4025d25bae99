//! The command lines of the CSI programs: upstream's flags, and our own.

use std::path::PathBuf;

use clap::Parser;
use lvmd::args::LogArgs;
use lvmd::names::{CSI_SOCKET, LVMD_CONFIG};
use lvmd::runtime::Bind;
use lvmd::units::Bytes;

use crate::size::Minimums;

/// The CSI node: publishes volumes to the pods of one node.
#[derive(Debug, Parser)]
#[command(name = "topolvm-node", version)]
pub struct NodeCli {
    /// Where the CSI services are served
    #[arg(long, value_name = "SOCKET", default_value = CSI_SOCKET)]
    pub csi_socket: PathBuf,

    /// The name of this node
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub nodename: String,

    /// Without Kubernetes: serves the controller too, and keeps all there is to remember
    /// in LVM tags
    #[arg(long)]
    pub standalone: bool,

    /// A folder that outlives a reboot, for the journal of formatting; the CSI socket's
    /// folder if not given
    #[arg(long, value_name = "FOLDER")]
    pub state_dir: Option<PathBuf>,

    /// Configuration file of the embedded lvmd; taken up again whenever it changes
    #[arg(long, value_name = "FILE", default_value = LVMD_CONFIG)]
    pub config: PathBuf,

    /// Where to serve /metrics, /healthz and /readyz; 0 or empty for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = ":8080")]
    pub metrics_bind_address: Bind,

    /// The least a volume gets, by its kind.
    #[command(flatten)]
    pub minimums: MinimumArgs,

    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The least a volume gets, by its kind.
#[derive(Debug, Clone, clap::Args)]
pub struct MinimumArgs {
    /// The least size of a raw block volume
    #[arg(long, value_name = "SIZE", default_value = "8Mi")]
    pub minimum_allocation_block: Bytes,
    /// The least size of a volume with ext4
    #[arg(long, value_name = "SIZE", default_value = "32Mi")]
    pub minimum_allocation_ext4: Bytes,
    /// The least size of a volume with XFS
    #[arg(long, value_name = "SIZE", default_value = "300Mi")]
    pub minimum_allocation_xfs: Bytes,
    /// The least size of a volume with Btrfs
    #[arg(long, value_name = "SIZE", default_value = "200Mi")]
    pub minimum_allocation_btrfs: Bytes,
}

impl MinimumArgs {
    /// As the rules take them.
    pub fn minimums(&self) -> Minimums {
        Minimums {
            block: self.minimum_allocation_block,
            ext4: self.minimum_allocation_ext4,
            xfs: self.minimum_allocation_xfs,
            btrfs: self.minimum_allocation_btrfs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_defaults_are_the_rules_defaults() {
        let cli = NodeCli::try_parse_from(["topolvm-node", "--nodename=n"]).unwrap();
        assert_eq!(cli.minimums.minimums(), Minimums::default());
        let cli = NodeCli::try_parse_from([
            "topolvm-node",
            "--nodename=n",
            "--minimum-allocation-xfs=64Mi",
        ])
        .unwrap();
        assert_eq!(cli.minimums.minimums().xfs, Bytes(64 << 20));
    }
}
