//! `e2e-qemu bench`: measures in a guest, lvmd beside peers.

mod goals;
mod kubernetes;
mod lvmd;
mod watcher;

use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use e2e_qemu::find_workspace;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// lvmd beside one raw lvm command and upstream's lvmd.
    Lvmd,
    /// How fast disk-watcher answers to disks and pools.
    DiskWatcher,
    /// The CSI driver beside upstream's in one cluster.
    Kubernetes,
}

/// The most rounds for part kubernetes: each has several volumes and pods from claim to deletion, with both drivers.
const KUBERNETES: u32 = 5;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// One part alone; all that there are without it.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// How often each case is measured.
    #[arg(long, default_value_t = 15)]
    rounds: u32,
    /// Beside how many other volumes, for part lvmd.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 50, 200])]
    volumes: Vec<u32>,
    /// Of part kubernetes these cases alone, as they are called in its table; prints them and writes no file.
    #[arg(long = "case", value_name = "CASE")]
    cases: Vec<String>,
    /// Shows instead where the time goes: of one thin create, in the life of one disk.
    #[arg(long)]
    trace: bool,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {
            only,
            rounds,
            volumes,
            cases,
            trace,
        } = self;
        let here = std::env::current_dir().context("cannot tell the current folder")?;
        let workspace = find_workspace(&here).context("run it inside the workspace")?;
        let parts = only.map_or_else(|| Part::value_variants().to_vec(), |part| vec![part]);
        for part in parts {
            match part {
                Part::Lvmd if trace => lvmd::trace(&workspace)?,
                Part::Lvmd => lvmd::run(&workspace, rounds, &volumes)?,
                Part::DiskWatcher if trace => watcher::trace(&workspace)?,
                Part::DiskWatcher => watcher::run(&workspace, rounds)?,
                Part::Kubernetes => kubernetes::run(&workspace, rounds.min(KUBERNETES), &cases)?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
