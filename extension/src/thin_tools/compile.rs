//! The source built as a static program: what is changed in it, and how cargo is called.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::PROGRAM;
use crate::arch::Arch;
use crate::{host, oci};

const MANIFEST: &str = include_str!("../../thin-tools/Cargo.toml");
const LOCK: &str = include_str!("../../thin-tools/Cargo.lock");

/// Lines that are taken out: the file, and what the one line has in it. thin_migrate needs libudev, and clang to build.
const TAKEN_OUT: &[(&str, &str)] = &[
    ("src/bin/pdata_tools.rs", "thin_migrate::"),
    ("src/commands/mod.rs", "mod thin_migrate;"),
    ("src/thin/mod.rs", "mod migrate;"),
];

/// Of everything here that decides what comes out, but for Debian's revision of the package.
pub(super) fn hash(arch: Arch) -> anyhow::Result<String> {
    let rustc = host::capture(host::command("rustc").arg("--version"))?;
    let rustc = String::from_utf8_lossy(&rustc);
    let how = format!("{TAKEN_OUT:?} {FLAGS:?} {}", arch.static_target());
    let all = [MANIFEST, LOCK, &how, &rustc].join("\0");
    Ok(oci::sha256(all.as_bytes())[..16].to_owned())
}

/// Makes the unpacked source what we build.
pub(super) fn prepare(source: &Path) -> anyhow::Result<()> {
    for (file, line) in TAKEN_OUT {
        let path = source.join(file);
        let cannot = || format!("could not change {}", path.display());
        let text = std::fs::read_to_string(&path).with_context(cannot)?;
        std::fs::write(&path, without(&text, line).with_context(cannot)?).with_context(cannot)?;
    }
    for (name, text) in [("Cargo.toml", MANIFEST), ("Cargo.lock", LOCK)] {
        let path = source.join(name);
        std::fs::write(&path, text)
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(())
}

/// `text` without the one line that has `what` in it.
fn without(text: &str, what: &str) -> anyhow::Result<String> {
    let (gone, kept): (Vec<&str>, Vec<&str>) = text
        .split_inclusive('\n')
        .partition(|line| line.contains(what));
    ensure!(
        gone.len() == 1,
        "{} lines have `{what}` instead of one",
        gone.len()
    );
    Ok(kept.concat())
}

/// Rust's own linker and start files, so no compiler of the host has a part in it; the source's warnings are not ours.
const FLAGS: &[&str] = &["-Clinker=rust-lld", "-Clinker-flavor=ld.lld", "-Awarnings"];

/// Builds, and returns where the program is.
pub(super) fn build(source: &Path, target: &Path, arch: Arch) -> anyhow::Result<PathBuf> {
    let crates = crates(source, arch)?;
    let mut flags: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
    // Where it was built is not in it.
    for (here, there) in [(source, "/thin-tools"), (&crates, "/crates")] {
        flags.push(format!("--remap-path-prefix={}={there}", here.display()));
    }
    let mut cargo = host::command("cargo");
    cargo
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--bin",
            PROGRAM,
        ])
        .args(["--target", arch.static_target()])
        .current_dir(source)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    host::capture(host::die_with_caller(&mut cargo)).with_context(|| {
        format!(
            "without Rust's target: rustup target add {}",
            arch.static_target()
        )
    })?;
    Ok(target
        .join(arch.static_target())
        .join("release")
        .join(PROGRAM))
}

/// The folder that cargo has the crates' sources in, which it downloads where they are missing.
fn crates(source: &Path, arch: Arch) -> anyhow::Result<PathBuf> {
    let mut cargo = host::command("cargo");
    cargo
        .args(["metadata", "--locked", "--quiet", "--format-version=1"])
        .args(["--filter-platform", arch.static_target()])
        .current_dir(source);
    let said = host::capture(host::die_with_caller(&mut cargo))?;
    of_registry(&said).context("cargo metadata names no crate of a registry")
}

fn of_registry(metadata: &[u8]) -> Option<PathBuf> {
    let said: Value = serde_json::from_slice(metadata).ok()?;
    let mut packages = said["packages"].as_array()?.iter();
    let one = packages.find(|package| package["source"].is_string())?;
    let manifest = Path::new(one["manifest_path"].as_str()?);
    manifest.ancestors().nth(2).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_out_where_there_is_one_of_it() {
        let text = "pub mod a;\npub mod b;\npub mod c;\n";
        assert_eq!(without(text, "mod b;").unwrap(), "pub mod a;\npub mod c;\n");
        for (text, what) in [(text, "mod d;"), (text, "pub mod")] {
            assert!(without(text, what).is_err(), "{what}");
        }
    }

    #[test]
    fn crates_are_where_one_of_a_registry_is() {
        let said = r#"{"packages": [
            {"source": null, "manifest_path": "/w/source/Cargo.toml"},
            {"source": "registry+https://x", "manifest_path": "/h/registry/src/x-1/anyhow-1.0.0/Cargo.toml"}]}"#;
        let found = of_registry(said.as_bytes());
        assert_eq!(found.as_deref(), Some(Path::new("/h/registry/src/x-1")));
        assert_eq!(of_registry(b"{\"packages\": []}"), None);
    }

    #[test]
    fn every_crate_is_pinned_by_its_checksum() {
        let packages: Vec<&str> = LOCK.split("[[package]]").skip(1).collect();
        assert!(packages.len() > 20, "{}", packages.len());
        let open = packages.iter().filter(|one| !one.contains("\nchecksum = "));
        assert_eq!(open.count(), 1, "thinp itself");
    }
}
