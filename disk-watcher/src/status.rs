//! What `disk-watcher status` shows: every disk, the state it is in, and why. A view;
//! it decides nothing.

use comfy_table::{ContentArrangement, Table};
use lvmd::units::Bytes;
use serde::Serialize;

use crate::facts::{DiskFacts, DiskId, Transport};
use crate::rules::{Judgement, Reason, Verdict};
use crate::select::{Answer, Explanation};

/// Where a disk stands on its way (the disk state machine of the reference, 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum DiskState {
    /// Seen, and no class picks it.
    Discovered,
    /// A rule denies it.
    Rejected,
    /// Picked, and it has to wait: for quiet, or for more disks.
    Candidate,
    /// Picked, and a person has to agree.
    AwaitingApproval,
    /// It would be taken; the class only plans.
    Planned,
    /// Our intent is on record.
    Claimed,
    /// It has our PV label.
    Labelled,
    /// It is in its group; the pool is not done.
    Grouped,
    /// All is done.
    Ready,
    /// It works, and not as it should.
    Degraded,
    /// It is a PV of ours and not there.
    Missing,
    /// It came back with old metadata.
    Stale,
    /// Another disk is in its place.
    Replaced,
    /// Several classes or groups want it.
    Conflict,
    /// Nothing is done until a person looks.
    Frozen,
}

/// One disk, as status shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeDisk {
    /// Its kernel name; `None` while it is missing.
    pub name: Option<String>,
    /// Its id, where it has one.
    pub id: Option<DiskId>,
    /// Its links under `/dev`.
    pub links: Vec<String>,
    /// Its size, in bytes.
    pub size: Option<Bytes>,
    /// Its model.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// How it is attached.
    pub transport: Option<Transport>,
    /// The class that picks it or has it.
    pub class: Option<String>,
    /// Its state.
    pub state: DiskState,
    /// Everything that speaks against it.
    pub reasons: Vec<Reason>,
    /// What each class says.
    pub selection: Vec<Explanation>,
    /// The UUID of its PV, where it is ours.
    pub pv_uuid: Option<String>,
    /// The name of its group, where it is ours.
    pub volume_group: Option<String>,
    /// The commands that would run, where the class only plans.
    pub plan: Vec<String>,
}

impl NodeDisk {
    /// A disk as it was judged. What the journal and the group add (claim, membership,
    /// plan) is for the caller to set; a disk of ours is `Labelled` until it does.
    pub fn judged(facts: &DiskFacts, judgement: &Judgement) -> Self {
        let class = match &judgement.selection {
            crate::select::Selection::Class(class) => Some(class.clone()),
            _ => None,
        };
        Self {
            name: Some(facts.name.clone()),
            id: judgement.id.id().cloned(),
            links: facts.links().to_vec(),
            size: facts.size,
            model: facts.model.clone(),
            serial: facts.serial.clone(),
            transport: facts.transport,
            class,
            state: state(judgement),
            reasons: judgement.reasons.clone(),
            selection: judgement.explanations.clone(),
            pv_uuid: None,
            volume_group: None,
            plan: Vec::new(),
        }
    }

    /// The reasons on one line: their codes, and in full when there is only one. A disk
    /// that no class picks says so first.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        if self.state == DiskState::Discovered {
            parts.push(self.why_not_picked());
        }
        match self.reasons.as_slice() {
            [] => {}
            [only] if parts.is_empty() => parts.push(only.to_string()),
            many => {
                let mut codes: Vec<String> = Vec::new();
                for reason in many {
                    let code = reason.code.to_string();
                    if !codes.contains(&code) {
                        codes.push(code);
                    }
                }
                parts.push(codes.join(", "));
            }
        }
        parts.join("; ")
    }

    fn why_not_picked(&self) -> String {
        let excluded = self.selection.iter().find_map(|e| match &e.answer {
            Answer::Excluded(miss) => Some(format!("excluded by {}: {}", e.class, miss.detail)),
            _ => None,
        });
        excluded.unwrap_or_else(|| "no class picks it".to_owned())
    }
}

fn state(judgement: &Judgement) -> DiskState {
    let has = |code: &str| judgement.reasons.iter().any(|r| r.code.as_str() == code);
    match &judgement.verdict {
        Verdict::Ours => DiskState::Labelled,
        Verdict::NotSelected => DiskState::Discovered,
        Verdict::Rejected if has("ClassConflict") => DiskState::Conflict,
        Verdict::Rejected => DiskState::Rejected,
        Verdict::Waiting if has("AwaitingApproval") => DiskState::AwaitingApproval,
        Verdict::Waiting => DiskState::Candidate,
        Verdict::Cleared { .. } => DiskState::Planned,
    }
}

/// The table people read, `width` columns wide where that is given. With `details`,
/// every reason in full stands below it.
pub fn table(disks: &[NodeDisk], width: Option<u16>, details: bool) -> String {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["DISK", "SIZE", "MODEL", "CLASS", "STATE", "REASONS"]);
    if let Some(width) = width {
        table.set_width(width);
    }
    for disk in disks {
        table.add_row([
            disk.name.clone().unwrap_or_else(|| "(missing)".to_owned()),
            disk.size
                .map_or_else(|| "?".to_owned(), |size| size.to_string()),
            disk.model.clone().unwrap_or_else(|| "-".to_owned()),
            disk.class.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{:?}", disk.state),
            disk.summary(),
        ]);
    }
    let mut text: String = table
        .to_string()
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    if details {
        text.extend(disks.iter().map(in_full));
    }
    text
}

/// Everything that is known about one disk, for people.
fn in_full(disk: &NodeDisk) -> String {
    let name = disk.name.as_deref().unwrap_or("(missing)");
    let id = disk.id.as_ref().map_or("no id", DiskId::as_str);
    let mut text = format!("\n{name} ({id})\n");
    for reason in &disk.reasons {
        text.push_str(&format!("  {reason}\n"));
        if let Some(field) = reason.code.loosened_by() {
            text.push_str(&format!("    can be loosened: {field}\n"));
        }
    }
    for explanation in &disk.selection {
        let misses = match &explanation.answer {
            Answer::Selected => {
                text.push_str(&format!("  class {} picks it\n", explanation.class));
                continue;
            }
            Answer::Excluded(miss) | Answer::TooSmall(miss) | Answer::TooLarge(miss) => {
                std::slice::from_ref(miss)
            }
            Answer::Missed(misses) => misses.as_slice(),
        };
        for miss in misses {
            text.push_str(&format!(
                "  class {} does not: {}: {}\n",
                explanation.class, miss.field, miss.detail
            ));
        }
    }
    for command in &disk.plan {
        text.push_str(&format!("  would run: {command}\n"));
    }
    text
}

/// The same for programs: `{"disks": [...]}`.
///
/// # Errors
/// None that these types can cause.
pub fn json(disks: &[NodeDisk]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Status<'a> {
        disks: &'a [NodeDisk],
    }
    serde_json::to_string_pretty(&Status { disks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Code;
    use crate::select::Miss;
    use lvmd::units::GIB;

    fn disk(name: &str, state: DiskState, reasons: Vec<Reason>) -> NodeDisk {
        NodeDisk {
            name: Some(name.to_owned()),
            id: Some(DiskId::from("naa.1".to_owned())),
            links: vec!["/dev/disk/by-id/x".to_owned()],
            size: Some(Bytes(20 * GIB)),
            model: Some("TEST DISK".to_owned()),
            serial: Some("A1".to_owned()),
            transport: Some(Transport::Sata),
            class: Some("fast".to_owned()),
            state,
            reasons,
            selection: Vec::new(),
            pv_uuid: None,
            volume_group: None,
            plan: Vec::new(),
        }
    }

    fn reason(code: Code, detail: &str) -> Reason {
        Reason {
            code,
            detail: detail.to_owned(),
        }
    }

    #[test]
    fn the_table_reads_well() {
        let mut loop0 = disk(
            "loop0",
            DiskState::Discovered,
            vec![reason(Code::NotADisk, "driver loop")],
        );
        loop0.class = None;
        loop0.model = None;
        let disks = [
            disk("sda", DiskState::Planned, Vec::new()),
            disk(
                "sdb",
                DiskState::Rejected,
                vec![reason(Code::Signature("ext4".into()), "at byte 1080")],
            ),
            disk(
                "sdc",
                DiskState::Rejected,
                vec![
                    reason(Code::Mounted, "a"),
                    reason(Code::Mounted, "b"),
                    reason(Code::Busy, "c"),
                ],
            ),
            loop0,
        ];
        let text = table(&disks, Some(120), false);
        assert_eq!(
            text,
            " DISK   SIZE  MODEL      CLASS  STATE       REASONS\n \
              sda    20Gi  TEST DISK  fast   Planned\n \
              sdb    20Gi  TEST DISK  fast   Rejected    Signature:ext4: at byte 1080\n \
              sdc    20Gi  TEST DISK  fast   Rejected    Mounted, Busy\n \
              loop0  20Gi  -          -      Discovered  no class picks it; NotADisk\n"
        );
    }

    #[test]
    fn details_show_every_reason_the_way_out_and_the_plan() {
        let mut sda = disk(
            "sda",
            DiskState::Rejected,
            vec![reason(Code::NotZeroed, "byte 5 is not zero")],
        );
        sda.selection = vec![Explanation {
            class: "slow".to_owned(),
            answer: Answer::Missed(vec![Miss {
                field: "spec.select.media",
                detail: "it does not rotate".to_owned(),
            }]),
        }];
        sda.plan = vec!["pvcreate /dev/sda".to_owned()];
        let text = table(&[sda], Some(100), true);
        let (_, details) = text.split_once("\n\n").unwrap();
        assert_eq!(
            details,
            "sda (naa.1)\n  NotZeroed: byte 5 is not zero\n    can be loosened: spec.safety.requireZeroed\n  \
             class slow does not: spec.select.media: it does not rotate\n  would run: pvcreate /dev/sda\n"
        );
    }

    #[test]
    fn a_verdict_and_its_reasons_are_a_state() {
        let class = || "fast".to_owned();
        for (verdict, code, wanted) in [
            (
                Verdict::Cleared { class: class() },
                None,
                DiskState::Planned,
            ),
            (Verdict::Ours, Some(Code::Busy), DiskState::Labelled),
            (
                Verdict::NotSelected,
                Some(Code::NotADisk),
                DiskState::Discovered,
            ),
            (Verdict::Rejected, Some(Code::Busy), DiskState::Rejected),
            (
                Verdict::Rejected,
                Some(Code::ClassConflict),
                DiskState::Conflict,
            ),
            (
                Verdict::Waiting,
                Some(Code::NotSettled),
                DiskState::Candidate,
            ),
            (
                Verdict::Waiting,
                Some(Code::AwaitingApproval),
                DiskState::AwaitingApproval,
            ),
        ] {
            let judgement = Judgement {
                disk: "sda".to_owned(),
                id: crate::facts::Identified::Missing,
                explanations: Vec::new(),
                selection: crate::select::Selection::Class(class()),
                reasons: code.into_iter().map(|code| reason(code, "")).collect(),
                verdict,
            };
            assert_eq!(state(&judgement), wanted, "{judgement:?}");
        }
    }

    #[test]
    fn programs_get_all_of_it() {
        let sda = disk(
            "sda",
            DiskState::Rejected,
            vec![reason(Code::Signature("zfs".into()), "at byte 0")],
        );
        let value: serde_json::Value = serde_json::from_str(&json(&[sda]).unwrap()).unwrap();
        let disk = &value["disks"][0];
        assert_eq!(disk["state"], "Rejected");
        assert_eq!(disk["size"], 20 * GIB);
        assert_eq!(disk["transport"], "sata");
        assert_eq!(disk["reasons"][0]["code"], "Signature:zfs");
        assert_eq!(disk["pvUuid"], serde_json::Value::Null);
    }
}
