//! The Rust crates that are linked into programs of ours, as cargo says.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};

use super::debian::escaped;
use super::sbom::{Licence, Package};
use crate::host;

/// Which crates' programs are in something, and for which target they were built.
#[derive(Debug, Clone, Copy)]
pub struct Linked<'a> {
    /// Cargo's names.
    pub crates: &'a [&'a str],
    /// For example `x86_64-unknown-linux-gnu`.
    pub target: &'a str,
}

/// What is linked, in order of the names: crates of Cargo.lock without those that only build or test, and Rust's own library.
///
/// # Errors
/// Cargo cannot say, or says it in another way.
pub fn packages(workspace: &Path, linked: Linked<'_>) -> anyhow::Result<Vec<Package>> {
    let mut cargo = host::command("cargo");
    cargo
        .args(["tree", "--locked", "--prefix=none", "--no-dedupe"])
        .args(["--edges=no-build,no-dev,no-proc-macro", "--format={p}|{l}"])
        .args(["--target", linked.target])
        .current_dir(workspace);
    for name in linked.crates {
        cargo.args(["--package", name]);
    }
    let tree = String::from_utf8(host::capture(&mut cargo)?)?;
    let mut rustc = host::command("rustc");
    let rustc = host::capture(rustc.arg("--version").current_dir(workspace))?;
    let mut all = of_tree(&tree)?;
    all.push(standard_library(&String::from_utf8(rustc)?)?);
    Ok(all)
}

/// Lines of `NAME vVERSION|LICENCE`; one of ours has its folder behind the version, which says nothing elsewhere.
fn of_tree(tree: &str) -> anyhow::Result<Vec<Package>> {
    let mut packages = BTreeMap::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let unknown = || format!("cargo tree said {line:?}");
        let (about, licence) = line.split_once('|').with_context(unknown)?;
        let mut words = about.split(' ');
        let name = words.next().with_context(unknown)?;
        let version = words.next().and_then(|word| word.strip_prefix('v'));
        let version = version.with_context(unknown)?;
        let of = (name.to_owned(), version.to_owned());
        packages.insert(of, package(name, version, licence));
    }
    ensure!(!packages.is_empty(), "cargo tree names no crate");
    Ok(packages.into_values().collect())
}

fn package(name: &str, version: &str, licence: &str) -> Package {
    Package {
        id: format!("crate-{name}-{version}"),
        name: name.to_owned(),
        version: version.to_owned(),
        supplier: None,
        sha256: None,
        licence: match licence {
            "" => Licence::Unknown,
            // As it was written before Cargo took SPDX's expressions.
            old => Licence::Expression(old.replace(" / ", "/").replace('/', " OR ")),
        },
        purl: format!("pkg:cargo/{}@{}", escaped(name), escaped(version)),
    }
}

/// By what `rustc --version` says. The licence is of its COPYRIGHT file.
fn standard_library(rustc: &str) -> anyhow::Result<Package> {
    let version = rustc.split(' ').nth(1);
    let version = version.with_context(|| format!("rustc said {rustc:?}"))?;
    Ok(Package {
        id: "rust-std".to_owned(),
        purl: format!("pkg:generic/rust-std@{}", escaped(version)),
        ..package("rust-std", version, "MIT OR Apache-2.0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_is_there_once_and_folders_of_this_machine_are_not() {
        let tree = "basalt-csi v0.1.0 (/home/me/csi)|Apache-2.0\nanyhow v1.0.1|MIT/Apache-2.0\n\n\
                    anyhow v1.0.1|MIT/Apache-2.0\nanyhow v2.0.0+x|\n";
        let all = of_tree(tree).unwrap();
        let told: Vec<_> = all
            .iter()
            .map(|one| (one.name.as_str(), one.version.as_str(), &one.licence))
            .collect();
        let either = Licence::Expression("MIT OR Apache-2.0".to_owned());
        let apache = Licence::Expression("Apache-2.0".to_owned());
        assert_eq!(
            told,
            [
                ("anyhow", "1.0.1", &either),
                ("anyhow", "2.0.0+x", &Licence::Unknown),
                ("basalt-csi", "0.1.0", &apache),
            ]
        );
        assert!(!format!("{all:?}").contains("/home"));
        assert_eq!(all[1].purl, "pkg:cargo/anyhow@2.0.0%2Bx");
    }

    #[test]
    fn words_that_nobody_knows_are_an_error() {
        for tree in ["", "anyhow v1", "anyhow 1.0|MIT"] {
            assert!(of_tree(tree).is_err(), "{tree}");
        }
        assert!(standard_library("rustc").is_err());
    }

    #[test]
    fn cargo_is_asked_for_what_is_linked_and_not_for_what_builds_it() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let linked = Linked {
            crates: &["basalt-disk-watcher"],
            target: "x86_64-unknown-linux-gnu",
        };
        let all = packages(workspace, linked).unwrap();
        let has = |name: &str| all.iter().any(|one| one.name == name);
        for linked in ["basalt-disk-watcher", "basalt-lvmd", "tokio", "rust-std"] {
            assert!(has(linked), "{linked}");
        }
        for other in ["serde_derive", "protox", "tempfile", "basalt-csi"] {
            assert!(!has(other), "{other}");
        }
    }
}
