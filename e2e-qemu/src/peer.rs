//! The peers of lvmd's differential test: upstream's own lvmd, and a replayer that speaks
//! through upstream's own client. Both are Go programs, built here from the module `peer/`.
//!
//! The module's files are part of this program, so what is built is what was reviewed,
//! wherever the program runs. A build is kept under the hash of those files; `current`
//! points to the one that was asked for last. The guest test `guest_peer` of lvmd looks there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use extension::progress::Step;
use sha2::{Digest, Sha256};

/// The package of upstream's lvmd; its version is in `peer/go.mod`.
const UPSTREAM: &str = "github.com/topolvm/topolvm/cmd/lvmd";

/// The module, file by file.
const MODULE: [(&str, &str); 6] = [
    ("go.mod", include_str!("../peer/go.mod")),
    ("go.sum", include_str!("../peer/go.sum")),
    ("main.go", include_str!("../peer/main.go")),
    ("step.go", include_str!("../peer/step.go")),
    ("call.go", include_str!("../peer/call.go")),
    ("player.go", include_str!("../peer/player.go")),
];

/// The built programs. Both are static.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerBinaries {
    /// Upstream's lvmd.
    pub lvmd: PathBuf,
    /// `replay SOCKET SCRIPT.json`.
    pub replay: PathBuf,
}

impl PeerBinaries {
    fn inside(dir: &Path) -> Self {
        Self {
            lvmd: dir.join("lvmd"),
            replay: dir.join("replay"),
        }
    }

    fn exist(&self) -> bool {
        self.lvmd.is_file() && self.replay.is_file()
    }
}

/// Builds the peers into `cache`, or finds them there. `command` starts a program by its
/// name; it is called with `go`. A second build waits for the first.
///
/// # Errors
/// Go is not installed or fails; `cache` cannot be written.
pub fn build(cache: &Path, command: impl Fn(&str) -> Command) -> Result<PeerBinaries> {
    fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let key = key();
    let kept = cache.join(&key);
    let binaries = PeerBinaries::inside(&kept);
    if !binaries.exist() {
        let lock = File::create(cache.join("lock")).context("cannot make the build's lock")?;
        lock.lock().context("cannot wait for another build")?;
        // The build that was waited for may have been this one.
        if !binaries.exist() {
            compile(cache, &kept, command)?;
        }
    }
    point(cache, &key)?;
    Ok(binaries)
}

/// Compiles both programs beside their place and moves them there in one step.
fn compile(cache: &Path, kept: &Path, command: impl Fn(&str) -> Command) -> Result<()> {
    let step = Step::start("building upstream's lvmd and the replayer with go");
    let work = tempfile::tempdir_in(cache).context("cannot make a folder to build in")?;
    let (source, out) = (work.path().join("source"), work.path().join("out"));
    fs::create_dir(&source)?;
    fs::create_dir(&out)?;
    for (name, text) in MODULE {
        fs::write(source.join(name), text)?;
    }
    let done = command("go")
        .args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(&out)
        .args(["-buildvcs=false", ".", UPSTREAM])
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
    if !PeerBinaries::inside(&out).exist() {
        bail!("go build made no lvmd or no replay in {}", out.display());
    }
    // A half-empty folder can be there only if somebody took files out of it.
    if kept.exists() {
        fs::remove_dir_all(kept)?;
    }
    fs::rename(&out, kept)?;
    step.done();
    Ok(())
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

/// The upstream version and a hash of everything the build is made from.
fn key() -> String {
    let mut hash = Sha256::new();
    for (name, text) in MODULE {
        hash.update(name);
        hash.update([0]);
        hash.update(text);
        hash.update([0]);
    }
    let hash: String = hash
        .finalize()
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("{}-{hash}", upstream_version())
}

/// The version that `go.mod` requires of upstream.
fn upstream_version() -> &'static str {
    MODULE[0]
        .1
        .lines()
        .find_map(|line| line.trim().strip_prefix("github.com/topolvm/topolvm "))
        .unwrap_or("unknown")
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
        let built: Vec<_> = std::thread::scope(|scope| {
            let builds: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| build(&cache, fake_go(&log, BUILDS)).unwrap()))
                .collect();
            builds.into_iter().map(|b| b.join().unwrap()).collect()
        });
        assert_eq!(built[0], built[1]);
        assert!(built[0].exist());
        assert_eq!(fs::read_to_string(&log).unwrap(), "run\n");
        assert!(PeerBinaries::inside(&cache.join("current")).exist());
        assert!(
            upstream_version().starts_with("v0."),
            "{}",
            upstream_version()
        );
    }

    #[test]
    fn a_failed_build_leaves_nothing_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let fails = fake_go(&dir.path().join("log"), "echo no such module >&2; exit 1");
        let error = build(&cache, fails).unwrap_err().to_string();
        assert!(error.contains("no such module"), "{error}");
        let left: Vec<_> = fs::read_dir(&cache)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["lock"]);
    }
}
