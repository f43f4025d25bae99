//! docs/faults.md speaks of every fault, and it and docs/upstream-tests.md name tests that there are.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

use e2e_qemu::scenario;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The rows of the table, each as its cells.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(workspace().join("docs/faults.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| F"));
    rows.map(|row| row.split('|').map(|c| c.trim().to_owned()).collect())
        .collect()
}

/// Whether a scenario or a test function has this full name, as `e2e-qemu test --list --all`
/// and `cargo test` print them.
fn exists(name: &str) -> bool {
    match name.strip_prefix("scenario::") {
        Some(scenario) => scenario::all().iter().any(|s| s.name == scenario),
        None => body(name).is_some(),
    }
}

/// The body of the test function of this full name.
fn body(name: &str) -> Option<String> {
    let mut parts: Vec<&str> = name.split("::").collect();
    let function = parts.pop()?;
    let (krate, modules) = parts.split_first()?;
    let folder = match modules.first() {
        Some(target) if target.starts_with("guest") || *target == "apiserver" => "tests",
        _ => "src",
    };
    let mut path: PathBuf = workspace().join(krate).join(folder);
    path.extend(modules);
    let inline = modules.last() == Some(&"tests");
    let files = [
        path.with_extension("rs"),
        path.join("main.rs"),
        // `mod tests` in the file of the module itself.
        path.parent().unwrap().with_extension("rs"),
    ];
    let files = &files[..if inline { 3 } else { 2 }];
    files.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        let (before, rest) = text.split_once(&format!("fn {function}("))?;
        // Nothing but attributes stands between the function and the one before it.
        let between = before.rsplit_once('}').map_or(before, |(_, rest)| rest);
        let marks = ["#[test]", "::test]", "::test("];
        let is_test = marks.iter().any(|mark| between.contains(mark));
        let line = between.lines().last()?;
        let indent = &line[..line.len() - line.trim_start().len()];
        let (body, _) = rest.split_once(&format!("\n{indent}}}\n"))?;
        is_test.then(|| body.to_owned())
    })
}

/// How many rows the table of a test has: the length that its array `rows` is written with.
fn table(name: &str) -> usize {
    let body = body(name).unwrap_or_default();
    let Some((_, array)) = body.split_once("let rows: [") else {
        return 0;
    };
    let (kind, _) = array.split_once("] =").unwrap();
    kind.rsplit_once("; ").unwrap().1.parse().unwrap()
}

#[test]
fn every_test_that_the_table_names_is_there() {
    let mut names = 0;
    for row in rows() {
        for name in row[3].split('`').skip(1).step_by(2) {
            assert!(exists(name), "{}: there is no {name}", row[1]);
            names += 1;
        }
    }
    assert!(names > 30, "the table was not read: {names} names");
    assert!(!exists("scenario::nothing"));
    assert!(!exists("disk-watcher::guest::cuts::nothing"));
    assert!(!exists("disk-watcher::guest::cuts::whole"), "no test");
}

#[test]
fn every_test_that_stands_beside_one_of_upstreams_is_there() {
    let text = fs::read_to_string(workspace().join("docs/upstream-tests.md")).unwrap();
    let words = text.split('`').skip(1).step_by(2);
    let names: Vec<&str> = words
        .filter(|word| word.contains("::") && *word != "csi::apiserver")
        .collect();
    for name in &names {
        assert!(exists(name), "there is no {name}");
    }
    assert!(names.len() > 30, "the page was not read: {names:?}");
    let specs = text.split_once("end-to-end specs").unwrap().1;
    let rows = specs.lines().filter(|line| line.starts_with("| ")).skip(1);
    for row in rows {
        let by = row.split('|').nth(2).unwrap();
        assert!(by.contains("::") || by.contains("**none**"), "{row}");
    }
}

#[test]
fn a_row_that_a_table_beside_upstreams_loses_is_missed() {
    let text = fs::read_to_string(workspace().join("docs/upstream-tests.md")).unwrap();
    let (_, tables) = text.split_once("## Its tables").unwrap();
    let (tables, _) = tables.split_once("\n## ").unwrap();
    let mut all = 0;
    for row in tables.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let said = match cells[4] {
            "" => 0,
            said => said.parse().unwrap(),
        };
        let names = cells[5].split('`').skip(1).step_by(2);
        let has: usize = names.map(table).sum();
        assert_eq!(has, said, "{row}");
        all += has;
    }
    assert!(all > 100, "the page was not read: {all} rows");
}

#[test]
fn the_table_has_each_fault_once_and_says_where_nothing_shows_it() {
    let rows = rows();
    let numbers: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
    let wanted: Vec<String> = (1..=30).map(|n| format!("F{n}")).collect();
    assert_eq!(numbers, wanted);
    for row in rows {
        assert!(row[3].contains('`') || row[3] == "**none**", "{row:?}");
    }
}
