//! The command line.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::adopt::Wish;
use super::bundle;
use super::import;
use super::install;

/// What TopoLVM's driver knows of volumes, and why something does not work
#[derive(Debug, Parser)]
#[command(name = "kubectl topolvm", bin_name = "kubectl topolvm", version)]
pub struct Cli {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// As a table, or as JSON
    #[arg(short, long, global = true, default_value = "table")]
    pub output: Output,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster.
#[derive(Debug, clap::Args)]
pub struct ClusterArgs {
    /// A kubeconfig in place of $KUBECONFIG
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// A context of it in place of the current one
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The namespace of the claim in place of the context's
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns.
    Table,
    /// A list of objects.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What each node's device classes have left, and how much is given away
    Nodes,
    /// Each volume: whose it is, where, how large, how full, in what condition
    Volumes,
    /// What disk-watcher makes of each disk; of one: everything that speaks against it
    Disks {
        /// A device such as sdb, a serial number, or the name of a NodeDisk
        disk: Option<String>,
    },
    /// How full each thin pool is
    Pools,
    /// Why a PersistentVolumeClaim has no volume
    Why {
        /// The claim's name
        claim: String,
    },
    /// Objects that nothing refers to any more, and LVs that no object names
    Orphans {
        /// Have the node remove this LV, or the LV of this LogicalVolume, with all that is on it
        #[arg(long, value_name = "NAME")]
        remove: Option<String>,
        /// Do it; without it is only shown
        #[arg(long, requires = "remove")]
        yes: bool,
    },
    /// Objects for LVs that are there: after a cluster was built anew or lost its etcd
    Adopt(Wish),
    /// Objects of this driver for volumes of TopoLVM's older group, topolvm.cybozu.com
    ImportLegacy(import::Wish),
    /// Whether the driver can work here
    Doctor,
    /// Writes all that is known of the driver and its volumes to one file, without secrets
    SupportBundle(bundle::Wish),
    /// Installs or upgrades disk-watcher and the driver by their charts, with Helm
    Install(install::Wish),
    /// Removes disk-watcher and the driver, and nothing else: volumes, groups and files stay
    Uninstall(install::uninstall::Wish),
}

impl ClusterArgs {
    /// As kubectl finds it.
    ///
    /// # Errors
    /// There is none.
    pub async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let mut config = match &self.kubeconfig {
            Some(file) => {
                let file = Kubeconfig::read_from(file).context("cannot read the kubeconfig")?;
                Config::from_custom_kubeconfig(file, &options).await
            }
            None => Config::from_kubeconfig(&options).await,
        }
        .context("there is no such cluster in the kubeconfig")?;
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
        let cli = Cli::try_parse_from(["kubectl-topolvm", "why", "data", "-n", "x", "-o", "json"]);
        let cli = cli.unwrap();
        assert_eq!(cli.output, Output::Json);
        assert_eq!(cli.cluster.namespace.as_deref(), Some("x"));
    }

    #[test]
    fn adopt_is_told_of_one_lv_or_of_all() {
        let read = |more: &[&str]| {
            let words = ["kubectl-topolvm", "adopt", "--vg-uuid", "u"];
            Cli::try_parse_from(words.iter().chain(more)).map(|cli| match cli.command {
                Command::Adopt(wish) => wish,
                other => panic!("{other:?}"),
            })
        };
        let one = read(&["--lv", "a", "--claim", "ns/data", "--fs-type", "xfs"]).unwrap();
        assert_eq!(one.claim, Some(("ns".into(), "data".into())));
        assert_eq!((one.fs_type, one.yes), (Some("xfs"), false));
        for bad in [
            &["--lv", "a", "--all"][..],
            &["--all", "--claim", "ns/data"],
            &["--lv", "a", "--claim", "data"],
            &["--lv", "a", "--fs-type", "ntfs"],
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
