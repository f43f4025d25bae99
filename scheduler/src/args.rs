//! The command line, and what it runs.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use kube::Client;
use lvmd::args::LogArgs;
use lvmd::runtime::{Bind, http as side_door, log, signals};
use tracing::{info, warn};

use crate::config::Config;
use crate::http::{self, Extender};
use crate::nodes::Nodes;

/// Keeps pods away from nodes whose volume groups are full: a scheduler extender.
#[derive(Debug, Parser)]
#[command(name = "topolvm-scheduler", version)]
pub struct Cli {
    /// Configuration file; without one, every value has its default
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to serve /metrics, /healthz and /readyz beside what kube-scheduler asks, in place of the file's
    /// metrics-bind-address; 0 or empty for nowhere
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_bind_address: Option<Bind>,
    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Serves until SIGTERM or SIGINT; questions under way are answered first.
///
/// # Errors
/// The configuration cannot be used, or its address not be listened at.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli {
        config,
        metrics_bind_address,
        log: flags,
    } = cli;
    let mut notices = Vec::new();
    log::init(&flags.settings(&mut notices))?;
    let Config {
        listen,
        metrics,
        divisors,
        node_cache_capable,
        profiling,
    } = Config::load(config.as_deref().filter(|p| !p.as_os_str().is_empty()))?;
    if profiling {
        notices.push("profiling-bind-address: profiles are not served".to_owned());
    }
    for notice in notices {
        warn!(notice, "flag without effect");
    }
    let stop = signals::stop_token()?;
    let listener = listen
        .listen()
        .await
        .and_then(|l| l.ok_or_else(|| std::io::ErrorKind::AddrNotAvailable.into()))
        .with_context(|| format!("cannot listen at {listen}"))?;
    info!(address = %listener.local_addr()?, ?divisors, node_cache_capable, "serving");
    let nodes = match node_cache_capable {
        true => {
            let client = Client::try_default().await;
            let client = client.context("node-cache-capable needs a cluster: set KUBECONFIG")?;
            let nodes = Nodes::default();
            tokio::spawn(nodes.clone().follow(client, stop.clone()));
            Some(nodes)
        }
        false => None,
    };
    let extender = Extender::new(divisors, nodes);
    let bind = metrics_bind_address.unwrap_or(metrics);
    let side_door = side_door::serve(&bind, extender.page(), extender.health(), stop.clone())
        .await
        .with_context(|| format!("cannot serve metrics at {bind}"))?;
    axum::serve(listener, http::router(extender))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await?;
    if let Some(door) = side_door {
        let _ = door.task.await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
        let cli = Cli::try_parse_from(["topolvm-scheduler", "--config=/c"]).unwrap();
        assert_eq!(cli.config, Some("/c".into()));
        let args = ["topolvm-scheduler", "--metrics-bind-address=0"];
        let cli = Cli::try_parse_from(args).unwrap();
        assert_eq!(cli.metrics_bind_address, Some(Bind::Off));
    }
}
