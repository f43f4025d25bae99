//! Status as text: a table for people, JSON for programs.

use std::collections::BTreeMap;

use comfy_table::{ContentArrangement, Table};

use super::{NodeDisk, NodeStatus};
use crate::facts::DiskId;
use crate::select::Answer;

/// The tables people read, `width` columns wide where that is given. With `details`,
/// every reason in full stands below them.
pub fn table(status: &NodeStatus, width: Option<u16>, details: bool) -> String {
    let disks = &status.disks;
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
            disk.why(),
        ]);
    }
    let mut text = lines(&table);
    for check in &status.preflight {
        if let Some(problem) = &check.problem {
            let what = match check.keeps_pools() {
                true => "no disk is taken, removed or wiped",
                false => "nothing is changed here",
            };
            text.push_str(&format!("\n{what} ({}): {problem}\n", check.check));
        }
    }
    text.push_str(&approvals(disks));
    text.push_str(&super::file::text(&status.files));
    text.push_str(&super::request::text(&status.requests));
    text.push_str(&super::group::text(&status.groups));
    text.push_str(&super::pool_table(&status.pools, width, details));
    if details {
        text.extend(disks.iter().map(in_full));
    }
    text
}

/// A table as lines without blanks at their ends.
pub(super) fn lines(table: &Table) -> String {
    let rows = table.to_string();
    let rows = rows.lines().map(|line| format!("{}\n", line.trim_end()));
    rows.collect()
}

/// What to write so that disks that wait for a person join, class by class.
fn approvals(disks: &[NodeDisk]) -> String {
    let mut waiting: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for disk in disks {
        if let (Some(class), Some(line)) = (&disk.class, &disk.approve) {
            waiting.entry(class).or_default().push(line);
        }
    }
    let mut text = String::new();
    for (class, lines) in waiting {
        text.push_str(&format!(
            "\nTo agree, add to spec.approved of class {class}:\n"
        ));
        text.extend(lines.iter().map(|line| format!("  {line}\n")));
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
    if let Some(spec) = &disk.wipe {
        text.push_str(&format!(
            "  to wipe it, write a DiskWipeRequest with spec: {spec}\n"
        ));
    }
    for command in &disk.plan {
        text.push_str(&format!("  would run: {command}\n"));
    }
    text
}

/// The same for programs: `{"disks": [...], "groups": [...], "files": [...], "requests": [...], "pools": [...]}`.
///
/// # Errors
/// None that these types can cause.
pub fn json(status: &NodeStatus) -> serde_json::Result<String> {
    serde_json::to_string_pretty(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Transport;
    use crate::rules::{Code, Progress, Reason};
    use crate::select::{Explanation, Miss};
    use crate::status::DiskState;
    use lvmd::units::{Bytes, GIB};

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
            reading: None,
            selection: Vec::new(),
            pv_uuid: None,
            volume_group: None,
            plan: Vec::new(),
            approve: None,
            wipe: None,
        }
    }

    fn node(disks: Vec<NodeDisk>) -> NodeStatus {
        NodeStatus {
            looks: 0,
            preflight: Vec::new(),
            disks,
            groups: Vec::new(),
            files: Vec::new(),
            requests: Vec::new(),
            pools: Vec::new(),
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
        let mut sdd = disk(
            "sdd",
            DiskState::Candidate,
            vec![reason(Code::BeingRead, "all of it is read first")],
        );
        sdd.reading = Some(Progress::new(Bytes(7 * GIB), Bytes(20 * GIB)));
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
            sdd,
        ];
        let text = table(&node(disks.to_vec()), Some(120), false);
        assert_eq!(
            text,
            " DISK   SIZE  MODEL      CLASS  STATE       REASONS\n \
              sda    20Gi  TEST DISK  fast   Planned\n \
              sdb    20Gi  TEST DISK  fast   Rejected    Signature:ext4: at byte 1080\n \
              sdc    20Gi  TEST DISK  fast   Rejected    Mounted, Busy\n \
              loop0  20Gi  -          -      Discovered  no class picks it; NotADisk\n \
              sdd    20Gi  TEST DISK  fast   Candidate   BeingRead: all of it is read first; 7Gi of 20Gi (35%)\n"
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
        let text = table(&node(vec![sda]), Some(100), true);
        let (_, details) = text.split_once("\n\n").unwrap();
        assert_eq!(
            details,
            "sda (naa.1)\n  NotZeroed: byte 5 is not zero\n    can be loosened: spec.safety.requireZeroed\n  \
             class slow does not: spec.select.media: it does not rotate\n  would run: pvcreate /dev/sda\n"
        );
    }

    #[test]
    fn programs_get_all_of_it() {
        let sda = disk(
            "sda",
            DiskState::Rejected,
            vec![reason(Code::Signature("zfs".into()), "at byte 0")],
        );
        let value: serde_json::Value =
            serde_json::from_str(&json(&node(vec![sda])).unwrap()).unwrap();
        let disk = &value["disks"][0];
        assert_eq!(disk["state"], "Rejected");
        assert_eq!(disk["size"], 20 * GIB);
        assert_eq!(disk["transport"], "sata");
        assert_eq!(disk["reasons"][0]["code"], "Signature:zfs");
        assert_eq!(disk["pvUuid"], serde_json::Value::Null);
    }

    #[test]
    fn the_line_to_agree_with_can_be_pasted_into_the_class() {
        let mut waiting = disk("sdc", DiskState::AwaitingApproval, Vec::new());
        let approval = crate::config::Approval {
            node: "n1".to_owned(),
            disk_id: DiskId::from("serial.ATA.X \"1\"".to_owned()),
            fingerprint: "ab".repeat(32),
        };
        waiting.approve = Some(approval.to_string());
        let text = table(&node(vec![waiting]), Some(120), false);
        let (_, lines) = text
            .split_once("To agree, add to spec.approved of class fast:\n")
            .unwrap();
        let class = format!(
            "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {{name: fast}}\nspec:\n  select: {{model: [x]}}\n  volumeGroup: {{name: vg}}\n  approved:\n{lines}"
        );
        let config = crate::config::Config::load(&class).unwrap();
        assert_eq!(config.classes[0].approved, [approval]);
    }
}
