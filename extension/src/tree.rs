//! Builds trees and keeps them.
//!
//! A tree is made in a folder of its own and renamed into place, so whatever has its final name is complete. A
//! lock file per recipe name lets one builder work while the others wait for its result. What a killed builder
//! left is removed by the next one. Nothing that a build mounts is ever seen outside it: it runs in its own
//! mount and process namespaces, so removing its folder cannot reach into the host.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

use crate::host::{self, HostError};
use crate::mirror::{Mirror, NoMirrorError};
use crate::progress::Step;
use crate::recipe::Recipe;

/// The start of the name of a folder in which a build is under way.
const BUILDING: &str = ".building-";

/// How many trees of one name are kept: the current one and the one before it, for switching branches.
const KEEP: usize = 2;

/// A tree could not be had.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// apt's files name no Debian mirror.
    #[error(transparent)]
    Mirror(#[from] NoMirrorError),
    /// A file or folder of the cache could not be handled.
    #[error("could not {what} {}", path.display())]
    File {
        /// The action, an infinitive.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The builder failed.
    #[error("could not build the {name} tree")]
    Build {
        /// The recipe's name.
        name: &'static str,
        /// What the builder said.
        #[source]
        source: HostError,
    },
}

/// The folder with built trees.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// A cache in `dir`, which is made when the first tree is built.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The cache of a workspace: `<workspace>/.cache/tree`.
    #[must_use]
    pub fn of_workspace(workspace: &Path) -> Self {
        Self::new(workspace.join(".cache/tree"))
    }

    /// Where the recipe's tree is, if it is there.
    #[must_use]
    pub fn lookup(&self, recipe: &Recipe) -> Option<PathBuf> {
        let path = self.dir.join(recipe.key());
        path.is_dir().then_some(path)
    }

    /// The recipe's tree: found, or built now, or built by someone else while we wait.
    ///
    /// # Errors
    /// No mirror, no room, no `mmdebstrap`, or a package that the mirror does not have.
    pub fn tree(&self, recipe: &Recipe) -> Result<PathBuf, TreeError> {
        let what = format!("the {} tree", recipe.name);
        self.made(recipe.name, &recipe.key(), &what, |work| {
            build(recipe, &Mirror::find(Path::new("/etc/apt"))?, work)
        })
    }

    /// The folder `key`, which begins with `name` and a dash: found, or made now, or by someone else while we wait. `make`
    /// gets a folder to work in, and returns the finished one in it.
    ///
    /// # Errors
    /// Those of `make`; the cache cannot be written.
    pub fn made<E: From<TreeError>>(
        &self,
        name: &'static str,
        key: &str,
        what: &str,
        make: impl FnOnce(&Path) -> Result<PathBuf, E>,
    ) -> Result<PathBuf, E> {
        let path = self.dir.join(key);
        if path.is_dir() {
            return Ok(path);
        }
        std::fs::create_dir_all(&self.dir).map_err(file_error("create", &self.dir))?;
        let _lock = self.lock(name)?;
        if path.is_dir() {
            return Ok(path);
        }
        self.remove_leftovers(name);
        let step = Step::start(format!("building {what}"));
        let work = tempfile::Builder::new()
            .prefix(&format!("{BUILDING}{name}-"))
            .tempdir_in(&self.dir)
            .map_err(file_error("create a folder in", &self.dir))?;
        let made = make(work.path())?;
        std::fs::rename(&made, &path).map_err(file_error("move into place", &path))?;
        self.prune(name, &path);
        step.done();
        Ok(path)
    }

    /// The recipe's tree as a squashfs image, beside the tree: found, or made now.
    ///
    /// # Errors
    /// As [`Cache::tree`], or there is no `mksquashfs`.
    pub fn squashfs(&self, recipe: &Recipe) -> Result<PathBuf, TreeError> {
        let tree = self.tree(recipe)?;
        let image = self.dir.join(format!("{}.squashfs", recipe.key()));
        let _lock = self.lock(recipe.name)?;
        if image.exists() {
            return Ok(image);
        }
        let step = Step::start(format!("packing the {} tree", recipe.name));
        let part = self.dir.join(format!("{BUILDING}{}.squashfs", recipe.name));
        remove(&part);
        // lz4 is what an emulated processor unpacks fastest.
        let mut command = host::command("mksquashfs");
        command
            .args([&tree, &part])
            .args(["-comp", "lz4", "-noappend", "-no-progress", "-quiet"]);
        host::capture(host::die_with_caller(&mut command)).map_err(|source| TreeError::Build {
            name: recipe.name,
            source,
        })?;
        std::fs::rename(&part, &image).map_err(file_error("move into place", &image))?;
        step.done();
        Ok(image)
    }

    fn lock(&self, name: &str) -> Result<Flock<File>, TreeError> {
        let path = self.dir.join(format!(".lock-{name}"));
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(file_error("open", &path))?;
        let step = Step::start(format!("waiting for another build of {name}"));
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| file_error("lock", &path)(errno.into()))?;
        drop(step);
        Ok(lock)
    }

    /// Removes what killed builds of this name left. Called with the lock held.
    fn remove_leftovers(&self, name: &str) {
        let prefix = format!("{BUILDING}{name}-");
        for path in self.entries(&prefix) {
            remove(&path);
        }
    }

    /// Removes old folders of this name but for `current` and the newest few. Called with the lock held.
    fn prune(&self, name: &str, current: &Path) {
        let image_of = |path: &Path| path.with_extension("squashfs");
        let mut trees: Vec<(std::time::SystemTime, PathBuf)> = self
            .entries(&format!("{name}-"))
            .into_iter()
            .filter(|path| path.is_dir())
            .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
            .collect();
        trees.sort();
        trees.retain(|(_, path)| path != current);
        let old = trees.len().saturating_sub(KEEP - 1);
        for (_, path) in &trees[..old] {
            remove(&image_of(path));
            remove(path);
        }
    }

    fn entries(&self, prefix: &str) -> Vec<PathBuf> {
        std::fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path())
            .collect()
    }
}

/// Builds the recipe in `work` and returns the root of the finished tree in it.
fn build(recipe: &Recipe, mirror: &Mirror, work: &Path) -> Result<PathBuf, TreeError> {
    let root = work.join("root");
    let script = |name: &str, text: &str| {
        let path = work.join(name);
        std::fs::write(&path, text).map_err(file_error("write", &path))?;
        Ok::<_, TreeError>(path)
    };
    let run = |command: &mut Command| {
        host::capture(host::die_with_caller(command)).map_err(|source| TreeError::Build {
            name: recipe.name,
            source,
        })
    };
    let list = script("packages.sh", recipe.list)?;
    // A session of its own in every sense: killed with us, its mounts unseen by anyone else.
    run(host::command("unshare")
        .args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"])
        .args(mmdebstrap(recipe, mirror, &list, &root))
        .env("TMPDIR", work))?;
    // After mmdebstrap, not as its hooks: those run with the host's /dev mounted in the tree.
    for (n, text) in recipe.finish.iter().enumerate() {
        let path = script(&format!("finish-{n}.sh"), text)?;
        run(host::command("sh").arg(&path).arg(&root))?;
    }
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&root, open).map_err(file_error("open up", &root))?;
    Ok(root)
}

/// The builder's arguments. `extract` unpacks without running maintainer scripts: a fifth of the time, and the
/// scripts of the recipe do what is needed of them.
fn mmdebstrap(recipe: &Recipe, mirror: &Mirror, list: &Path, root: &Path) -> Vec<String> {
    vec![
        "mmdebstrap".to_owned(),
        "--quiet".to_owned(),
        "--variant=extract".to_owned(),
        "--format=directory".to_owned(),
        // A mirror that is busy or just being updated answers a little later.
        "--aptopt=Acquire::Retries \"8\"".to_owned(),
        format!("--architectures={}", recipe.arch.name()),
        format!("--include={}", recipe.packages.join(",")),
        format!("--extract-hook=sh {} \"$1\"", list.display()),
        recipe.suite.to_owned(),
        root.display().to_string(),
        mirror.source_line(recipe.suite),
    ]
}

/// Best effort: what cannot be removed now is tried again by the next build.
fn remove(path: &Path) {
    let _ = match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
}

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> TreeError {
    let path = path.to_owned();
    move |source| TreeError::File { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_gets_packages_hooks_and_source() {
        let mirror = Mirror {
            uri: "http://mirror.example/debian".to_owned(),
        };
        let argv = mmdebstrap(
            &Recipe::kernel(),
            &mirror,
            Path::new("/w/packages.sh"),
            Path::new("/w/root"),
        );
        assert!(argv.contains(&"--include=busybox-static,linux-image-amd64".to_owned()));
        assert!(argv.contains(&"--extract-hook=sh /w/packages.sh \"$1\"".to_owned()));
        let last = &argv[argv.len() - 3..];
        assert_eq!(last[0], "trixie");
        assert_eq!(last[1], "/w/root");
        assert!(last[2].ends_with("http://mirror.example/debian trixie main"));
    }

    #[test]
    fn a_cut_build_is_not_a_tree_and_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let leftover = dir.path().join(".building-node-x1");
        std::fs::create_dir_all(leftover.join("root/etc")).unwrap();
        assert_eq!(cache.lookup(&Recipe::node()), None);
        cache.remove_leftovers("node");
        assert!(!leftover.exists());
    }

    #[test]
    fn pruning_keeps_the_current_tree_and_one_more_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let recipe = Recipe::node();
        for name in ["node-1", "node-2", "node-3", "guest-1", &recipe.key()] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let old = std::time::SystemTime::UNIX_EPOCH;
        File::open(dir.path().join("node-2"))
            .unwrap()
            .set_modified(old)
            .unwrap();
        std::fs::write(dir.path().join("node-2.squashfs"), "").unwrap();
        cache.prune(recipe.name, &dir.path().join(recipe.key()));
        assert!(!dir.path().join("node-2.squashfs").exists());
        assert!(dir.path().join(recipe.key()).exists());
        assert!(dir.path().join("guest-1").exists());
        assert_eq!(cache.entries("node-").len(), KEEP);
    }

    #[test]
    fn a_tree_that_is_there_is_taken_without_a_build() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(Recipe::guest().key());
        std::fs::create_dir(&path).unwrap();
        assert_eq!(Cache::new(dir.path()).tree(&Recipe::guest()).unwrap(), path);
    }
}
