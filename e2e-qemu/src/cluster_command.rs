//! `e2e-qemu cluster`: a real Kubernetes to try things in.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use e2e_qemu::cluster::binaries::Binaries;
use e2e_qemu::{find_workspace, host};

#[derive(Debug, Args)]
pub(crate) struct Cluster {
    /// Builds the programs that a cluster needs, and starts nothing.
    #[arg(long)]
    build_only: bool,
    /// The workspace, where it is not the one around the current folder.
    #[arg(long)]
    workspace: Option<PathBuf>,
}

impl Cluster {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let workspace = match self.workspace {
            Some(workspace) => workspace,
            None => find_workspace(&std::env::current_dir()?).context("no workspace here")?,
        };
        Binaries::build(&workspace.join(".cache"), |program| host::command(program))?;
        Ok(ExitCode::SUCCESS)
    }
}
