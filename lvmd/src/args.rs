//! lvmd's command line: upstream's flags, the flags TopoLVM 0.1 had, and our own.
//!
//! Flags that name something we do not have are accepted, so that an existing unit file
//! or chart value starts lvmd, and named in [`Resolved::notices`].

mod health;
mod log;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Parser, Subcommand};

pub use health::{HealthArgs, NotServing, ask};
pub use log::LogArgs;

use crate::config::watch::Source;
use crate::config::{Config, ConfigError, LvmPathConflict};
use crate::names::LVMD_CONFIG;
use crate::runtime::log::{LogError, check_filter};
use crate::runtime::{Bind, LogSettings};

/// Cuts logical volumes out of volume groups and thin pools, for whom asks over gRPC.
#[derive(Debug, Parser)]
#[command(name = "lvmd", version)]
pub struct Cli {
    /// What to serve, and how.
    #[command(flatten)]
    pub args: Args,
    /// Something else than serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What lvmd does besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Asks a running lvmd whether it serves; exit code 0 if it does, 1 if not
    Health(HealthArgs),
}

/// What to serve, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file; taken up again whenever it changes
    #[arg(long, global = true, value_name = "FILE", default_value = LVMD_CONFIG)]
    pub config: PathBuf,

    /// Deprecated: path of lvm on the host, reached through nsenter; excludes
    /// lvm-command-prefix in the configuration, which replaces it
    #[arg(
        long,
        value_name = "PATH",
        default_value = "",
        hide_default_value = true
    )]
    pub lvm_path: String,

    /// Where to serve /metrics, /healthz and /readyz; 0 or empty for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = ":8080")]
    pub metrics_bind_address: Bind,

    /// Accepted as upstream's flag; profiles are not served
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "",
        hide_default_value = true
    )]
    pub profiling_bind_address: String,

    /// Instead of a configuration file: one default class of thick volumes in this
    /// volume group
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub volume_group: Option<String>,

    /// With --volume-group: the socket to listen at; with health: the socket to ask
    #[arg(long, global = true, value_name = "SOCKET")]
    pub listen: Option<String>,

    /// With --volume-group: GiB that are never given away [default: 10]
    #[arg(long, value_name = "GIB")]
    pub spare: Option<u64>,

    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Where the configuration comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ConfigSource {
    /// A file, to be loaded and watched.
    File(Source),
    /// The command line; it never changes.
    Fixed(Arc<Config>),
}

/// The command line, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// Where the configuration comes from.
    pub config: ConfigSource,
    /// Where metrics and health are served.
    pub metrics: Bind,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Flags that were given and have no effect, one sentence each, for the log.
    pub notices: Vec<String>,
}

/// A command line that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// A shorthand flag without the volume group.
    #[error(
        "{flag} means something together with --volume-group only; with a configuration file, write {key} there"
    )]
    NeedsVolumeGroup {
        /// The flag.
        flag: &'static str,
        /// The key of the configuration that does the same.
        key: &'static str,
    },
    /// The shorthand flags break a rule.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Both ways to choose the lvm command were used.
    #[error(transparent)]
    LvmPath(#[from] LvmPathConflict),
    /// The log filter is none.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Args {
    /// Works out what the flags mean together. Reads no file.
    ///
    /// # Errors
    /// See [`ArgsError`].
    pub fn resolve(self) -> Result<Resolved, ArgsError> {
        let Self {
            config,
            lvm_path,
            metrics_bind_address,
            profiling_bind_address,
            volume_group,
            listen,
            spare,
            log,
        } = self;
        let mut notices = Vec::new();
        let log = log.settings(&mut notices);
        check_filter(&log.filter)?;
        if !profiling_bind_address.is_empty() {
            notices.push("--profiling-bind-address: profiles are not served".to_owned());
        }
        let lvm_path = Some(lvm_path).filter(|p| !p.is_empty());
        if lvm_path.is_some() {
            notices.push("--lvm-path is deprecated, use lvm-command-prefix".to_owned());
        }
        let config = match volume_group {
            Some(vg) => {
                let config = Config::shorthand(&vg, listen.as_deref(), spare)?;
                ConfigSource::Fixed(Arc::new(match lvm_path {
                    Some(path) => config.with_lvm_path(&path)?,
                    None => config,
                }))
            }
            None => {
                let shorthand = [
                    (listen.is_some(), "--listen", "socket-name"),
                    (spare.is_some(), "--spare", "spare-gb"),
                ];
                if let Some((_, flag, key)) = shorthand.into_iter().find(|(given, ..)| *given) {
                    return Err(ArgsError::NeedsVolumeGroup { flag, key });
                }
                ConfigSource::File(Source {
                    path: config,
                    lvm_path,
                })
            }
        };
        Ok(Resolved {
            config,
            metrics: metrics_bind_address,
            log,
            notices,
        })
    }

    /// The socket a running lvmd with these flags listens at. Says something even when
    /// the configuration file cannot be used, because then lvmd goes on with the one
    /// before, and must not be called dead for it.
    pub fn socket(&self) -> PathBuf {
        match &self.listen {
            Some(socket) => socket.into(),
            None => crate::config::socket_named_in(&self.config),
        }
    }
}

#[cfg(test)]
mod tests;
