//! What can be asked of this program.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bench::Bench;
use crate::cluster_command::Cluster;
use crate::demo::Demo;
use crate::run::Run;
use crate::test::{Runner, Test};

/// Boots guests and runs things in them.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Runs a command in a guest; its exit status is this program's.
    Run(Run),
    /// Boots a guest, plugs a disk into it, and shows it become volumes.
    Demo(Demo),
    /// Brings up a real Kubernetes with nodes in guests.
    Cluster(Cluster),
    /// Runs the guest tests and the scenarios.
    Test(Test),
    /// Measures beside peers, in a guest.
    Bench(Bench),
    /// Runs a test binary in a guest; for cargo's `runner` setting.
    Runner(Runner),
    /// Holds a guest's kernel (internal).
    #[command(hide = true)]
    Supervise {
        #[arg(long)]
        inner: bool,
        plan: PathBuf,
    },
    /// Has the kernel keep account of processes in a file (internal).
    #[command(hide = true)]
    Account { file: PathBuf },
    /// Joins stdin and stdout to a unix socket (internal).
    #[command(hide = true)]
    Relay { socket: PathBuf },
    /// Runs as a guest's first process (internal).
    #[command(hide = true)]
    Agent {
        /// The line to the host, by its name in /dev.
        line: String,
        /// Words of the kernel's command line that nobody knew.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        ignored: Vec<String>,
    },
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { action } = self;
        match action {
            Action::Run(run) => run.run(),
            Action::Demo(demo) => demo.run(),
            Action::Cluster(cluster) => cluster.run(),
            Action::Test(test) => test.run(),
            Action::Bench(bench) => bench.run(),
            Action::Runner(runner) => runner.run(),
            Action::Supervise { inner, plan } => {
                let status = if inner {
                    e2e_qemu::supervise::first_process(&plan)?
                } else {
                    e2e_qemu::supervise::keep(&plan)?
                };
                Ok(exit_code(status))
            }
            Action::Account { file } => {
                std::fs::File::create(&file)?;
                nix::unistd::acct::enable(&file)?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Relay { socket } => {
                e2e_qemu::agent::relay(&socket)?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Agent { line, ignored: _ } => e2e_qemu::agent::run(&line),
        }
    }
}

/// An exit status as the system has it: its low eight bits.
pub(crate) fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(status.to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }
}
