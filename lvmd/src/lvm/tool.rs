//! The lvm program: where it is, how it is called, and whether it can do its work.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use tracing::warn;

use crate::cmd::{Cmd, CmdError, Runner, find_program, may_enter};
use crate::lvm::script::{self, Script};
use crate::lvm::system_dir::{self, Udev};
use crate::lvm::{nodes, own_dev};
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
    /// Where lvm makes device nodes.
    pub nodes: Nodes,
}

/// Where an lvm that changes a group makes device nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nodes {
    /// In `/dev`: there is no udevd that would.
    InDev,
    /// Below this directory, where nobody else looks: the names in `/dev` are udevd's.
    Apart(PathBuf),
    /// Below it too, and what lvm sees as `/dev` is there, with nothing else but the PVs it may see.
    OwnDev(PathBuf),
}

/// What one lvm runs in.
struct Surroundings {
    /// Where its lvm.conf is.
    system_dir: PathBuf,
    /// What it sees as `/dev`, when that is not the real one.
    dev: Option<PathBuf>,
}

impl Tool {
    /// The lvm beside us with a generated lvm.conf, for `program`; udev as found.
    pub fn beside_us(program: &'static str) -> Self {
        let dir = || names::LVM_NODE_DIRS.into();
        let nodes = match Path::new("/run/udev/control").exists() {
            false => Nodes::InDev,
            true if may_have_own_dev() => Nodes::OwnDev(dir()),
            true => Nodes::Apart(dir()),
        };
        Self {
            command_prefix: Vec::new(),
            system_dir: SystemDir::Generated(names::LVM_SYSTEM_DIRS.into()),
            program,
            nodes,
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
        // One lvm.conf for all reports, which run at the same time.
        let seen = vg.map_or_else(Vec::new, |_| own_dev::names(devices));
        self.cmd(self.prepare(vg, &seen)?, words(devices, args))
    }

    /// One call that runs `commands` in order, each only after the one before it succeeded;
    /// `None` where lvm cannot be given them in a file. The file is to be kept until the call
    /// has ended. As [`Self::call`] otherwise.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn script(
        &self,
        vg: &str,
        devices: &[PathBuf],
        commands: &[Vec<String>],
    ) -> Result<Option<(Cmd, Script)>, CmdError> {
        // The user's own directory is not ours to write to, and a prefix of several words
        // may lead where our file is not.
        let is_seen = self.command_prefix.len() < 2;
        if !matches!(self.system_dir, SystemDir::Generated(_)) || !is_seen {
            return Ok(None);
        }
        let seen = own_dev::names(devices);
        let (Some(_), Some(text), Some(verb)) = (
            system_dir::filter(&seen),
            script::render(commands),
            commands.first().and_then(|words| words.first()),
        ) else {
            return Ok(None);
        };
        let inside = self.prepare(Some(vg), &seen)?;
        let script = Script::create(&inside.system_dir, verb, &text).map_err(not_prepared)?;
        let words = vec![script.path().display().to_string()];
        Ok(Some((self.cmd(inside, words)?, script)))
    }

    fn cmd(&self, inside: Surroundings, words: Vec<String>) -> Result<Cmd, CmdError> {
        let mut prefix = self
            .command_prefix
            .iter()
            .map(OsString::from)
            .collect::<Vec<_>>();
        let program = match prefix.pop() {
            Some(program) => PathBuf::from(program),
            None => find_program("lvm")?,
        };
        let is_report = words.first().is_some_and(|verb| verb == "fullreport");
        let mut cmd = Cmd::new(program)
            .env("LVM_SYSTEM_DIR", inside.system_dir)
            .env("LVM_SUPPRESS_FD_WARNINGS", "1")
            .args(words);
        cmd.prefix = prefix;
        cmd.dev = inside.dev;
        Ok(if is_report {
            cmd.limit(REPORT_LIMIT).grace(REPORT_GRACE)
        } else {
            cmd.limit(CHANGE_LIMIT)
        })
    }

    /// Makes the lvm.conf and the device nodes for `vg`, of which lvm is to see the devices of these names.
    fn prepare(&self, vg: Option<&str>, seen: &[PathBuf]) -> Result<Surroundings, CmdError> {
        match &self.system_dir {
            SystemDir::User(dir) => Ok(Surroundings {
                system_dir: dir.clone(),
                dev: None,
            }),
            SystemDir::Generated(root) => self.generate(root, vg, seen).map_err(not_prepared),
        }
    }

    fn generate(
        &self,
        root: &Path,
        vg: Option<&str>,
        seen: &[PathBuf],
    ) -> io::Result<Surroundings> {
        // Behind a prefix lvm may be in another mount namespace; without devices it is to see all.
        let sees_less = self.command_prefix.len() < 2 && !seen.is_empty();
        let (mut dev, mut nodes) = (None, None);
        // A report makes no nodes.
        if let (Nodes::Apart(all) | Nodes::OwnDev(all), Some(vg)) = (&self.nodes, vg) {
            let dir = all.join(self.program).join(vg);
            let own = dir.join(own_dev::NODES);
            nodes::refresh(&own, vg)?;
            if sees_less && matches!(self.nodes, Nodes::OwnDev(_)) {
                own_dev::refresh(&dir, seen)?;
                nodes = Some(Path::new("/dev").join(own_dev::NODES));
                dev = Some(dir);
            } else {
                nodes = Some(own);
            }
        }
        let udev = nodes.as_deref().map_or(Udev::Absent, Udev::Runs);
        let text = system_dir::render(udev, Path::new(names::LVM_LOCK_DIR), seen);
        let system_dir = system_dir::place(root, self.program, vg.unwrap_or("_scan"), &text)?;
        Ok(Surroundings { system_dir, dev })
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

/// Whether lvm can be given a `/dev` of its own; tried once. Without one it works too, slower by each volume of the node.
fn may_have_own_dev() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(|| {
        let may = may_enter();
        if let Err(error) = &may {
            warn!(%error, "lvm looks through all of /dev: it cannot be given one of its own (mount namespaces are forbidden here)");
        }
        may.is_ok()
    })
}

/// The words of one command: its verb, the devices it may see, the rest.
fn words(devices: &[PathBuf], args: &[String]) -> Vec<String> {
    let (verb, rest) = args.split_at(args.len().min(1));
    let mut words = verb.to_vec();
    if !devices.is_empty() {
        let list: Vec<_> = devices.iter().map(|d| d.display().to_string()).collect();
        words.extend(["--devices".to_owned(), list.join(",")]);
    }
    words.extend_from_slice(rest);
    words
}

fn not_prepared(error: io::Error) -> CmdError {
    CmdError::Start {
        program: "lvm".into(),
        reason: format!("cannot write its lvm.conf and device nodes: {error}"),
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
            nodes: Nodes::InDev,
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
    fn several_commands_are_one_process_where_a_file_can_hold_them() {
        let root = tempfile::tempdir().unwrap();
        let script = |prefix: &[&str], device: &str, name: &str| {
            let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
            let commands = [
                words(format!("lvcreate -n {name} vg")),
                words(format!("lvchange vg/{name}")),
            ];
            let tool = tool(root.path(), prefix);
            tool.script("vg", &[device.into()], &commands).unwrap()
        };
        let (one, file) = script(&["/sbin/lvm"], "/dev/sda", "lv").unwrap();
        assert_eq!(one.verb(), "lvcreate");
        assert_eq!(
            std::fs::read_to_string(&one.args[0]).unwrap(),
            "#!lvm\nlvcreate -n lv vg\nlvchange vg/lv\n"
        );
        let conf = Path::new(&one.args[0]).with_file_name("lvm.conf");
        let conf = std::fs::read_to_string(conf).unwrap();
        assert!(conf.contains("\"a|^/dev/sda$|\", \"r|.*|\""), "{conf}");
        drop(file);
        assert!(!Path::new(&one.args[0]).exists());
        assert!(script(&["/sbin/lvm"], "/dev/sda", &"x".repeat(250)).is_none());
        assert!(script(&["/sbin/lvm"], "/dev/s.a", "lv").is_none());
        assert!(script(&["nsenter", "/sbin/lvm"], "/dev/sda", "lv").is_none());
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
