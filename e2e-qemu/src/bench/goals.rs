//! What is wanted of lvmd's speed, and whether a row has it. Ratios: the machine does not count.

use serde::{Deserialize, Serialize};

/// A row of `target/bench/lvmd.json`. Times are medians, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    /// The case.
    pub case: String,
    /// How many other volumes there were in the VG.
    pub volumes: u32,
    /// Our lvmd.
    pub ours_ms: f64,
    /// One raw lvm command with lvm's defaults that does the same.
    pub raw_ms: f64,
    /// Upstream's lvmd.
    pub peer_ms: f64,
    /// lvm processes of one call of ours.
    pub ours_processes: u32,
    /// lvm processes of one call of upstream's.
    pub peer_processes: u32,
    /// How many times stand behind each median.
    pub n: u32,
}

/// What is wanted of a case.
struct Goal {
    processes: u32,
    /// At most so many times as long as the raw command.
    raw: Option<f64>,
    /// At least so many times as fast as upstream's.
    peer: f64,
}

impl Row {
    /// How many times as long as the raw command ours takes.
    pub(super) fn to_raw(&self) -> f64 {
        self.ours_ms / self.raw_ms
    }

    /// How many times as fast as upstream's ours is.
    pub(super) fn to_peer(&self) -> f64 {
        self.peer_ms / self.ours_ms
    }

    fn goal(&self) -> Option<Goal> {
        let change = |raw, peer| Goal {
            processes: 1,
            raw: Some(raw),
            peer,
        };
        Some(match self.case.as_str() {
            "create-thick" | "create-thin" => change(1.3, 2.0),
            "resize-thick" | "resize-thin" => change(1.3, 2.5),
            "snapshot-thin" => change(1.3, 3.0),
            "remove-thick" | "remove-thin" => change(1.5, 1.4),
            "list" | "free" => Goal {
                processes: 0,
                raw: None,
                peer: 100.0,
            },
            _ => return None,
        })
    }

    /// What is missed, empty when nothing is; `None` when nothing is wanted.
    pub(super) fn missed(&self) -> Option<Vec<String>> {
        let goal = self.goal()?;
        let mut missed = Vec::new();
        if self.ours_processes > goal.processes {
            missed.push(format!("{} process(es)", goal.processes));
        }
        if let Some(most) = goal.raw
            && self.to_raw() > most
        {
            missed.push(format!("{most} x raw"));
        }
        if self.to_peer() < goal.peer {
            missed.push(format!("peer / {}", goal.peer));
        }
        Some(missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_misses_what_it_does_not_reach() {
        let row = |case: &str, ours_ms, raw_ms, peer_ms, ours_processes| Row {
            case: case.into(),
            volumes: 50,
            ours_ms,
            raw_ms,
            peer_ms,
            ours_processes,
            peer_processes: 3,
            n: 15,
        };
        let missed = |row: Row| row.missed().map(|missed| missed.join(", "));
        let met = Some(String::new());
        assert_eq!(missed(row("create-thin", 10.0, 10.0, 20.0, 1)), met);
        assert_eq!(
            missed(row("create-thin", 14.0, 10.0, 20.0, 2)).unwrap(),
            "1 process(es), 1.3 x raw, peer / 2"
        );
        assert_eq!(missed(row("remove-thick", 14.0, 10.0, 20.0, 1)), met);
        assert_eq!(missed(row("list", 1.0, 0.1, 101.0, 0)), met);
        assert_eq!(
            missed(row("free", 1.0, 9.0, 99.0, 0)).unwrap(),
            "peer / 100"
        );
        assert_eq!(missed(row("remove-thick-zeroed", 9.0, 1.0, 1.0, 2)), None);
    }
}
