//! An earlier version of disk-watcher, built out of this repository's own history, in an image under a tag of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use extension::progress::Step;

use crate::host;

/// The first version that does what the DiskClasses of a cluster say, of 2026-11-21: its journal says nothing of its
/// machine, and it knows no Lease.
pub const COMMIT: &str = "5086cc4342d447ff7a7c0dae14b501ecaba2be8c";
/// Its image.
pub const IMAGE: &str = "basalt.test/basalt:older";

/// The folder with its `disk-watcher`, built once and kept in `target/older`. It needs the machine's own network for
/// crates that the newest version does not have.
///
/// # Errors
/// The history is not there, or cargo fails.
pub fn programs(workspace: &Path) -> Result<PathBuf> {
    let dir = workspace.join("target/older").join(COMMIT);
    let (programs, source, target) = (dir.join("programs"), dir.join("source"), dir.join("target"));
    if programs.join("disk-watcher").exists() {
        return Ok(programs);
    }
    let step = Step::start("building the earlier disk-watcher");
    fs::create_dir_all(&source).with_context(|| format!("cannot make {}", source.display()))?;
    let archive = dir.join("source.tar");
    let mut git = host::command("git");
    git.current_dir(workspace)
        .args(["archive", "--format=tar", "--output"])
        .arg(&archive)
        .arg(COMMIT);
    host::capture(&mut git).with_context(|| {
        format!(
            "{} has no commit {COMMIT}, of which the earlier disk-watcher is built: clone it with its whole history \
             (git fetch --unshallow)",
            workspace.display()
        )
    })?;
    let mut unpack = host::command("tar");
    unpack.arg("-xf").arg(&archive).arg("-C").arg(&source);
    host::capture(&mut unpack)?;
    let mut build = host::command("cargo");
    build
        .args([
            "build",
            "--locked",
            "--bins",
            "--package",
            "basalt-disk-watcher",
        ])
        .env("CARGO_TARGET_DIR", &target)
        // Its own toolchain, not that of the cargo that runs us.
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(&source);
    host::capture(&mut build).context("cannot build the earlier disk-watcher")?;
    let built = dir.join("built");
    if built.exists() {
        fs::remove_dir_all(&built)?;
    }
    fs::create_dir_all(&built)?;
    fs::copy(
        target.join("debug/disk-watcher"),
        built.join("disk-watcher"),
    )?;
    // The image has the driver too; in this one it is today's, and nobody starts it.
    let driver = workspace.join("target/debug/hypertopolvm");
    std::os::unix::fs::symlink(driver, built.join("hypertopolvm"))?;
    fs::rename(&built, &programs)?;
    for done in [&source, &target] {
        fs::remove_dir_all(done)?;
    }
    fs::remove_file(archive)?;
    step.done();
    Ok(programs)
}
