//! The patches, applied by Talos to the configurations that it generates.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use e2e_qemu::peer::{Module, TALOS_1_12, TALOS_1_13};
use extension::talos::patches::{self, Dialect, Topic, Values};

use crate::judge::{self, Verdict};

fn talos() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../talos")
}

/// The files of both dialects, with their topics, by their paths below `talos/patches`.
fn files() -> Vec<(String, Dialect, Topic)> {
    let mut files = Vec::new();
    for dialect in Dialect::ALL {
        for topic in Topic::ALL {
            if patches::render(&Values::default(), topic, dialect).is_some() {
                let name = format!("{}/{}", dialect.talos(), topic.file());
                files.push((name, dialect, topic));
            }
        }
    }
    files
}

/// What stands in the repository is what `extension render` prints, and nothing else stands there.
#[test]
fn the_files_are_what_is_rendered() {
    let dir = talos().join("patches");
    let mut there = Vec::new();
    for dialect in Dialect::ALL {
        for entry in std::fs::read_dir(dir.join(dialect.talos())).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            there.push(format!("{}/{name}", dialect.talos()));
        }
    }
    there.sort();
    let mut expected: Vec<String> = files().into_iter().map(|(name, ..)| name).collect();
    expected.sort();
    assert_eq!(there, expected);
    for (name, dialect, topic) in files() {
        let text = std::fs::read_to_string(dir.join(&name)).unwrap();
        let rendered = patches::render(&Values::default(), topic, dialect).unwrap();
        assert_eq!(text, rendered, "{name}: run `extension render --out`");
    }
}

fn word(verdict: &Verdict) -> String {
    match (&verdict.step, verdict.twice) {
        (Some(step), _) => format!("refused ({step})"),
        (None, false) => "applies".to_owned(),
        (None, true) => "applies; twice changes it".to_owned(),
    }
}

/// What the judge says of every file, as a table.
fn table(module: &Module, contract: &str) -> String {
    let names: Vec<String> = files().into_iter().map(|(name, ..)| name).collect();
    let paths: Vec<PathBuf> = names
        .iter()
        .map(|name| talos().join("patches").join(name))
        .collect();
    let [control, worker] =
        ["controlplane", "worker"].map(|role| judge::patches(module, contract, role, &paths));
    let mut table = format!("| {contract} | control plane | worker |\n|---|---|---|\n");
    for ((name, control), worker) in names.iter().zip(&control).zip(&worker) {
        let _ = writeln!(table, "| {name} | {} | {} |", word(control), word(worker));
    }
    table
}

/// The table of docs is what Talos says now, and each file of the dialect applies.
fn stands_in_the_docs(module: &Module, contract: &str) {
    let table = table(module, contract);
    for line in table.lines().filter(|line| line.starts_with("| 1.13/")) {
        assert!(!line.contains("refused"), "{line}");
    }
    let docs = std::fs::read_to_string(talos().join("README.md")).unwrap();
    assert!(
        docs.contains(&table),
        "talos/README.md does not have this table:\n{table}"
    );
}

#[test]
fn the_table_for_talos_1_13_is_true() {
    stands_in_the_docs(&TALOS_1_13, "v1.13");
}

#[test]
#[ignore = "one version in `make test`; the others in `make test-all`"]
fn the_table_for_talos_1_12_is_true() {
    stands_in_the_docs(&TALOS_1_12, "v1.12");
}

/// A judge that takes everything could not tell.
#[test]
fn a_patch_with_a_misspelt_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("modules.yaml");
    let good = patches::render(&Values::default(), Topic::Modules, Dialect::V1Alpha1).unwrap();
    std::fs::write(&path, good.replace("modules:", "moduls:")).unwrap();
    let verdicts = judge::patches(&TALOS_1_13, "v1.13", "worker", &[path]);
    assert_eq!(
        verdicts[0].step.as_deref(),
        Some("load"),
        "{}",
        verdicts[0].why
    );
}
