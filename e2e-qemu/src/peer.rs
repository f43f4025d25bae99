//! The Go programs that guest tests run beside ours, each built here from a module of its own.
//!
//! [`LVMD`] has upstream's own lvmd, and a replayer that speaks through upstream's own client;
//! [`SANITY`] has csi-sanity. The others are for tests of the host. A module's files are part of this program, so what is built is what
//! was reviewed, wherever the program runs. A build is kept under the hash of those files;
//! `current` points to the one that was asked for last, and there the guest tests look.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use extension::progress::Step;
use sha2::{Digest, Sha256};

use crate::host;

/// A Go module and what is built from it.
#[derive(Debug, Clone, Copy)]
pub struct Module {
    /// The folder under the cache.
    pub name: &'static str,
    /// The guest tests that need it: what their suites are called.
    pub suite: &'static str,
    pub(crate) what: &'static str,
    /// The module's files, by name.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// What is built, as `go build` names it.
    pub(crate) packages: &'static [&'static str],
    /// The programs that come out.
    pub(crate) binaries: &'static [&'static str],
    /// The module whose version stands in the build's name.
    pub(crate) upstream: &'static str,
    /// What `go build` gets beside them: `-tags=...`.
    pub(crate) flags: &'static [&'static str],
    /// Variables to set to the version, as a linker's `-X` names them.
    pub(crate) version_in: &'static [&'static str],
}

/// Upstream's lvmd, and `replay SOCKET SCRIPT.json`.
pub const LVMD: Module = Module {
    name: "peer",
    suite: "guest_peer",
    what: "upstream's lvmd and the replayer",
    files: &[
        ("go.mod", include_str!("../peer/go.mod")),
        ("go.sum", include_str!("../peer/go.sum")),
        ("main.go", include_str!("../peer/main.go")),
        ("step.go", include_str!("../peer/step.go")),
        ("call.go", include_str!("../peer/call.go")),
        ("player.go", include_str!("../peer/player.go")),
    ],
    packages: &[".", "github.com/topolvm/topolvm/cmd/lvmd"],
    binaries: &["lvmd", "replay"],
    upstream: "github.com/topolvm/topolvm",
    flags: &[],
    version_in: &[],
};

/// csi-sanity.
pub const SANITY: Module = Module {
    name: "sanity",
    suite: "guest_sanity",
    what: "csi-sanity",
    files: &[
        ("go.mod", include_str!("../sanity/go.mod")),
        ("go.sum", include_str!("../sanity/go.sum")),
        ("tools.go", include_str!("../sanity/tools.go")),
    ],
    packages: &["github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"],
    binaries: &["csi-sanity"],
    upstream: "github.com/kubernetes-csi/csi-test/v5",
    flags: &[],
    version_in: &[],
};

/// kubeconform, which holds manifests to JSON schemas, for the scenario of the charts.
pub const KUBECONFORM: Module = Module {
    name: "kubeconform",
    suite: "",
    what: "kubeconform",
    files: &[
        ("go.mod", include_str!("../kubernetes/kubeconform/go.mod")),
        ("go.sum", include_str!("../kubernetes/kubeconform/go.sum")),
        (
            "tools.go",
            include_str!("../kubernetes/kubeconform/tools.go"),
        ),
    ],
    packages: &["github.com/yannh/kubeconform/cmd/kubeconform"],
    binaries: &["kubeconform"],
    upstream: "github.com/yannh/kubeconform",
    flags: &[],
    version_in: &[],
};

/// `judge`: the code of Talos 1.13, asked about extensions and patches, for the tests of what is shipped for it.
pub const TALOS_1_13: Module = Module {
    name: "talos-1.13",
    what: "the judge of Talos 1.13",
    files: &[
        ("go.mod", include_str!("../talos/1.13/go.mod")),
        ("go.sum", include_str!("../talos/1.13/go.sum")),
        ("main.go", include_str!("../talos/main.go")),
        ("config.go", include_str!("../talos/config.go")),
    ],
    upstream: "github.com/siderolabs/talos/pkg/machinery",
    packages: &["."],
    binaries: &["judge"],
    suite: "",
    flags: &[],
    version_in: &[],
};

/// The same with the code of Talos 1.12.
pub const TALOS_1_12: Module = Module {
    name: "talos-1.12",
    what: "the judge of Talos 1.12",
    files: &[
        ("go.mod", include_str!("../talos/1.12/go.mod")),
        ("go.sum", include_str!("../talos/1.12/go.sum")),
        ("main.go", include_str!("../talos/main.go")),
        ("config.go", include_str!("../talos/config.go")),
    ],
    ..TALOS_1_13
};

/// The same with the code of Talos 1.14.
pub const TALOS_1_14: Module = Module {
    name: "talos-1.14",
    what: "the judge of Talos 1.14",
    files: &[
        ("go.mod", include_str!("../talos/1.14/go.mod")),
        ("go.sum", include_str!("../talos/1.14/go.sum")),
        ("main.go", include_str!("../talos/main.go")),
        ("config.go", include_str!("../talos/config.go")),
    ],
    ..TALOS_1_13
};

/// Talos' imager, which merges extensions into its initramfs, for the test of what is released.
pub const IMAGER_1_13: Module = Module {
    name: "imager-1.13",
    what: "the imager of Talos 1.13",
    files: &[
        ("go.mod", include_str!("../talos/imager/1.13/go.mod")),
        ("go.sum", include_str!("../talos/imager/1.13/go.sum")),
        ("main.go", include_str!("../talos/imager/main.go")),
    ],
    upstream: "github.com/siderolabs/talos",
    packages: &["."],
    binaries: &["imager"],
    suite: "",
    flags: &[],
    version_in: &[],
};

/// The same of Talos 1.12.
pub const IMAGER_1_12: Module = Module {
    name: "imager-1.12",
    what: "the imager of Talos 1.12",
    files: &[
        ("go.mod", include_str!("../talos/imager/1.12/go.mod")),
        ("go.sum", include_str!("../talos/imager/1.12/go.sum")),
        ("main.go", include_str!("../talos/imager/main.go")),
    ],
    ..IMAGER_1_13
};

/// The same of Talos 1.14.
pub const IMAGER_1_14: Module = Module {
    name: "imager-1.14",
    what: "the imager of Talos 1.14",
    files: &[
        ("go.mod", include_str!("../talos/imager/1.14/go.mod")),
        ("go.sum", include_str!("../talos/imager/1.14/go.sum")),
        ("main.go", include_str!("../talos/imager/main.go")),
    ],
    ..IMAGER_1_13
};

/// TalHelper, for the tests of what is shipped for it.
pub const TALHELPER: Module = Module {
    name: "talhelper",
    what: "TalHelper",
    files: &[
        ("go.mod", include_str!("../talos/talhelper/go.mod")),
        ("go.sum", include_str!("../talos/talhelper/go.sum")),
        ("tools.go", include_str!("../talos/talhelper/tools.go")),
    ],
    upstream: "github.com/budimanjojo/talhelper/v3",
    packages: &["github.com/budimanjojo/talhelper/v3"],
    binaries: &["talhelper"],
    suite: "",
    flags: &[],
    version_in: &[],
};

/// kustomize, for the test of the drop-in for ClusterTool.
pub const KUSTOMIZE: Module = Module {
    name: "kustomize",
    what: "kustomize",
    files: &[
        ("go.mod", include_str!("../talos/kustomize/go.mod")),
        ("go.sum", include_str!("../talos/kustomize/go.sum")),
        ("tools.go", include_str!("../talos/kustomize/tools.go")),
    ],
    upstream: "sigs.k8s.io/kustomize/kustomize/v5",
    packages: &["sigs.k8s.io/kustomize/kustomize/v5"],
    binaries: &["kustomize"],
    suite: "",
    flags: &[],
    version_in: &[],
};

/// What guest tests need.
pub const MODULES: [Module; 2] = [LVMD, SANITY];

impl Module {
    fn is_built(&self, dir: &Path) -> bool {
        self.binaries.iter().all(|name| dir.join(name).is_file())
    }

    /// Builds the programs, static, into `cache`, or finds them there; gives the folder that they are in. A second build waits
    /// for the first.
    ///
    /// # Errors
    /// Go is not installed or fails; `cache` cannot be written.
    pub fn build(&self, cache: &Path) -> Result<PathBuf> {
        self.build_by(cache, |program| host::command(program))
    }

    /// The same; `command` starts a program by its name, and is called with `go`.
    fn build_by(&self, cache: &Path, command: impl Fn(&str) -> Command) -> Result<PathBuf> {
        let cache = cache.join(self.name);
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let key = self.key();
        let kept = cache.join(&key);
        if !self.is_built(&kept) {
            let lock = File::create(cache.join("lock")).context("cannot make the build's lock")?;
            lock.lock().context("cannot wait for another build")?;
            // The build that was waited for may have been this one.
            if !self.is_built(&kept) {
                self.compile(&cache, &kept, command)?;
            }
        }
        point(&cache, &key)?;
        Ok(kept)
    }

    /// Compiles the programs beside their place and moves them there in one step.
    fn compile(&self, cache: &Path, kept: &Path, command: impl Fn(&str) -> Command) -> Result<()> {
        let step = Step::start(format!("building {} with go", self.what));
        let work = tempfile::tempdir_in(cache).context("cannot make a folder to build in")?;
        let (source, out) = (work.path().join("source"), work.path().join("out"));
        fs::create_dir(&source)?;
        fs::create_dir(&out)?;
        for (name, text) in self.files {
            fs::write(source.join(name), text)?;
        }
        let done = command("go")
            .args(["build", "-trimpath", &self.ldflags(), "-o"])
            .arg(&out)
            .arg("-buildvcs=false")
            .args(self.flags)
            .args(self.packages)
            .current_dir(&source)
            .env("CGO_ENABLED", "0")
            .output()
            .context("cannot start go; install Go 1.25.0 or newer")?;
        if !done.status.success() {
            bail!(
                "go build failed ({}): {}",
                done.status,
                String::from_utf8_lossy(&done.stderr).trim()
            );
        }
        if !self.is_built(&out) {
            bail!(
                "go build did not make all of {:?} in {}",
                self.binaries,
                out.display()
            );
        }
        // A half-empty folder can be there only if somebody took files out of it.
        if kept.exists() {
            fs::remove_dir_all(kept)?;
        }
        fs::rename(&out, kept)?;
        step.done();
        Ok(())
    }

    fn ldflags(&self) -> String {
        let version = self.version();
        let set = |name| format!(" -X {name}={version}");
        format!(
            "-ldflags=-s -w{}",
            self.version_in.iter().map(set).collect::<String>()
        )
    }

    /// The folder with the programs that were built last.
    #[must_use]
    pub fn current(&self, cache: &Path) -> PathBuf {
        cache.join(self.name).join("current")
    }

    /// The upstream version and a hash of everything the build is made from.
    fn key(&self) -> String {
        let mut hash = Sha256::new();
        for (name, text) in self.files {
            hash.update(name);
            hash.update([0]);
            hash.update(text);
            hash.update([0]);
        }
        for word in self.flags.iter().chain(self.version_in) {
            hash.update(word);
            hash.update([0]);
        }
        let hash = hash.finalize();
        let hash: String = hash.iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!("{}-{hash}", self.version())
    }

    /// The version that `go.mod` requires of upstream.
    fn version(&self) -> &'static str {
        let mut lines = self
            .files
            .iter()
            .find(|(name, _)| *name == "go.mod")
            .map_or("", |f| f.1)
            .lines();
        let version = lines.find_map(|line| {
            let line = line.trim().trim_start_matches("require ");
            line.strip_prefix(self.upstream)?.strip_prefix(' ')
        });
        version.unwrap_or("unknown")
    }
}

/// Lets `current` point to the build of this key, in one step.
fn point(cache: &Path, key: &str) -> Result<()> {
    let current = cache.join("current");
    if fs::read_link(&current).is_ok_and(|target| target == Path::new(key)) {
        return Ok(());
    }
    let next = tempfile::tempdir_in(cache)?;
    let link = next.path().join("current");
    std::os::unix::fs::symlink(key, &link)?;
    fs::rename(link, current).context("cannot point `current` to the build")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `go` that writes both programs where it is told to, and a line for each run.
    fn fake_go(log: &Path, script: &str) -> impl Fn(&str) -> Command + use<> {
        let (log, script) = (log.to_owned(), script.to_owned());
        move |program| {
            assert_eq!(program, "go");
            #[expect(clippy::disallowed_methods, reason = "stands for go in this test")]
            let mut command = Command::new("sh");
            command.args(["-euc", &script, "go"]).env("LOG", &log);
            command
        }
    }

    const BUILDS: &str = r#"test -s go.mod; test -s go.sum; test "$CGO_ENABLED" = 0
        test "$4" = -o; echo run >>"$LOG"; sleep 0.1; echo x >"$5/lvmd"; echo x >"$5/replay""#;

    #[test]
    fn two_builds_at_once_run_go_once() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, log) = (dir.path().join("cache"), dir.path().join("log"));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| LVMD.build_by(&cache, fake_go(&log, BUILDS)).unwrap());
            }
        });
        assert_eq!(fs::read_to_string(&log).unwrap(), "run\n");
        assert!(LVMD.is_built(&cache.join("peer/current")));
    }

    #[test]
    fn a_build_is_named_after_the_version_its_module_requires() {
        for (module, version) in [(LVMD, "v0."), (SANITY, "v5.")] {
            let key = module.key();
            assert!(key.starts_with(version), "{key}");
        }
    }

    #[test]
    fn a_failed_build_leaves_nothing_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let fails = fake_go(&dir.path().join("log"), "echo no such module >&2; exit 1");
        let error = SANITY.build_by(&cache, fails).unwrap_err().to_string();
        assert!(error.contains("no such module"), "{error}");
        let left: Vec<_> = fs::read_dir(cache.join("sanity"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["lock"]);
    }
}
