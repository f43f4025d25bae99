//! What is in a folder or a tar, in memory: an extension, or the files of an OCI layout.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use tar::EntryType;

use super::finding::{Finding, Rule};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Dir,
    /// A file, with its bytes.
    File(Vec<u8>),
    /// A symbolic link, with what it says.
    Link(PathBuf),
    /// Anything else.
    Special,
}

/// What is at a path, and who may do what with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-user-ID, set-group-ID and sticky.
    pub mode: u32,
}

/// Paths, without a leading `/`, and what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    entries: BTreeMap<PathBuf, Entry>,
}

/// As many links as the kernel follows (path_resolution(7)).
const MAX_LINKS: u32 = 40;

impl Contents {
    /// All paths in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Entry)> {
        self.entries
            .iter()
            .map(|(path, entry)| (path.as_path(), entry))
    }

    /// What is at `path`, links not followed.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The bytes of the file at `path`.
    #[must_use]
    pub fn file(&self, path: impl AsRef<Path>) -> Option<&[u8]> {
        match &self.entries.get(path.as_ref())?.kind {
            Kind::File(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Where `path` of the root `root` leads, its links followed as if `root` were the root.
    #[must_use]
    pub fn resolve(&self, root: &Path, path: &Path) -> Option<PathBuf> {
        let parts = |path: &Path| {
            let parts: Vec<PathBuf> = path
                .components()
                .map(|c| PathBuf::from(c.as_os_str()))
                .collect();
            parts.into_iter().rev()
        };
        let mut todo: Vec<PathBuf> = parts(path).collect();
        let mut real = PathBuf::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.components().next() {
                Some(Component::Normal(_)) => {}
                Some(Component::RootDir) => real = PathBuf::new(),
                Some(Component::ParentDir) => drop(real.pop()),
                _ => continue,
            }
            if !matches!(part.components().next(), Some(Component::Normal(_))) {
                continue;
            }
            let here = real.join(part);
            match &self.get(&root.join(&here))?.kind {
                Kind::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    todo.extend(parts(target));
                }
                _ => real = here,
            }
        }
        Some(root.join(real))
    }

    /// Reads a folder.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of_dir(dir: &Path, findings: &mut Vec<Finding>) -> io::Result<Self> {
        let mut contents = Self::default();
        let mut todo = vec![dir.to_owned()];
        while let Some(folder) = todo.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let stat = path.symlink_metadata()?;
                let inside = path.strip_prefix(dir).unwrap_or(&path).to_owned();
                let kind = if stat.is_dir() {
                    todo.push(path.clone());
                    Kind::Dir
                } else if stat.is_file() {
                    if stat.nlink() > 1 {
                        let what = format!("has {} names", stat.nlink());
                        findings.push(Finding::new(Rule::HardLink, inside.display(), what));
                    }
                    Kind::File(fs::read(&path)?)
                } else if stat.is_symlink() {
                    Kind::Link(fs::read_link(&path)?)
                } else {
                    Kind::Special
                };
                let mode = stat.permissions().mode() & 0o7777;
                contents.entries.insert(inside, Entry { kind, mode });
            }
        }
        Ok(contents)
    }

    /// Reads a tar, and holds it to what the strictest reader of Talos takes: each folder before what is in it, each
    /// path once, no hard links, nothing that leads elsewhere, all of it root's.
    ///
    /// # Errors
    /// It is no tar.
    pub fn of_tar(tar: impl Read, findings: &mut Vec<Finding>) -> io::Result<Self> {
        let mut contents = Self::default();
        for entry in tar::Archive::new(tar).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let at = path.display().to_string();
            let mut note = |rule, what: &str| findings.push(Finding::new(rule, &at, what));
            let path: PathBuf = path
                .components()
                .filter(|part| *part != Component::CurDir)
                .collect();
            if path
                .components()
                .any(|part| !matches!(part, Component::Normal(_)))
            {
                note(Rule::Tar, "leads elsewhere");
                continue;
            }
            if path.as_os_str().is_empty() {
                continue;
            }
            if entry.pax_extensions()?.is_some_and(|pax| {
                pax.flatten()
                    .any(|field| field.key().is_ok_and(|key| key.starts_with("SCHILY.xattr")))
            }) {
                note(Rule::Tar, "has extended attributes");
            }
            let header = entry.header();
            let mode = header.mode()? & 0o7777;
            if (header.uid()?, header.gid()?) != (0, 0) {
                note(Rule::Tar, "is not root's");
            }
            let parent = path.parent().unwrap_or(Path::new(""));
            let is_dir = |path: &Path| {
                contents
                    .get(path)
                    .is_some_and(|entry| entry.kind == Kind::Dir)
            };
            if parent != Path::new("") && !is_dir(parent) {
                note(Rule::Tar, "comes before its folder");
            }
            let kind = match header.entry_type() {
                EntryType::Directory => Kind::Dir,
                EntryType::Symlink => {
                    Kind::Link(entry.link_name()?.unwrap_or_default().into_owned())
                }
                EntryType::Link => {
                    note(Rule::HardLink, "is another name of a file");
                    Kind::File(Vec::new())
                }
                EntryType::Regular | EntryType::Continuous => {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes)?;
                    Kind::File(bytes)
                }
                _ => Kind::Special,
            };
            if contents
                .entries
                .insert(path, Entry { kind, mode })
                .is_some()
            {
                note(Rule::Tar, "comes twice");
            }
        }
        Ok(contents)
    }
}
