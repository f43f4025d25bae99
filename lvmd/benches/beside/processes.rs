//! How many lvm processes a call takes, counted by a script that stands for lvm.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::actor::{Actor, STEPS};
use crate::cases::{Case, settle};
use crate::daemon::Daemons;

/// An `lvm` that writes a line for each of its processes.
struct Counted {
    script: PathBuf,
    lines: PathBuf,
}

impl Counted {
    fn new(dir: &std::path::Path, name: &str) -> Self {
        let (script, lines) = (dir.join(name), dir.join(format!("{name}.lines")));
        let text = format!(
            "#!/bin/sh\necho \"$1\" >>{}\nexec /sbin/lvm \"$@\"\n",
            lines.display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::write(&lines, "").unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        Self { script, lines }
    }

    /// The verb of each process so far.
    fn so_far(&self) -> Vec<String> {
        let lines = std::fs::read_to_string(&self.lines).unwrap();
        lines.lines().map(str::to_owned).collect()
    }
}

/// The processes of each case; a raw command is one.
pub async fn count() -> BTreeMap<(Case, Actor), usize> {
    let dir = tempfile::tempdir().unwrap();
    let (ours, peer) = (
        Counted::new(dir.path(), "ours"),
        Counted::new(dir.path(), "peer"),
    );
    let daemons = Daemons::start(Some([&ours.script, &peer.script])).await;
    let mut counts = BTreeMap::new();
    for (actor, counted) in [(Actor::Ours, &ours), (Actor::Peer, &peer)] {
        daemons.only(actor).await;
        for (case, step) in STEPS {
            settle();
            let before = counted.so_far().len();
            actor.step(&daemons, step, None).await;
            let verbs = counted.so_far().split_off(before);
            // What goes on afterwards, such as overwriting, is not the call's.
            tokio::time::sleep(Duration::from_millis(200)).await;
            if let Some(case) = case {
                eprintln!("{actor:?} {}: {}", case.name(), verbs.join(", "));
                counts.insert((case, actor), verbs.len());
            }
        }
    }
    counts
}
