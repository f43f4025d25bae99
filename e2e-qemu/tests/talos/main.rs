//! What is shipped for Talos, judged by Talos' own code.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod clustertool;
mod corpus;
mod judge;
mod patches;
mod schemas;
mod talhelper;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use e2e_qemu::host;
use e2e_qemu::peer::{Module, TALOS_1_12, TALOS_1_13, TALOS_1_14};
use extension::talos::build;
use extension::talos::finding::Rule;
use extension::talos::validate::{self, Target};
use extension::thin_tools::{NAMES, PROGRAM, ThinTools};
use extension::{Arch, Cache};

/// The folder with all crates and charts.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Where programs of Go modules are built.
pub(crate) fn cache() -> PathBuf {
    workspace().join(".cache")
}

/// Both say of each extension what the corpus says they do, and whoever is refused by Talos is refused by us.
fn agrees(module: &Module, talos: [u64; 3]) {
    let dir = tempfile::tempdir().unwrap();
    let cases = corpus::write(dir.path());
    let paths: Vec<_> = cases
        .iter()
        .map(|case| dir.path().join(case.name))
        .collect();
    let verdicts = judge::extensions(module, talos, &paths);
    let target = target(talos);
    let mut wrong = Vec::new();
    let mut only_ours = 0;
    for ((case, path), verdict) in cases.iter().zip(&paths).zip(&verdicts) {
        let findings = validate::path(path, &target).unwrap();
        let rules: BTreeSet<Rule> = findings.iter().map(|finding| finding.rule).collect();
        let mut expected: BTreeSet<Rule> = case.rules.iter().copied().collect();
        if case.name == corpus::NEW_IN_1_13 && talos < [1, 13, 0] {
            expected.insert(Rule::Path);
        }
        if rules != expected {
            wrong.push(format!(
                "{}: {findings:?} instead of {expected:?}",
                case.name
            ));
        }
        let ours: Vec<Rule> = rules
            .into_iter()
            .filter(|r| !r.stricter_than_talos())
            .collect();
        only_ours += usize::from(ours.is_empty() && !findings.is_empty());
        match &verdict.step {
            None if ours.is_empty() => {}
            None => wrong.push(format!(
                "{}: Talos takes it, in spite of {ours:?}",
                case.name
            )),
            Some(step)
                if ours
                    .iter()
                    .any(|rule| judge::steps(*rule).contains(&step.as_str())) => {}
            Some(step) => wrong.push(format!(
                "{}: Talos, {step}: {}; ours: {ours:?}",
                case.name, verdict.why
            )),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(only_ours > 10, "{only_ours} cases that only we refuse");
}

#[test]
fn the_validator_agrees_with_talos_1_13() {
    agrees(&TALOS_1_13, [1, 13, 9]);
}

#[test]
#[ignore = "one version in `make test`; the others in `make test-all`"]
fn the_validator_agrees_with_talos_1_12() {
    agrees(&TALOS_1_12, [1, 12, 7]);
}

#[test]
#[ignore = "one version in `make test`; the others in `make test-all`"]
fn the_validator_agrees_with_talos_1_14() {
    agrees(&TALOS_1_14, [1, 14, 1]);
}

/// Every rule that is stricter than Talos has a case that shows it, but for those of tars and images.
#[test]
fn each_rule_for_trees_has_a_case() {
    let dir = tempfile::tempdir().unwrap();
    let shown: BTreeSet<Rule> = corpus::write(dir.path())
        .iter()
        .flat_map(|case| case.rules.to_vec())
        .collect();
    let missing: Vec<Rule> = Rule::ALL
        .into_iter()
        .filter(|rule| !matches!(rule, Rule::Tar | Rule::Image) && !shown.contains(rule))
        .collect();
    assert_eq!(missing, []);
}

/// The extension with the thin tools, with a stand-in for the one program of it.
#[test]
fn the_thin_tools_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("thin-tools");
    corpus::put(&path, "manifest.yaml", &build::thin_tools_manifest());
    let programs = Path::new("rootfs/usr/local/sbin");
    corpus::program(&path, programs.join(PROGRAM).to_str().unwrap());
    for name in NAMES {
        std::os::unix::fs::symlink(PROGRAM, path.join(programs).join(name)).unwrap();
    }
    let verdicts = judge::extensions(&TALOS_1_13, [1, 13, 9], std::slice::from_ref(&path));
    assert_eq!(verdicts[0].step, None, "{}", verdicts[0].why);
    assert_eq!(validate::path(&path, &target([1, 13, 9])).unwrap(), []);
}

/// As they are built, by the code of each Talos, and by ours: the folder, the flat tar and the layout.
#[test]
#[ignore = "a minute: builds the thin tools where they are not built yet"]
fn the_thin_tools_as_they_are_built_are_taken_by_each_talos() {
    let cache = Cache::of_workspace(workspace());
    let tools = ThinTools::get(&cache, Arch::Amd64).unwrap();
    let root = build::lvm_thin_tools(&tools).unwrap();
    let name = build::LVM_THIN_TOOLS;
    let packed = build::pack(&root, Arch::Amd64, name, "lvm-thin-tools:test").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [folder, flat, layout] = ["folder", "flat.tar", "layout"].map(|one| dir.path().join(one));
    std::fs::write(&flat, &packed.tar).unwrap();
    packed.layout.write_dir(&layout).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let mut unpack = host::command("tar");
    unpack.arg("-xf").arg(&flat).arg("-C").arg(&folder);
    host::capture(&mut unpack).unwrap();
    for (module, talos) in [
        (&TALOS_1_12, [1, 12, 7]),
        (&TALOS_1_13, [1, 13, 9]),
        (&TALOS_1_14, [1, 14, 1]),
    ] {
        let verdicts = judge::extensions(module, talos, std::slice::from_ref(&folder));
        assert_eq!(verdicts[0].step, None, "{}", verdicts[0].why);
        for path in [&folder, &flat, &layout] {
            assert_eq!(validate::path(path, &target(talos)).unwrap(), []);
        }
    }
}

fn target(talos: [u64; 3]) -> Target {
    Target {
        architecture: "amd64".to_owned(),
        talos,
    }
}

/// The manifest and the service that ship, with stand-ins for the programs, are taken by Talos and by us.
#[test]
fn what_ships_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ships");
    corpus::put(&path, "manifest.yaml", &build::manifest());
    corpus::put(
        &path,
        "rootfs/usr/local/etc/containers/lvm-disk-watcher.yaml",
        build::SERVICE,
    );
    let root = Path::new("rootfs/usr/local/lib/containers/lvm-disk-watcher");
    corpus::program(&path, root.join("usr/bin/disk-watcher").to_str().unwrap());
    for talos in [[1, 12, 7], [1, 13, 9], [1, 14, 1]] {
        assert_eq!(validate::path(&path, &target(talos)).unwrap(), []);
    }
    let verdicts = judge::extensions(&TALOS_1_13, [1, 13, 9], &[path]);
    assert_eq!(verdicts[0].step, None, "{}", verdicts[0].why);
}
