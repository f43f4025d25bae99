//! The closure of programs: they, the loader and libraries they need, and every link on the way.
//!
//! A library is looked for as the loader does (ld.so(8)): the `DT_RUNPATH` of who needs it, then the system's
//! folders. What a program opens later by name (`dlopen`) cannot be seen and has to be listed by who knows.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use goblin::elf::Elf;
use goblin::elf::header::{EM_AARCH64, EM_X86_64};

use crate::rootfs::{ClashError, Node, Rootfs, Source};

/// The closure could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClosureError {
    /// A file that is asked for, or that a link leads to, is not in the tree.
    #[error("/{} is not in {}", path.display(), root.display())]
    Missing {
        /// Relative to the root.
        path: PathBuf,
        /// The tree.
        root: PathBuf,
    },
    /// A file could not be read.
    #[error("could not read {}", path.display())]
    Read {
        /// On this machine.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A program is a script: it would need an interpreter, and none ships.
    #[error("/{} is no ELF program: {rule}", path.display())]
    NotElf {
        /// Relative to the root.
        path: PathBuf,
        /// What was expected.
        rule: String,
    },
    /// No folder of the loader holds a library.
    #[error("/{} needs {library}, which is in none of {}", program.display(), dirs.join(", "))]
    NoLibrary {
        /// Who needs it.
        program: PathBuf,
        /// The library's name, as in `DT_NEEDED`.
        library: String,
        /// Where the loader would look.
        dirs: Vec<String>,
    },
    /// Links that lead in a circle.
    #[error("/{} leads through too many links", path.display())]
    Loop {
        /// Where it began.
        path: PathBuf,
    },
    /// Two files at one path.
    #[error(transparent)]
    Clash(#[from] ClashError),
}

/// As many links as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Collects paths of a tree, and what they need, into a [`Rootfs`].
#[derive(Debug)]
pub struct Closure<'a> {
    tree: &'a Path,
    out: &'a mut Rootfs,
    done: BTreeSet<PathBuf>,
}

impl<'a> Closure<'a> {
    /// Collects from `tree` into `out`.
    pub fn new(tree: &'a Path, out: &'a mut Rootfs) -> Self {
        let done = BTreeSet::new();
        Self { tree, out, done }
    }

    /// Adds the file at `path` of the tree, the links that lead to it, and nothing of what it may need.
    ///
    /// # Errors
    /// It is not there or cannot be read.
    pub fn file(&mut self, path: &str) -> Result<PathBuf, ClosureError> {
        let real = self.resolve(Path::new(path))?;
        let from = self.tree.join(&real);
        let mode = match from.metadata().map_err(read(&from))?.permissions().mode() & 0o111 {
            0 => 0o644,
            _ => 0o755,
        };
        let from = Source::Path(from);
        self.out.put(&real, Node::File { mode, from })?;
        Ok(real)
    }

    /// Adds the program at `path` of the tree with its loader and libraries.
    ///
    /// # Errors
    /// It is a script, or something that it needs is not there.
    pub fn program(&mut self, path: &str) -> Result<(), ClosureError> {
        let real = self.file(path)?;
        let on_host = self.tree.join(&real);
        self.needs_of(&real, &on_host)
    }

    /// Adds a program from elsewhere on this machine at `path`, with its loader and libraries from the tree.
    ///
    /// # Errors
    /// As [`Closure::program`].
    pub fn program_from(&mut self, path: &str, from: &Path) -> Result<(), ClosureError> {
        let node = Node::File {
            mode: 0o755,
            from: Source::Path(from.to_owned()),
        };
        self.out.put(Path::new(path), node)?;
        self.needs_of(Path::new(path), from)
    }

    fn needs_of(&mut self, path: &Path, on_host: &Path) -> Result<(), ClosureError> {
        if !self.done.insert(path.to_owned()) {
            return Ok(());
        }
        let bytes = std::fs::read(on_host).map_err(read(on_host))?;
        let not_elf = |rule: String| ClosureError::NotElf {
            path: path.to_owned(),
            rule,
        };
        let elf = Elf::parse(&bytes).map_err(|error| not_elf(error.to_string()))?;
        if let Some(loader) = elf.interpreter {
            self.file(loader.trim_start_matches('/'))?;
        }
        let dirs = search_dirs(&elf, path).map_err(not_elf)?;
        for library in &elf.libraries {
            let Some(found) = dirs
                .iter()
                .map(|dir| format!("{dir}/{library}"))
                .find(|found| self.resolves(found))
            else {
                return Err(ClosureError::NoLibrary {
                    program: path.to_owned(),
                    library: (*library).to_owned(),
                    dirs,
                });
            };
            self.program(&found)?;
        }
        Ok(())
    }

    fn resolves(&self, path: &str) -> bool {
        walk(self.tree, Path::new(path), &mut |_, _| Ok(())).is_ok()
    }

    /// Follows every link on the way as if the tree were the root; the links become part of the result.
    fn resolve(&mut self, path: &Path) -> Result<PathBuf, ClosureError> {
        let out = &mut *self.out;
        walk(self.tree, path, &mut |link, target| {
            let target = target.to_owned();
            Ok(out.put(link, Node::Link { target })?)
        })
    }
}

/// The folders in which the loader looks for what `elf` needs.
pub(crate) fn search_dirs(elf: &Elf, path: &Path) -> Result<Vec<String>, String> {
    let triplet = match elf.header.e_machine {
        EM_X86_64 => "x86_64-linux-gnu",
        EM_AARCH64 => "aarch64-linux-gnu",
        other => return Err(format!("a program for machine {other}")),
    };
    let origin = path
        .parent()
        .map(|dir| dir.display().to_string())
        .unwrap_or_default();
    let own = elf.runpaths.iter().chain(&elf.rpaths);
    let own = own
        .flat_map(|list| list.split(':'))
        .map(|dir| dir.replace("$ORIGIN", &format!("/{origin}")))
        .map(|dir| dir.trim_start_matches('/').to_owned());
    let system = ["lib", "usr/lib"]
        .into_iter()
        .flat_map(|dir| [format!("{dir}/{triplet}"), dir.to_owned()]);
    Ok(own.chain(system).collect())
}

/// Resolves `path` inside `tree`; tells of each link, by its own path, on the way.
fn walk(
    tree: &Path,
    path: &Path,
    on_link: &mut dyn FnMut(&Path, &Path) -> Result<(), ClosureError>,
) -> Result<PathBuf, ClosureError> {
    let mut todo: Vec<PathBuf> = parts(path);
    let mut real = PathBuf::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == Path::new("..") {
            real.pop();
            continue;
        }
        let here = real.join(&part);
        let Ok(kind) = tree.join(&here).symlink_metadata() else {
            return Err(ClosureError::Missing {
                path: here,
                root: tree.to_owned(),
            });
        };
        if !kind.is_symlink() {
            real = here;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(ClosureError::Loop { path: path.into() });
        }
        let target = std::fs::read_link(tree.join(&here)).map_err(read(&here))?;
        on_link(&here, &target)?;
        if target.is_absolute() {
            real = PathBuf::new();
        }
        todo.extend(parts(&target));
    }
    Ok(real)
}

/// The components of a path that lead somewhere, last first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let wanted = |part: &Component| matches!(part, Component::Normal(_) | Component::ParentDir);
    let mut parts: Vec<_> = path
        .components()
        .filter(wanted)
        .map(|part| PathBuf::from(part.as_os_str()))
        .collect();
    parts.reverse();
    parts
}

fn read(path: &Path) -> impl FnOnce(std::io::Error) -> ClosureError {
    let path = path.to_owned();
    move |source| ClosureError::Read { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A tree with Debian's merged /usr and a copy of this machine's `true` and what it needs.
    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for path in ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc"] {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        for path in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{path}"), root.join(path)).unwrap();
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:\n").unwrap();
        std::fs::write(root.join("usr/sbin/script"), "#!/bin/sh\n").unwrap();
        symlink("a", root.join("usr/b")).unwrap();
        symlink("b", root.join("usr/a")).unwrap();
        dir
    }

    fn paths(root: &Rootfs) -> Vec<String> {
        root.iter()
            .map(|(path, _)| path.display().to_string())
            .collect()
    }

    #[test]
    fn links_on_the_way_are_part_of_it() {
        let dir = tree();
        symlink("/etc", dir.path().join("usr/config")).unwrap();
        let mut out = Rootfs::default();
        let real = Closure::new(dir.path(), &mut out)
            .file("usr/config/passwd")
            .unwrap();
        assert_eq!(real, Path::new("etc/passwd"));
        assert_eq!(paths(&out), ["etc", "etc/passwd", "usr", "usr/config"]);
    }

    #[test]
    fn a_link_cannot_lead_out_of_the_tree() {
        let dir = tree();
        symlink("../../../../etc/passwd", dir.path().join("usr/up")).unwrap();
        let mut out = Rootfs::default();
        let real = Closure::new(dir.path(), &mut out).file("usr/up").unwrap();
        assert_eq!(real, Path::new("etc/passwd"));
    }

    #[test]
    fn a_script_is_refused_by_name() {
        let dir = tree();
        let mut out = Rootfs::default();
        let error = Closure::new(dir.path(), &mut out)
            .program("usr/sbin/script")
            .unwrap_err();
        assert!(
            error.to_string().starts_with("/usr/sbin/script is no ELF"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_file_and_a_circle_are_errors() {
        let dir = tree();
        let mut out = Rootfs::default();
        let mut closure = Closure::new(dir.path(), &mut out);
        let missing = closure.file("usr/bin/lvm").unwrap_err().to_string();
        assert!(missing.starts_with("/usr/bin/lvm is not in"), "{missing}");
        let circle = closure.file("usr/a").unwrap_err();
        assert!(matches!(circle, ClosureError::Loop { .. }), "{circle}");
    }

    #[test]
    fn a_missing_library_names_who_needs_it() {
        let dir = tree();
        let own = std::env::current_exe().unwrap();
        let loader = std::fs::read(&own).unwrap();
        let loader = Elf::parse(&loader).unwrap().interpreter.unwrap().to_owned();
        let loader = dir.path().join(loader.trim_start_matches('/'));
        std::fs::copy(&own, loader).unwrap();
        let mut out = Rootfs::default();
        let error = Closure::new(dir.path(), &mut out)
            .program_from("usr/bin/own", &own)
            .unwrap_err();
        assert!(
            error.to_string().starts_with("/usr/bin/own needs lib"),
            "{error}"
        );
    }
}
