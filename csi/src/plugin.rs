//! `kubectl topolvm`: what the API server knows of volumes, in words for people.
//!
//! Only [`adopt`], [`import`], [`orphans`] and [`install`] change anything, and only when they are told `--yes`.
//! [`cluster`] reads and writes; [`nodes`], [`volumes`], [`disks`], [`why`] and [`doctor`]
//! too judge what was read, and [`table`] shows it.

pub mod adopt;
pub mod args;
pub mod bundle;
pub mod cluster;
pub mod disks;
pub mod doctor;
pub mod helm;
pub mod import;
pub mod install;
pub mod nodes;
pub mod orphans;
pub mod strays;
pub mod table;
pub mod volumes;
pub mod why;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use kube::{Client, ResourceExt};

use args::{Cli, Command};
use cluster::Cluster;
use helm::Helm;
use orphans::Orphan;
use table::show;

/// Runs the command line. Code 1 when it fails, when `doctor` or `why` found a problem, or `adopt` refuses one.
pub fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = runtime
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run(Cli::parse())));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well.
async fn run(cli: Cli) -> anyhow::Result<bool> {
    let config = cli.cluster.config().await?;
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).context("no such cluster")?;
    let cluster = Cluster::new(client);
    let (text, well) = match cli.command {
        Command::Nodes => (
            show(&nodes::rows(&cluster.read().await?), cli.output)?,
            true,
        ),
        Command::Volumes => {
            let mut seen = cluster.read().await?;
            (seen.used, seen.io) = tokio::join!(cluster.used(&seen), cluster.io());
            (show(&volumes::rows(&seen), cli.output)?, true)
        }
        Command::Disks { disk: None } => {
            let disks = cluster.of_watcher("NodeDisk").await?;
            (show(&disks::disks(&disks), cli.output)?, true)
        }
        Command::Disks { disk: Some(disk) } => {
            let disks = cluster.of_watcher("NodeDisk").await?;
            let findings = disks::why(&disks, &disk);
            let findings = findings.with_context(|| format!("no node has a disk {disk}"))?;
            let well = !findings.iter().any(why::Finding::is_problem);
            (show(&findings, cli.output)?, well)
        }
        Command::Pools => {
            let pools = cluster.of_watcher("NodeThinPool").await?;
            (show(&disks::pools(&pools), cli.output)?, true)
        }
        Command::Why { claim } => {
            let facts = cluster.claim(&namespace, &claim).await?;
            let findings = why::explain(&facts);
            let well = !findings.iter().any(why::Finding::is_problem);
            (show(&findings, cli.output)?, well)
        }
        Command::Orphans { remove: None, .. } => (
            show(&orphans::rows(&cluster.read().await?)?, cli.output)?,
            true,
        ),
        Command::Orphans {
            remove: Some(name),
            yes,
        } => {
            let row = remove(&cluster, &name, yes).await?;
            (show(&[row], cli.output)?, true)
        }
        Command::Adopt(wish) => {
            let (seen, claims) = (cluster.read().await?, cluster.claims().await?);
            let mut rows = adopt::judge(&seen, &claims, &wish)?;
            let mut well = true;
            for row in &mut rows {
                let Some(plan) = &row.plan else {
                    well &= !row.is_refused();
                    continue;
                };
                if wish.yes {
                    let done = cluster.adopt(plan).await;
                    well &= done.is_ok();
                    row.result = match done {
                        Ok(()) => "adopted".to_owned(),
                        Err(error) => format!("not done, ask again: {error:#}"),
                    };
                }
            }
            (show(&rows, cli.output)?, well)
        }
        Command::Install(wish) => {
            install::has_charts(&wish.charts)?;
            let helm = Helm::new(&wish.helm, &cli.cluster);
            let findings = install::install(&cluster, &helm, &wish).await?;
            let well = !findings.iter().any(why::Finding::is_problem);
            (show(&findings, cli.output)?, well)
        }
        Command::Uninstall(wish) => {
            let helm = Helm::new(&wish.helm, &cli.cluster);
            let findings = install::uninstall::uninstall(&cluster, &helm, &wish).await?;
            let well = !findings.iter().any(why::Finding::is_problem);
            (show(&findings, cli.output)?, well)
        }
        Command::ImportLegacy(wish) => {
            let (seen, claims) = (cluster.read().await?, cluster.claims().await?);
            let legacy = cluster.legacy().await?;
            let mut findings = Vec::new();
            for import in import::judge(&seen, &claims, &legacy, &wish)? {
                findings.push(match &import.plan {
                    Some((old, plan)) if wish.yes => import.told(cluster.import(old, plan).await),
                    _ => import.finding,
                });
            }
            let well = !findings.iter().any(why::Finding::is_problem);
            findings.extend(import::rest(&seen));
            (show(&findings, cli.output)?, well)
        }
        Command::SupportBundle(wish) => {
            let bundle = bundle::collect::collect(&cluster, &wish).await;
            bundle.write(&wish.file)?;
            (show(bundle.index(), cli.output)?, true)
        }
        Command::Doctor => {
            let findings = doctor::judge(&cluster.examine().await?);
            let well = !findings.iter().any(why::Finding::is_problem);
            (show(&findings, cli.output)?, well)
        }
    };
    print!("{text}");
    Ok(well)
}

/// Has a LogicalVolume deleted, or an LV that none names removed; without `yes` says what would go.
async fn remove(cluster: &Cluster, name: &str, yes: bool) -> anyhow::Result<Orphan> {
    let seen = cluster.read().await?;
    let users = cluster.users().await?;
    if seen.volumes.iter().any(|volume| volume.name_any() == name) {
        let (volume, mut row) = orphans::deletion::judge(&seen, &users, name)?;
        if yes {
            cluster.delete(&volume).await?;
            row.why = "it is deleted, and its node removes its LV now".to_owned();
        }
        return Ok(row);
    }
    let (plan, mut row) = orphans::removal(&seen, &users, name)?;
    if yes {
        cluster.remove(&plan).await?;
        row.why = "its node removes it now".to_owned();
    }
    Ok(row)
}
