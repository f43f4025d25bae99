//! lvmd.yaml: upstream's file, every key and every rule, and keys of our own.
//!
//! One reader for both ways lvmd runs: as a daemon, and embedded in the CSI node
//! (which does not look at `socket-name`). Whether the volume groups exist is not a
//! matter of the file; a class whose group is missing is down until it comes back.
//!
//! ```yaml
//! socket-name: /run/topolvm/lvmd.sock   # default
//! lvm-command-prefix: []                # the whole command that stands for `lvm`
//! lvm-system-dir: generated             # own key: generated | user
//! device-classes:
//!   - name: ssd
//!     volume-group: vg1
//!     type: thick                       # default; or thin
//!     default: true
//!     spare-gb: 10                      # default, GiB
//!     stripe: 2
//!     stripe-size: 64k
//!     lvcreate-options: ["--type=raid10", "-m1"]
//!     zero: zero                        # own key: zero | none
//!   - name: thin
//!     volume-groups: [vg1, vg2]         # own key, in place of volume-group
//!     type: thin
//!     thin-pool: { name: pool0, overprovision-ratio: 5.0 }
//!     gate-percent: 95                  # own key
//! lvcreate-option-classes:
//!   - name: raid1
//!     options: ["--type=raid1"]
//! ```

mod class;
pub mod folders;
mod options;
mod raw;
mod rules;
pub mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_saphyr::Spanned;

use crate::names::LVMD_SOCKET;

pub use class::{
    Class, DEFAULT_GATE_PERCENT, DEFAULT_SPARE, DeviceClass, DeviceClasses, Kind, ThickSnapshots,
    UnknownClass, ZeroPolicy,
};
pub use options::{LvcreateOptions, Refused};
pub use rules::Violation;

/// The command upstream uses when nothing is configured: the host's own lvm.
const UPSTREAM_COMMAND: [&str; 8] = ["/usr/bin/nsenter", "-m", "-u", "-i", "-n", "-p", "-t", "1"];
/// The class of the shorthand flags: the name upstream's annotations give the default.
const SHORTHAND_CLASS: &str = "00default";

/// A configuration that keeps all rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where the daemon listens. Embedded lvmd does not look at it.
    pub socket: PathBuf,
    /// The words that stand for `lvm`, its path last. Empty: the lvm beside lvmd.
    pub command_prefix: Vec<String>,
    /// Whose lvm.conf the lvm processes get.
    pub lvm_system_dir: LvmSystemDir,
    /// The device classes; at least one.
    pub classes: DeviceClasses,
    /// Options that replace a class's own when a request names them.
    pub option_classes: BTreeMap<String, LvcreateOptions>,
    /// What is odd but allowed, for the log.
    pub warnings: Vec<String>,
}

/// Whose lvm.conf the lvm processes get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LvmSystemDir {
    /// One that lvmd writes for each volume group.
    #[default]
    Generated,
    /// The one the environment's `LVM_SYSTEM_DIR` points at.
    User,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The text is not YAML, or not in the shape of lvmd.yaml.
    #[error("{} is not in the form of lvmd.yaml:\n{text}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line and a mark at the place.
        text: String,
    },
    /// Rules are broken; all that are.
    #[error("{} breaks {} of lvmd.yaml:\n{}", path.display(), count(violations.len()), lines(violations))]
    Rules {
        /// The file.
        path: PathBuf,
        /// The rules.
        violations: Vec<Violation>,
    },
}

fn count(rules: usize) -> String {
    match rules {
        1 => "a rule".to_owned(),
        n => format!("{n} rules"),
    }
}

fn lines(violations: &[Violation]) -> String {
    let lines: Vec<String> = violations.iter().map(|v| format!("  {v}")).collect();
    lines.join("\n")
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Checks a text; `path` is where it came from, for errors.
    ///
    /// # Errors
    /// See [`ConfigError`]; never `Read`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let raw = raw::read(text).map_err(|text| ConfigError::Form {
            path: path.to_owned(),
            text,
        })?;
        rules::check(raw).map_err(|violations| ConfigError::Rules {
            path: path.to_owned(),
            violations,
        })
    }

    /// One thick default class on `volume_group`, as the flags of TopoLVM 0.1 meant.
    ///
    /// # Errors
    /// The name or the socket breaks a rule.
    pub fn shorthand(
        volume_group: &str,
        socket: Option<&str>,
        spare_gb: Option<u64>,
    ) -> Result<Self, ConfigError> {
        let class = raw::RawClass {
            name: Some(SHORTHAND_CLASS.to_owned()),
            volume_group: Some(volume_group.to_owned()),
            default: Some(true),
            spare_gb,
            ..raw::RawClass::default()
        };
        let nowhere = serde_saphyr::Location::UNKNOWN;
        let raw = raw::RawConfig {
            socket_name: socket.map(str::to_owned),
            device_classes: Some(vec![Spanned {
                value: class,
                referenced: nowhere,
                defined: nowhere,
            }]),
            ..raw::RawConfig::default()
        };
        rules::check(raw).map_err(|violations| ConfigError::Rules {
            path: "the command line".into(),
            violations,
        })
    }

    /// Applies the deprecated `--lvm-path`: the last word of the command that upstream
    /// uses by default, so the lvm at `path` on the host, reached through nsenter.
    ///
    /// # Errors
    /// The file has `lvm-command-prefix` as well.
    pub fn with_lvm_path(mut self, path: &str) -> Result<Self, LvmPathConflict> {
        if !self.command_prefix.is_empty() {
            return Err(LvmPathConflict);
        }
        self.command_prefix = UPSTREAM_COMMAND
            .iter()
            .map(|word| (*word).to_owned())
            .chain([path.to_owned()])
            .collect();
        Ok(self)
    }
}

/// The socket a configuration file names, also when the rest of it cannot be used;
/// upstream's default when it names none or cannot be read.
pub fn socket_named_in(path: &Path) -> PathBuf {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(rename = "socket-name")]
        socket: Option<PathBuf>,
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // No YAML at all: a line that says it is still better than a guess.
    let line = || {
        let value = text.lines().find_map(|l| l.strip_prefix("socket-name:"))?;
        let value = value.split(" #").next().unwrap_or_default();
        let value = value.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| PathBuf::from(value))
    };
    match serde_saphyr::from_str::<Named>(&text) {
        Ok(named) => named.socket,
        Err(_) => line(),
    }
    .unwrap_or_else(|| LVMD_SOCKET.into())
}

/// Both ways to choose the lvm command were used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "--lvm-path and lvm-command-prefix exclude each other: remove the flag, and put the path of \
     lvm last in lvm-command-prefix"
)]
pub struct LvmPathConflict;

#[cfg(test)]
mod tests;
