//! How fast the disk watcher answers; `disk-watcher/benches/reaction` measures.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use comfy_table::Table;
use e2e_qemu::{Backend, Command, Disk, Guest, Spec, host};
use extension::progress::Step;
use serde::{Deserialize, Serialize};

/// How long it may take; ten times what five rounds do on an idle machine.
const LIMIT: Duration = Duration::from_secs(1800);
/// How long a disk of the measurement has to be quiet before it is judged, in milliseconds.
const SETTLE: f64 = 1000.0;

/// A row of `target/bench/disk-watcher.json`: a median, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    /// The case.
    case: String,
    /// The median.
    ms: f64,
    /// How many times stand behind it.
    n: u32,
}

impl Row {
    /// Below how many milliseconds it is wanted; `None` where nothing is.
    fn goal(&self) -> Option<f64> {
        match self.case.as_str() {
            "plug-to-decision" => Some(1000.0 + SETTLE),
            "pull-to-missing" | "threshold-to-extension-begun" => Some(1000.0),
            _ => None,
        }
    }
}

/// Measures, prints the table and writes `target/bench/disk-watcher.json`.
pub(super) fn run(workspace: &Path, rounds: u32) -> anyhow::Result<()> {
    let printed = drive(workspace, &[("BASALT_ROUNDS", &rounds.to_string())])?;
    let rows: Vec<Row> = serde_json::from_str(&printed).context("the measurement is no table")?;
    ensure!(!rows.is_empty(), "nothing was measured");
    let file = workspace.join("target/bench/disk-watcher.json");
    fs::create_dir_all(workspace.join("target/bench"))?;
    fs::write(&file, serde_json::to_string_pretty(&rows)? + "\n")
        .with_context(|| format!("write {}", file.display()))?;
    println!("{}", table(&rows));
    println!("medians of {}; the disk has to be quiet for 1 s", rows[0].n);
    println!("{}", file.display());
    Ok(())
}

/// Prints what the watcher says in the life of one disk.
pub(super) fn trace(workspace: &Path) -> anyhow::Result<()> {
    let variables = [("BASALT_TRACE", "1"), ("LOG", "debug")];
    println!("{}", drive(workspace, &variables)?);
    Ok(())
}

/// Runs what measures in a guest, with these variables set; gives what it printed.
fn drive(workspace: &Path, variables: &[(&str, &str)]) -> anyhow::Result<String> {
    let driver = build(workspace)?;
    e2e_qemu::prepare(workspace, Backend::Uml)?;
    let spec = Spec::uml().name("bench").memory_mib(1536).limit(LIMIT);
    let spec = spec.disk(Disk::new(64 << 20));
    let guest = Guest::boot(spec.workspace(workspace))?;
    let command = Command::new(driver.display().to_string())
        .cwd(workspace)
        .timeout(LIMIT);
    let set = |command: Command, (name, value): &(&str, &str)| command.env(*name, *value);
    let command = variables.iter().fold(command, set);
    let step = Step::start("measuring how fast the disk watcher answers");
    let printed = guest.check(command)?;
    step.done();
    guest.shutdown()?;
    Ok(printed)
}

#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds the watcher and what measures it, both as they ship; gives the latter.
fn build(workspace: &Path) -> anyhow::Result<PathBuf> {
    let step = Step::start("building disk-watcher for release");
    let messages = host::capture(
        host::command("cargo")
            .args(["build", "--release", "--locked", "-p"])
            .args(["basalt-disk-watcher", "--bin", "disk-watcher"])
            .args(["--bench", "reaction", "--features", "guest"])
            .arg("--message-format=json-render-diagnostics")
            .current_dir(workspace),
    )
    .context("could not build disk-watcher")?;
    step.done();
    let messages = String::from_utf8_lossy(&messages);
    let mut found = messages.lines().filter_map(|line| {
        let message: Message = serde_json::from_str(line).ok()?;
        message.target.filter(|target| target.name == "reaction")?;
        message.executable
    });
    found.next_back().context("cargo did not say what it built")
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["case", "median", "goal"]);
    for row in rows {
        let goal = match row.goal() {
            None => "none".to_owned(),
            Some(goal) if row.ms < goal => format!("met: < {goal} ms"),
            Some(goal) => format!("MISSED: < {goal} ms"),
        };
        table.add_row([row.case.clone(), format!("{:.1} ms", row.ms), goal]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_it_has_its_goal() {
        let row = |case: &str, ms| Row {
            case: case.into(),
            ms,
            n: 5,
        };
        let shown = table(&[
            row("plug-to-decision", 1999.0),
            row("pull-to-missing", 1000.0),
            row("extension-stall", 9.0),
        ])
        .to_string();
        let lines: Vec<&str> = shown.lines().skip(1).map(str::trim_end).collect();
        assert!(lines[0].ends_with("met: < 2000 ms"), "{shown}");
        assert!(lines[1].ends_with("MISSED: < 1000 ms"), "{shown}");
        assert!(lines[2].ends_with("none"), "{shown}");
    }
}
