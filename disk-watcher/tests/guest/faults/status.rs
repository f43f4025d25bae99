//! What the watcher says of the node.

use std::path::Path;

use serde_json::Value;

use crate::harness::wait_for;

/// All of it; null before the first look.
pub(crate) fn status(dir: &Path) -> Value {
    let text = std::fs::read(dir.join("status/status.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// The entry of the disk that has this kernel name now.
pub(crate) fn entry(dir: &Path, name: &str) -> Value {
    let status = status(dir);
    let all = status["disks"].as_array();
    let found = all.and_then(|all| all.iter().find(|d| d["name"] == name));
    found.cloned().unwrap_or_default()
}

/// The codes of the reasons against that disk.
pub(crate) fn codes(dir: &Path, name: &str) -> Vec<String> {
    let entry = entry(dir, name);
    let reasons = entry["reasons"].as_array().into_iter().flatten();
    reasons
        .filter_map(|reason| Some(reason["code"].as_str()?.to_owned()))
        .collect()
}

/// Waits until the watcher has looked at its disks twice from now on.
pub(crate) fn looked_twice(dir: &Path) {
    let looks = || status(dir)["looks"].as_u64().unwrap_or_default();
    for look in 1..=2 {
        let before = looks();
        crate::harness::run("udevadm", &["trigger", "--settle", "-s", "block"]);
        // One that has just started counts anew.
        wait_for(dir, &format!("look {look}"), || {
            ![0, before].contains(&looks())
        });
    }
}

/// How many commands were begun, by the log.
pub(crate) fn commands(dir: &Path) -> usize {
    let log = std::fs::read_to_string(dir.join("log")).unwrap();
    log.matches("running command=").count()
}
