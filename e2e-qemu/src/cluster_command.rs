//! `e2e-qemu cluster`: a real Kubernetes to try things in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use e2e_qemu::cluster::{self, Cluster as Running};
use e2e_qemu::{Spec, find_workspace};

#[derive(Debug, Args)]
pub(crate) struct Cluster {
    /// How many nodes, from 1 to 3.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    nodes: u8,
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
        if self.build_only {
            cluster::prepare(&workspace, cluster::Minor::Newest)?;
            return Ok(ExitCode::SUCCESS);
        }
        let dir = workspace.join("target/cluster");
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
        }
        let binaries = cluster::prepare(&workspace, cluster::Minor::Newest)?;
        cluster::within(|| {
            let cluster = Running::start(&workspace, binaries, &dir)?;
            let mut nodes = Vec::new();
            for number in 1..=self.nodes {
                let spec = Spec::uml()
                    .name(format!("n{number}"))
                    .workspace(&workspace)
                    .console(dir.join(format!("n{number}.console.log")));
                nodes.push(cluster.node(number, spec)?);
            }
            for program in ["kubectl", "helm"] {
                wrapper(&dir, program, &cluster.binaries().path(program))?;
            }
            println!(
                "The cluster runs until this program ends (Ctrl-C). In another terminal:\n  \
                 {dir}/kubectl get nodes\n  {dir}/helm ls -A\n\
                 Its logs are in {dir}.",
                dir = dir.display()
            );
            wait_for_signal()?;
            drop(nodes);
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// A script that runs `program` as the cluster's administrator in the cluster's network.
fn wrapper(dir: &Path, name: &str, program: &Path) -> anyhow::Result<()> {
    let thread = nix::unistd::gettid();
    let path = dir.join(name);
    let text = format!(
        "#!/bin/sh\nKUBECONFIG={}/admin.conf exec nsenter --net=/proc/{}/task/{thread}/ns/net {} \"$@\"\n",
        dir.display(),
        std::process::id(),
        program.display()
    );
    fs::write(&path, text)?;
    Ok(fs::set_permissions(
        &path,
        fs::Permissions::from_mode(0o755),
    )?)
}

/// Until SIGINT or SIGTERM.
fn wait_for_signal() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = term.recv() => {}
        }
        Ok(())
    })
}
