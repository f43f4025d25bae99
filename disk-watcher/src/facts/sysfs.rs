//! Reading attributes of one sysfs directory, and keeping account of what failed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::Root;

/// A device number, `major:minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevNo {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl fmt::Display for DevNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl FromStr for DevNo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.trim().split_once(':');
        numbers
            .and_then(|(major, minor)| {
                Some(Self {
                    major: major.parse().ok()?,
                    minor: minor.parse().ok()?,
                })
            })
            .ok_or_else(|| format!("{text:?} is no device number"))
    }
}

impl Serialize for DevNo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A sysfs directory, and what could not be read in it.
#[derive(Debug)]
pub(super) struct Dir {
    path: PathBuf,
    pub(super) problems: Vec<String>,
}

impl Dir {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            problems: Vec::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An attribute that not every device has: its text without the white space
    /// around it, `None` when it is absent, empty, or the driver has no value for it.
    pub(super) fn optional(&mut self, name: &str) -> Option<String> {
        match std::fs::read(self.path.join(name)) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
                // The kernel prints a string that a driver does not have as "(null)": ubd does.
                (!text.is_empty() && text != "(null)").then(|| text.to_owned())
            }
            // ENXIO, EINVAL and EOPNOTSUPP are how drivers say "this one has none".
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput
                ) || matches!(
                    error.raw_os_error(),
                    Some(libc_errno::ENXIO | libc_errno::EOPNOTSUPP)
                ) =>
            {
                None
            }
            Err(error) => {
                self.problems.push(format!("{name}: {error}"));
                None
            }
        }
    }

    /// Like [`Dir::optional`], read as a number, a flag or the like.
    pub(super) fn optional_as<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let text = self.optional(name)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.problems
                .push(format!("{name}: {text:?} is not understood"));
        }
        value
    }

    /// An attribute every block device has; its absence is a problem.
    pub(super) fn required<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let before = self.problems.len();
        let value = self.optional_as(name);
        if value.is_none() && self.problems.len() == before {
            self.problems.push(format!("{name}: missing"));
        }
        value
    }

    /// Like [`Dir::required`] for `0` and `1`.
    pub(super) fn required_flag(&mut self, name: &str) -> Option<bool> {
        match self.required::<u32>(name)? {
            0 => Some(false),
            1 => Some(true),
            other => {
                self.problems
                    .push(format!("{name}: {other} is neither 0 nor 1"));
                None
            }
        }
    }

    /// The names in a directory below this one, sorted; none when it is absent.
    pub(super) fn names(&mut self, name: &str) -> Vec<String> {
        match names_in(&self.path.join(name)) {
            Ok(names) => names,
            Err(error) => {
                self.problems.push(format!("{name}: {error}"));
                Vec::new()
            }
        }
    }
}

/// Numbers of errno(3) that [`ErrorKind`] has no name for.
mod libc_errno {
    pub(super) const ENXIO: i32 = nix::errno::Errno::ENXIO as i32;
    pub(super) const EOPNOTSUPP: i32 = nix::errno::Errno::EOPNOTSUPP as i32;
}

/// The names in `dir`, sorted; none when it does not exist.
pub(super) fn names_in(dir: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The block drivers of `/proc/devices`, by major number; empty when it cannot be
/// read, so that no disk is recognised as one.
pub(super) fn block_drivers(root: &Root) -> BTreeMap<u32, String> {
    let text = std::fs::read_to_string(root.join("proc/devices")).unwrap_or_default();
    let block = text
        .split_once("Block devices:")
        .map_or("", |(_, rest)| rest);
    block
        .lines()
        .filter_map(|line| {
            let (major, name) = line.trim().split_once(' ')?;
            Some((major.parse().ok()?, name.trim().to_owned()))
        })
        .collect()
}
