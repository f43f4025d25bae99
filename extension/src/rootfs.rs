//! A root file system as data: what is at each path, and where its bytes come from.
//!
//! Owners, times and everything else that differs from build to build are not part of it: all is root's, and
//! times are decided when it is packed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A folder, with its permission bits.
    Dir {
        /// Permission bits, for example `0o755`.
        mode: u32,
    },
    /// A regular file.
    File {
        /// Permission bits, for example `0o755`.
        mode: u32,
        /// Where its bytes come from.
        from: Source,
    },
    /// A symbolic link.
    Link {
        /// What it says, relative or absolute.
        target: PathBuf,
    },
}

/// Where a file's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file on this machine.
    Path(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
}

impl Source {
    /// The bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::Path(path) => std::fs::read(path),
        }
    }
}

/// Two different things were put at one path.
#[derive(Debug, thiserror::Error)]
#[error("/{} would be two things at once: {there:?} and {new:?}", path.display())]
pub struct ClashError {
    path: PathBuf,
    there: Node,
    new: Node,
}

/// Paths, relative to the root, and what is there. A path's folders are always there too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rootfs {
    nodes: BTreeMap<PathBuf, Node>,
}

impl Rootfs {
    /// Puts `node` at `path` (relative to the root), with the folders above it where they are missing.
    ///
    /// # Errors
    /// Something else is there already. The same thing twice is fine.
    pub fn put(&mut self, path: &Path, node: Node) -> Result<(), ClashError> {
        for dir in path.ancestors().skip(1).filter(|dir| *dir != Path::new("")) {
            self.nodes
                .entry(dir.to_owned())
                .or_insert(Node::Dir { mode: 0o755 });
        }
        match self.nodes.get(path) {
            Some(there) if *there == node => Ok(()),
            // A folder made for what is in it takes the mode that it is given later.
            Some(Node::Dir { .. }) if matches!(node, Node::Dir { .. }) => {
                self.nodes.insert(path.to_owned(), node);
                Ok(())
            }
            Some(there) => Err(ClashError {
                path: path.to_owned(),
                there: there.clone(),
                new: node,
            }),
            None => {
                self.nodes.insert(path.to_owned(), node);
                Ok(())
            }
        }
    }

    /// All paths in order, each folder before what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// What is below `folder`, by paths from there.
    #[must_use]
    pub fn below(&self, folder: &Path) -> Self {
        let inside = self.iter().filter_map(|(path, node)| {
            let path = path.strip_prefix(folder).ok()?;
            (path != Path::new("")).then(|| (path.to_owned(), node.clone()))
        });
        let nodes = inside.collect();
        Self { nodes }
    }

    /// What is at `path`, links not followed.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<&Node> {
        self.nodes.get(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Node {
        Node::File {
            mode: 0o644,
            from: Source::Bytes(text.into()),
        }
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut root = Rootfs::default();
        root.put(Path::new("usr/sbin/lvm"), file("x")).unwrap();
        let paths: Vec<_> = root.iter().map(|(path, _)| path.to_owned()).collect();
        let expected = ["usr", "usr/sbin", "usr/sbin/lvm"].map(PathBuf::from);
        assert_eq!(paths, expected);
    }

    #[test]
    fn the_same_twice_is_fine_and_another_is_not() {
        let mut root = Rootfs::default();
        root.put(Path::new("etc/passwd"), file("a")).unwrap();
        root.put(Path::new("etc/passwd"), file("a")).unwrap();
        let error = root.put(Path::new("etc/passwd"), file("b")).unwrap_err();
        assert!(error.to_string().starts_with("/etc/passwd would be two"));
    }

    #[test]
    fn what_is_below_a_folder_has_paths_from_there() {
        let mut root = Rootfs::default();
        for path in ["a/b/c", "ab/d"] {
            root.put(Path::new(path), file("x")).unwrap();
        }
        let below = root.below(Path::new("a"));
        let paths: Vec<_> = below.iter().map(|(path, _)| path.to_owned()).collect();
        assert_eq!(paths, ["b", "b/c"].map(PathBuf::from));
    }

    #[test]
    fn a_folder_takes_the_mode_it_is_given() {
        let mut root = Rootfs::default();
        root.put(Path::new("tmp/x"), file("a")).unwrap();
        root.put(Path::new("tmp"), Node::Dir { mode: 0o1777 })
            .unwrap();
        assert_eq!(
            root.get(Path::new("tmp")),
            Some(&Node::Dir { mode: 0o1777 })
        );
    }
}
