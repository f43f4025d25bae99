//! The patches, applied by Talos to the configurations that it generates.

use std::path::{Path, PathBuf};

use e2e_qemu::peer::{Module, TALOS_1_12, TALOS_1_13, TALOS_1_14};
use extension::talos::container;
use extension::talos::patches::{self, Dialect, Topic};
use extension::talos::values::Values;

use crate::judge::{self, Verdict};

pub(crate) fn talos() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../talos")
}

/// The files of both dialects, with their topics, by their paths below `talos/patches`.
pub(crate) fn files() -> Vec<(String, Dialect, Topic)> {
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

/// A configuration that patches are applied to, as the table of docs calls it.
struct Case<'a> {
    column: &'a str,
    module: &'a Module,
    contract: &'a str,
    /// The dialect that it is written in.
    dialect: Dialect,
}

fn word(verdict: &Verdict) -> String {
    match (&verdict.step, verdict.twice) {
        (Some(step), _) => format!("refused ({step})"),
        (None, false) => "applies".to_owned(),
        (None, true) => "applies*".to_owned(),
    }
}

/// A cell of the table for each file.
fn judged(case: &Case<'_>) -> Vec<String> {
    let paths: Vec<PathBuf> = files()
        .iter()
        .map(|(name, ..)| talos().join("patches").join(name))
        .collect();
    let [control, worker] = ["controlplane", "worker"]
        .map(|role| judge::patches(case.module, case.contract, role, &paths));
    let mut cells = Vec::new();
    for (((name, dialect, topic), control), worker) in files().iter().zip(&control).zip(&worker) {
        if *dialect == case.dialect {
            assert_eq!(control.step, None, "{name}: {}", control.why);
            assert!(
                worker.step.is_none() || topic.for_control_planes(),
                "{name}: {}",
                worker.why
            );
        }
        let (control, worker) = (word(control), word(worker));
        cells.push(if control == worker {
            control
        } else {
            format!("{control}; worker: {worker}")
        });
    }
    cells
}

/// The column of docs is what Talos says now, and each file of the dialect applies.
fn stands_in_the_docs(case: &Case<'_>) {
    let docs = std::fs::read_to_string(talos().join("README.md")).unwrap();
    let rows: Vec<Vec<&str>> = docs
        .lines()
        .skip_while(|line| !line.starts_with("| patch |"))
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let column = rows[0]
        .iter()
        .position(|name| *name == case.column)
        .unwrap();
    let said: Vec<(&str, &str)> = rows[2..].iter().map(|row| (row[0], row[column])).collect();
    let names: Vec<String> = files().into_iter().map(|(name, ..)| name).collect();
    let cells = judged(case);
    let now: Vec<(&str, &str)> = names
        .iter()
        .zip(&cells)
        .map(|(name, cell)| (name.as_str(), cell.as_str()))
        .collect();
    assert_eq!(said, now, "talos/README.md, column {}", case.column);
}

#[test]
fn the_table_is_true_for_talos_1_13() {
    stands_in_the_docs(&Case {
        column: "1.13",
        module: &TALOS_1_13,
        contract: "v1.13",
        dialect: Dialect::V1Alpha1,
    });
}

#[test]
#[ignore = "one version in `make test`; the others in `make test-all`"]
fn the_table_is_true_for_talos_1_12() {
    stands_in_the_docs(&Case {
        column: "1.12",
        module: &TALOS_1_12,
        contract: "v1.12",
        dialect: Dialect::V1Alpha1,
    });
}

#[test]
#[ignore = "one version in `make test`; the others in `make test-all`"]
fn the_table_is_true_for_talos_1_14() {
    for (column, contract, dialect) in [
        ("1.14, upgraded", "v1.13", Dialect::V1Alpha1),
        ("1.14, new", "v1.14", Dialect::Documents),
    ] {
        stands_in_the_docs(&Case {
            column,
            module: &TALOS_1_14,
            contract,
            dialect,
        });
    }
}

/// The watcher as a container is taken by Talos 1.14, in clusters that it made and in upgraded ones, and by no other.
#[test]
#[ignore = "one version in `make test`; the others in `make test-all`"]
fn the_container_is_taken_by_talos_1_14_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("container.yaml");
    std::fs::write(&path, container::render(&Values::default())).unwrap();
    let paths = [path];
    for (contract, role) in [
        ("v1.14", "controlplane"),
        ("v1.14", "worker"),
        ("v1.13", "controlplane"),
        ("v1.13", "worker"),
    ] {
        let verdict = &judge::patches(&TALOS_1_14, contract, role, &paths)[0];
        assert_eq!(verdict.step, None, "{contract}, {role}: {}", verdict.why);
    }
    let text = std::fs::read_to_string(&paths[0]).unwrap();
    std::fs::write(
        &paths[0],
        text.replace("profile: privileged", "profile: root"),
    )
    .unwrap();
    let verdict = &judge::patches(&TALOS_1_14, "v1.14", "worker", &paths)[0];
    assert_eq!(verdict.step.as_deref(), Some("validate"), "{}", verdict.why);
    let verdict = &judge::patches(&TALOS_1_13, "v1.13", "worker", &paths)[0];
    assert_eq!(verdict.step.as_deref(), Some("load"), "{}", verdict.why);
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
