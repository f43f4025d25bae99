//! Flags, and what each command does.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use lvmd::cmd::Host;
use lvmd::runtime::{Bind, Format, LogSettings};

use crate::backup::{self, Backups};
use crate::config::Sources;
use crate::daemon;
use crate::pass::Watcher;
use crate::status::{self, NodeStatus};
use crate::thin_check::{self, ThinCheckArgs};

/// Takes bare disks to volume groups, and only those that are proven safe and wanted
#[derive(Debug, Parser)]
#[command(name = "disk-watcher", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watches the disks and does what the classes say
    Run(RunArgs),
    /// Shows every disk, its state, and why
    Status(StatusArgs),
    /// Checks the configuration and lists its classes
    Check(Sources),
    /// Prints the commands that bring back groups whose disks lost their beginnings; runs none
    RestorePlan(PlanArgs),
    /// Checks a pool's metadata; lvm calls it
    #[command(hide = true)]
    ThinCheck(ThinCheckArgs),
}

/// Flags of `disk-watcher run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub sources: Sources,
    /// Where claims are recorded; must survive reboots
    #[arg(long, default_value = "/var/lib/disk-watcher")]
    pub journal: PathBuf,
    /// Where the last status is kept for `disk-watcher status`
    #[arg(long, default_value = STATUS_DIR)]
    pub status_dir: PathBuf,
    /// Address of /metrics, /healthz and /readyz; 0 is off
    #[arg(long, env = "METRICS_BIND_ADDRESS", default_value = ":8080")]
    pub metrics_bind_address: Bind,
    /// Also do what DiskClasses and requests of a cluster say, and show there what is seen;
    /// the cluster is that of the pod, or of $KUBECONFIG
    #[arg(long)]
    pub kubernetes: bool,
    /// How many seconds thin_check may take before a pool is activated
    #[arg(long, default_value_t = 600)]
    pub thin_check_limit: u64,
    /// What to log, as a level or filters such as disk_watcher=debug
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
    /// Log as JSON
    #[arg(long)]
    pub log_json: bool,
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Reasons and plans in full, one below the other
    #[arg(long)]
    details: bool,
    /// Look now, with the classes of these files and without changing anything, instead of
    /// asking what the running disk-watcher last saw
    #[arg(long)]
    look: bool,
    #[command(flatten)]
    sources: Sources,
    /// Where the running disk-watcher keeps its status
    #[arg(long, default_value = STATUS_DIR)]
    status_dir: PathBuf,
}

#[derive(Debug, clap::Args)]
struct PlanArgs {
    /// Where claims and descriptions of groups are recorded
    #[arg(long, default_value = "/var/lib/disk-watcher")]
    journal: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Where the daemon keeps its last status.
pub const STATUS_DIR: &str = "/run/disk-watcher";

/// The forms in which status is shown; the daemon keeps each ready to be printed.
#[derive(Debug, Clone, Copy)]
pub enum View {
    /// For programs.
    Json,
    /// A line for each disk.
    Table,
    /// Reasons and plans in full.
    Details,
}

impl View {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Json, Self::Table, Self::Details];

    /// The name of its file in [`STATUS_DIR`].
    pub fn file(self) -> &'static str {
        match self {
            Self::Json => "status.json",
            Self::Table => "status.table",
            Self::Details => "status.details",
        }
    }

    /// The node in this form.
    ///
    /// # Errors
    /// Never in practice; JSON of plain data can be written.
    pub fn render(self, status: &NodeStatus) -> serde_json::Result<String> {
        match self {
            Self::Json => status::json(status),
            Self::Table => Ok(status::table(status, None, false)),
            Self::Details => Ok(status::table(status, None, true)),
        }
    }
}

/// Runs the command that was given.
///
/// # Errors
/// What kept it from being done.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Run(args) => {
            let format = if args.log_json {
                Format::Json
            } else {
                Format::Text
            };
            lvmd::runtime::log::init(&LogSettings {
                filter: args.log.clone(),
                format,
            })?;
            runtime()?.block_on(daemon::run(args))
        }
        Command::Status(args) => {
            let StatusArgs {
                output,
                details,
                look,
                sources,
                status_dir,
            } = args;
            let view = match output {
                Output::Json => View::Json,
                Output::Table if details => View::Details,
                Output::Table => View::Table,
            };
            let text = if look {
                view.render(&runtime()?.block_on(look_now(&sources))?)?
            } else {
                remembered(&status_dir.join(view.file()))?
            };
            println!("{text}");
            Ok(())
        }
        Command::RestorePlan(PlanArgs { journal }) => {
            let newest = Backups::of(&journal).newest();
            let newest =
                newest.with_context(|| format!("no group is kept in {}", journal.display()))?;
            let plans: Vec<String> = newest.iter().map(backup::restore_plan).collect();
            print!("{}", plans.join("\n"));
            Ok(())
        }
        Command::ThinCheck(args) => runtime()?.block_on(thin_check::run(args)),
        Command::Check(sources) => {
            let classes = sources.load()?.classes;
            println!(
                "{} classes: {}",
                classes.len(),
                classes
                    .iter()
                    .map(|c| c.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            Ok(())
        }
    }
}

async fn look_now(sources: &Sources) -> anyhow::Result<NodeStatus> {
    let config = sources.load()?;
    Watcher::new(Host, None, None, sources.node()?)
        .pass(&config)
        .await
        .context("cannot list the disks")
}

fn remembered(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| {
        format!(
            "no status at {}: disk-watcher does not run here; look yourself with --look CONFIG",
            path.display()
        )
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all();
    builder.build().context("cannot start the runtime")
}
