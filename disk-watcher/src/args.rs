//! Flags, and what each command does.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use lvmd::cmd::Host;
use lvmd::runtime::{Bind, Format, LogSettings};

use crate::backup::{self, Backup, Backups};
use crate::config::Sources;
use crate::daemon;
use crate::pass::Watcher;
use crate::status::NodeStatus;
use crate::status::asked::{Answer, View, ask};
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
    /// The code that status shows where the journal was made on another machine: says that it is
    /// this one's now
    #[arg(long, env = "ACCEPT_JOURNAL", value_name = "CODE")]
    pub accept_journal: Option<String>,
    /// Where the last status is kept for `disk-watcher status`
    #[arg(long, default_value = STATUS_DIR)]
    pub status_dir: PathBuf,
    /// Address of /metrics, /healthz and /readyz; 0 is off
    #[arg(long, env = "METRICS_BIND_ADDRESS", default_value = ":8080")]
    pub metrics_bind_address: Bind,
    /// Who this is in the node's Lease, where there is a cluster; the machine unless given
    #[arg(long, env = "LEASE_HOLDER", value_name = "NAME")]
    pub lease_holder: Option<String>,
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
    /// One description instead, such as one that was kept in a Secret
    #[arg(long, value_name = "FILE", conflicts_with = "journal")]
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Where the daemon keeps its last status.
pub const STATUS_DIR: &str = "/run/disk-watcher";

/// The exit code of `disk-watcher status` where what it shows is old.
const OLD: u8 = 3;

/// Runs the command that was given.
///
/// # Errors
/// What kept it from being done.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
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
            runtime()?.block_on(daemon::run(args))?;
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
            let Answer { late, text } = if look {
                let status = runtime()?.block_on(look_now(&sources))?;
                Answer {
                    late: Vec::new(),
                    text: view.render(&status)?,
                }
            } else {
                ask(&status_dir, view)?
            };
            println!("{text}");
            for what in &late {
                eprintln!("old: {what}");
            }
            if !late.is_empty() {
                return Ok(ExitCode::from(OLD));
            }
        }
        Command::RestorePlan(PlanArgs { journal, file }) => {
            let newest = match file {
                Some(file) => vec![
                    Backup::read(file.clone())
                        .with_context(|| format!("no plan from {}", file.display()))?,
                ],
                None => Backups::of(&journal)
                    .newest()
                    .with_context(|| format!("no group is kept in {}", journal.display()))?,
            };
            let plans: Vec<String> = newest.iter().map(backup::restore_plan).collect();
            print!("{}", plans.join("\n"));
        }
        Command::ThinCheck(args) => runtime()?.block_on(thin_check::run(args))?,
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
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn look_now(sources: &Sources) -> anyhow::Result<NodeStatus> {
    let config = sources.load()?;
    Watcher::new(Host, None, None, sources.node()?)
        .pass(&config)
        .await
        .context("cannot list the disks")
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all();
    builder.build().context("cannot start the runtime")
}
