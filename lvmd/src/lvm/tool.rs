//! The lvm program: where it is, how it is called, and whether it can do its work.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cmd::{Cmd, CmdError, Runner, find_program};
use crate::lvm::nodes;
use crate::lvm::system_dir::{self, Udev};
use crate::names;

/// How long a report may take before it is asked to stop. It waits for no lock, and
/// while it runs every question waits for it.
const REPORT_LIMIT: Duration = Duration::from_secs(20);
/// How long a report may go on after that. It writes nothing that could be left half done.
const REPORT_GRACE: Duration = Duration::from_secs(2);
/// How long a change may take before it is asked to stop; waiting for the VG's lock counts.
const CHANGE_LIMIT: Duration = Duration::from_secs(120);

/// What an lvm.conf comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemDir {
    /// Generated below this directory for each VG.
    Generated(PathBuf),
    /// The user's own; lvm's defaults hold for what it does not say.
    User(PathBuf),
}

/// How lvm is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Words before `lvm`'s arguments, the last being the program; empty: our own lvm.
    pub command_prefix: Vec<String>,
    /// Where its lvm.conf comes from.
    pub system_dir: SystemDir,
    /// The name of the calling program, part of the generated directory's path.
    pub program: &'static str,
    /// Next to a udevd: the directory under which lvm gets device nodes of its own.
    pub nodes: Option<PathBuf>,
}

impl Tool {
    /// The lvm beside us with a generated lvm.conf, for `program`; udev as found.
    pub fn beside_us(program: &'static str) -> Self {
        let beside_udevd = Path::new("/run/udev/control").exists();
        Self {
            command_prefix: Vec::new(),
            system_dir: SystemDir::Generated(names::LVM_SYSTEM_DIRS.into()),
            program,
            nodes: beside_udevd.then(|| names::LVM_NODE_DIRS.into()),
        }
    }

    /// A call `lvm <args>` that sees exactly `devices`; `vg` chooses the lvm.conf. One that
    /// changes a VG names it, and is the only call on it of this program while it runs.
    ///
    /// # Errors
    /// When lvm is not there, or its lvm.conf or its device nodes cannot be made.
    pub fn call(
        &self,
        vg: Option<&str>,
        devices: &[PathBuf],
        args: &[String],
    ) -> Result<Cmd, CmdError> {
        let dir = match &self.system_dir {
            SystemDir::User(dir) => dir.clone(),
            SystemDir::Generated(root) => {
                self.prepare(root, vg).map_err(|error| CmdError::Start {
                    program: "lvm".into(),
                    reason: format!("cannot write its lvm.conf and device nodes: {error}"),
                })?
            }
        };
        let mut words = self
            .command_prefix
            .iter()
            .map(OsString::from)
            .collect::<Vec<_>>();
        let program = match words.pop() {
            Some(program) => PathBuf::from(program),
            None => find_program("lvm")?,
        };
        let mut cmd = Cmd::new(program)
            .env("LVM_SYSTEM_DIR", dir)
            .env("LVM_SUPPRESS_FD_WARNINGS", "1");
        cmd.prefix = words;
        let (verb, rest) = args
            .split_first()
            .map_or(("", args), |(verb, rest)| (verb.as_str(), rest));
        cmd = cmd.arg(verb);
        if !devices.is_empty() {
            let list: Vec<_> = devices.iter().map(|d| d.as_os_str()).collect();
            cmd = cmd
                .arg("--devices")
                .arg(list.join(std::ffi::OsStr::new(",")));
        }
        let cmd = cmd.args(rest);
        Ok(if verb == "fullreport" {
            cmd.limit(REPORT_LIMIT).grace(REPORT_GRACE)
        } else {
            cmd.limit(CHANGE_LIMIT)
        })
    }

    /// Makes the lvm.conf and the device nodes for `vg`; gives the lvm.conf's directory.
    fn prepare(&self, root: &Path, vg: Option<&str>) -> io::Result<PathBuf> {
        let nodes = match (&self.nodes, vg) {
            (Some(nodes), Some(vg)) => Some(nodes.join(self.program).join(vg)),
            // A report makes no nodes.
            _ => None,
        };
        if let (Some(nodes), Some(vg)) = (&nodes, vg) {
            nodes::refresh(nodes, vg)?;
        }
        let udev = nodes.as_deref().map_or(Udev::Absent, Udev::Runs);
        let text = system_dir::render(udev, Path::new(names::LVM_LOCK_DIR));
        system_dir::place(root, self.program, vg.unwrap_or("_scan"), &text)
    }

    /// Checks what is relied on: lvm runs, is new enough, knows thin pools; thin_check is there.
    ///
    /// # Errors
    /// Names what is missing and what needs it.
    pub async fn preflight(&self, runner: &impl Runner) -> Result<Version, PreflightError> {
        let version = self.call(None, &[], &["version".to_owned()])?;
        let out = runner.run(version).await?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let version = Version::parse(&text)
            .ok_or_else(|| PreflightError::UnknownVersion(text.trim().to_owned()))?;
        if version < Version::OLDEST {
            return Err(PreflightError::TooOld(version));
        }
        let segtypes = runner
            .run(self.call(None, &[], &["segtypes".to_owned()])?)
            .await?;
        let segtypes = String::from_utf8_lossy(&segtypes.stdout).into_owned();
        for needed in ["striped", "thin", "thin-pool"] {
            if !segtypes.split_ascii_whitespace().any(|word| word == needed) {
                return Err(PreflightError::NoSegmentType(needed));
            }
        }
        // With a prefix lvm runs in another mount namespace, where we cannot look.
        if self.command_prefix.is_empty() {
            find_program("thin_check")?;
        }
        Ok(version)
    }
}

/// A version of lvm2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32, u32);

impl Version {
    /// `--devices` came with 2.03.12.
    pub const OLDEST: Self = Self(2, 3, 12);

    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find(|l| l.contains("LVM version:"))?;
        let word = line.split_once(':')?.1.split_ascii_whitespace().next()?;
        let mut parts = word.split(['.', '(', '-']).map(str::parse::<u32>);
        Some(Self(
            parts.next()?.ok()?,
            parts.next()?.ok()?,
            parts.next()?.ok()?,
        ))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}.{:02}", self.0, self.1, self.2)
    }
}

/// LVM here cannot do what is needed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PreflightError {
    /// A program is missing or does not run.
    #[error(transparent)]
    Command(#[from] CmdError),
    /// `lvm version` prints something else than we know.
    #[error("lvm version printed {0:?}, which is no version")]
    UnknownVersion(String),
    /// lvm is too old.
    #[error("lvm {0} is too old: {oldest} or later is needed (for --devices)", oldest = Version::OLDEST)]
    TooOld(Version),
    /// lvm was built without a segment type.
    #[error("this lvm knows no segment type {0}: install an lvm2 built with thin provisioning")]
    NoSegmentType(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(root: &Path, prefix: &[&str]) -> Tool {
        Tool {
            command_prefix: prefix.iter().map(|s| (*s).to_owned()).collect(),
            system_dir: SystemDir::Generated(root.to_owned()),
            program: "lvmd",
            nodes: None,
        }
    }

    #[test]
    fn a_call_sees_exactly_its_devices() {
        let root = tempfile::tempdir().unwrap();
        let devices = ["/dev/sda".into(), "/dev/sdb".into()];
        let cmd = tool(root.path(), &["nsenter", "-t", "1", "/sbin/lvm"])
            .call(
                Some("vg"),
                &devices,
                &["lvremove".into(), "-y".into(), "vg/lv".into()],
            )
            .unwrap();
        assert_eq!(
            cmd.to_string(),
            "nsenter -t 1 /sbin/lvm lvremove --devices /dev/sda,/dev/sdb -y vg/lv"
        );
        let dir = cmd.env.get(std::ffi::OsStr::new("LVM_SYSTEM_DIR")).unwrap();
        assert!(Path::new(dir).join("lvm.conf").is_file() && Path::new(dir).ends_with("lvmd/vg"));
    }

    #[test]
    fn versions_are_compared_by_number() {
        let v = Version::parse(
            "  LVM version:     2.03.31(2) (2025-02-27)\n  Library version: 1.02.205\n",
        )
        .unwrap();
        assert_eq!(v, Version(2, 3, 31));
        assert!(v > Version::OLDEST && Version(2, 3, 9) < Version::OLDEST);
        assert_eq!(Version::parse("nonsense"), None);
    }
}
