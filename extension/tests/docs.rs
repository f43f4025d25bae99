//! The pages: their commands are run, and their links lead somewhere.
//!
//! A fenced block says after its fence what it is. `sh`: run here, in a folder that looks like the workspace, one after the
//! other for each page. `sh node`, `sh cluster`, `sh registry`: needs what it says, and is counted below, so that a new one is
//! seen. `yaml class`, `yaml request`: disk-watcher's own tests read them.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use extension::host;

/// Blocks that nothing runs: the page, what they need, how many.
const NOT_RUN: &[(&str, &str, usize)] = &[
    ("docs/day-2.md", "cluster", 2),
    ("docs/day-2.md", "node", 1),
    ("docs/getting-started-talos.md", "cluster", 2),
    ("docs/getting-started-talos.md", "node", 3),
    ("docs/getting-started-talos.md", "registry", 1),
    ("docs/releases.md", "registry", 3),
    ("docs/troubleshooting.md", "cluster", 1),
    ("docs/troubleshooting.md", "node", 1),
    ("docs/try-it.md", "node", 4),
];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The pages, by their paths in the workspace.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    for dir in [
        "",
        "docs",
        "docs/decisions",
        "talos",
        "talos/clustertool",
        "charts",
    ] {
        for entry in fs::read_dir(workspace().join(dir)).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|x| x == "md") {
                let name = path.strip_prefix(workspace()).unwrap();
                let text = fs::read_to_string(&path).unwrap();
                pages.insert(name.to_str().unwrap().to_owned(), text);
            }
        }
    }
    pages
}

/// The fenced blocks: what stands after the fence, and what is in them.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((info.to_owned(), body.join("\n")));
        }
    }
    blocks
}

#[test]
fn every_fenced_block_is_run_or_says_what_it_needs() {
    let mut needs = BTreeMap::new();
    for (page, text) in pages() {
        for (info, body) in blocks(&text) {
            match info.as_str() {
                "" | "sh" | "yaml" | "yaml class" | "yaml request" => {}
                "sh node" | "sh cluster" | "sh registry" => {
                    let what = info.trim_start_matches("sh ").to_owned();
                    *needs.entry((page.clone(), what)).or_insert(0) += 1;
                }
                _ => panic!("{page}: nobody knows what a block `{info}` is:\n{body}"),
            }
        }
    }
    let needs: Vec<(&str, &str, usize)> = needs
        .iter()
        .map(|((page, what), count)| (page.as_str(), what.as_str(), *count))
        .collect();
    assert_eq!(needs, NOT_RUN, "blocks that are not run");
}

/// The programs of this workspace, beside the one that cargo built for this test.
fn programs() -> PathBuf {
    let dir = Path::new(env!("CARGO_BIN_EXE_extension")).parent().unwrap();
    let watcher = dir.join("disk-watcher");
    assert!(
        watcher.exists(),
        "{} is missing: run `cargo build --workspace` first",
        watcher.display()
    );
    dir.to_owned()
}

#[test]
fn the_commands_do_what_they_are_there_for() {
    let path = format!("{}:/usr/sbin:/usr/bin:/bin", programs().display());
    let mut run = 0;
    for (page, text) in pages() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["charts", "disk-watcher", "docs", "talos"] {
            let (from, to) = (workspace().join(name), dir.path().join(name));
            std::os::unix::fs::symlink(from, to).unwrap();
        }
        let scripts = blocks(&text).into_iter().filter(|(info, _)| info == "sh");
        for (_, script) in scripts {
            let mut shell = host::command("sh");
            shell
                .args(["-euc", &script])
                .current_dir(dir.path())
                .env("PATH", &path);
            if let Err(error) = host::capture(&mut shell) {
                panic!("{page}: {error}\n{script}");
            }
            run += 1;
        }
    }
    assert!(run > 2, "{run} blocks");
}

/// A heading as GitHub writes it into an address.
fn anchor(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    };
    heading.to_lowercase().chars().filter_map(kept).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let pages = pages();
    let anchors: BTreeMap<&str, BTreeSet<String>> = pages
        .iter()
        .map(|(page, text)| {
            let headings = text.lines().filter(|line| line.starts_with('#'));
            let headings = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
            (page.as_str(), headings.collect())
        })
        .collect();
    let mut dead = Vec::new();
    for (page, text) in &pages {
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => PathBuf::from(page),
                file => normal(&Path::new(page).parent().unwrap().join(file)),
            };
            let known = anchors.get(target.to_str().unwrap());
            let there = workspace().join(&target).exists();
            if !there || (!heading.is_empty() && !known.is_some_and(|all| all.contains(heading))) {
                dead.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

/// The path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}
