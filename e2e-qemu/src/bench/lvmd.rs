//! lvmd beside one raw lvm command and upstream's lvmd; `lvmd/benches/beside` measures.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use comfy_table::Table;
use e2e_qemu::{Backend, Command, Disk, Guest, Spec, host, peer, suite};
use extension::progress::Step;
use serde::Deserialize;

use super::goals::Row;

/// Three disks: thick volumes, a pool, volumes that are overwritten.
const DISKS: [u64; 3] = [4 << 30, 4 << 30, 1 << 30];
/// How long it may take; it takes a quarter of that on four idle processors.
const LIMIT: Duration = Duration::from_secs(3600);

/// Measures, prints the table and writes `target/bench/lvmd.json`.
pub(super) fn run(workspace: &Path, rounds: u32, volumes: &[u32]) -> anyhow::Result<()> {
    let driver = build(workspace)?;
    let step = Step::start("measuring lvmd beside raw lvm and upstream's lvmd");
    let measure = |volumes: &u32| -> anyhow::Result<Vec<Row>> {
        let (rounds, volumes) = (rounds.to_string(), volumes.to_string());
        let variables = [("BASALT_ROUNDS", rounds), ("BASALT_VOLUMES", volumes)];
        let json = drive(workspace, &driver, &variables)?;
        serde_json::from_str(&json).context("the measurement is no table")
    };
    // A guest has one processor. What is compared stands in one guest.
    let measured: Vec<_> = std::thread::scope(|scope| {
        let guests: Vec<_> = volumes.iter().map(|n| scope.spawn(|| measure(n))).collect();
        guests.into_iter().map(|guest| guest.join()).collect()
    });
    let mut rows = Vec::new();
    for guest in measured {
        rows.extend(guest.map_err(|_| anyhow!("a guest's thread broke"))??);
    }
    step.done();
    ensure!(!rows.is_empty(), "nothing was measured");
    let file = workspace.join("target/bench/lvmd.json");
    fs::create_dir_all(workspace.join("target/bench"))?;
    fs::write(&file, serde_json::to_string_pretty(&rows)? + "\n")
        .with_context(|| format!("write {}", file.display()))?;
    print(&rows);
    println!("{}", file.display());
    Ok(())
}

/// Prints where the time of one thin create goes.
pub(super) fn trace(workspace: &Path) -> anyhow::Result<()> {
    let driver = build(workspace)?;
    let step = Step::start("tracing thin creations");
    let variables = [("BASALT_TRACE", "1".to_owned())];
    let printed = drive(workspace, &driver, &variables)?;
    step.done();
    println!("{printed}");
    Ok(())
}

/// Runs what measures in a guest, with these variables set; gives what it printed.
fn drive(workspace: &Path, driver: &Path, variables: &[(&str, String)]) -> anyhow::Result<String> {
    let mut spec = Spec::uml().name("bench").memory_mib(1024).limit(LIMIT);
    for size in DISKS {
        spec = spec.disk(Disk::new(size));
    }
    let guest = Guest::boot(spec.workspace(workspace))?;
    let text = |path: &Path| path.display().to_string();
    let peer = workspace.join(".cache/peer/current/lvmd");
    let mut command = Command::new(text(driver))
        .env("BASALT_DISKS", suite::disk_list(&guest))
        .env("BASALT_LVMD", text(&workspace.join("target/release/lvmd")))
        .env("BASALT_PEER", text(&peer))
        .cwd(workspace)
        .timeout(LIMIT);
    for (name, value) in variables {
        command = command.env(*name, value);
    }
    let printed = guest.check(command)?;
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

/// Builds lvmd and what measures it, both as they ship, and what the guests need; gives what
/// measures.
fn build(workspace: &Path) -> anyhow::Result<PathBuf> {
    let step = Step::start("building lvmd for release");
    let messages = host::capture(
        host::command("cargo")
            .args(["build", "--release", "--locked", "-p", "basalt-lvmd"])
            .args(["--bin", "lvmd", "--bench", "beside", "--features", "guest"])
            .arg("--message-format=json-render-diagnostics")
            .current_dir(workspace),
    )
    .context("could not build lvmd")?;
    step.done();
    let messages = String::from_utf8_lossy(&messages);
    let mut found = messages.lines().filter_map(|line| {
        let message: Message = serde_json::from_str(line).ok()?;
        message.target.filter(|target| target.name == "beside")?;
        message.executable
    });
    let driver = found.next_back();
    peer::LVMD.build(&workspace.join(".cache"))?;
    e2e_qemu::prepare(workspace, Backend::Uml)?;
    driver.context("cargo did not say what it built")
}

fn print(rows: &[Row]) {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "case",
        "volumes",
        "ours",
        "raw lvm",
        "peer",
        "ours/raw",
        "peer/ours",
        "processes",
        "goal",
    ]);
    let (mut wanted, mut met) = (0, 0);
    for row in rows {
        let goal = match row.missed() {
            None => "none".to_owned(),
            Some(missed) => {
                wanted += 1;
                met += u32::from(missed.is_empty());
                if missed.is_empty() {
                    "met".to_owned()
                } else {
                    format!("MISSED: {}", missed.join(", "))
                }
            }
        };
        table.add_row([
            row.case.clone(),
            row.volumes.to_string(),
            format!("{:.2} ms", row.ours_ms),
            format!("{:.1} ms", row.raw_ms),
            format!("{:.1} ms", row.peer_ms),
            format!("{:.2}", row.to_raw()),
            format!("{:.1}", row.to_peer()),
            format!("{} / {}", row.ours_processes, row.peer_processes),
            goal,
        ]);
    }
    println!("{table}");
    println!(
        "medians of {}, of reads more; {met} of {wanted} goals met",
        rows[0].n
    );
}
