//! Which row of the resume table a cut left, as lvm and the journal tell before the watcher starts: nothing of the watcher's
//! own reading is in it. The table says in which rows nothing is done until a person has looked, and this is what the
//! watcher is held to, both ways.

use anyhow::Context as _;
use serde::Deserialize;

use super::record::slice;
use crate::guest::Guest;
use crate::writes::Image;

/// Where pvcreate lets the data begin.
const DATA: u64 = 1 << 20;
/// The recorded disks, as a guest of user-mode Linux calls them.
const DEVICES: [&str; 2] = ["/dev/ubdb", "/dev/ubdc"];
/// What is asked, a part after the other.
const ASK: &str = "\
    lvm pvs --noheadings --separator '|' -o pv_name,pv_uuid,vg_name,pv_in_use 2>/dev/null || true; echo ==; \
    lvm vgs --noheadings --separator '|' -o vg_name,vg_uuid 2>/dev/null || true; echo ==; \
    for disk in /dev/ubdb /dev/ubdc; do lvm pvck --dump headers $disk 2>/dev/null | sed -n \"s|mda_header_1.raw_locn.0..size|$disk|p\"; done; echo ==; \
    lvm lvs -a --noheadings --separator '|' -o lv_name,segtype,lv_tags fast 2>/dev/null || true; echo ==; \
    cat /run/j/journal/making/*.json 2>/dev/null || true; echo ==; \
    cat /run/j/journal/claims/*.json 2>/dev/null || true";

/// What stands on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum OnDisk {
    /// No label.
    Nothing,
    /// A PV in no group, which says so itself.
    Orphan,
    /// One that says that it is in a group, and lvm knows none; all that proves it to be our own half-made one holds.
    Wreck,
    /// The same, and a proof is missing: it may have been in use.
    Lost,
    /// In a group.
    Member,
}

/// What stands where the pool is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pool {
    None,
    /// A volume that a cut lvcreate left: by the tag, or by the journal's record of what was being made.
    HalfMade,
    /// A volume of its name that neither explains.
    Unexplained,
    /// Tagged as being made.
    Creating,
    Made,
}

/// The row, for both disks and the pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    disks: Vec<OnDisk>,
    pool: Pool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    pv_uuid: String,
    vg_uuid: Option<String>,
    stage: String,
}

impl Row {
    /// Asks lvm in a guest with the disks of `image`.
    pub(super) fn ask(guest: &Guest, image: &Image) -> anyhow::Result<Self> {
        let answers = guest.shell(ASK)?;
        let blank = [0, 1].map(|n| {
            let disk = slice(n);
            image.same_in(&Image::default(), &(disk.start + DATA..disk.end))
        });
        Self::of(&answers, blank).with_context(|| format!("what lvm says: {answers}"))
    }

    /// From the answers; `blank`: nothing stands behind the place where a disk's data begins.
    pub(super) fn of(answers: &str, blank: [bool; 2]) -> anyhow::Result<Self> {
        let parts: Vec<&str> = answers.split("==").map(str::trim).collect();
        let [pvs, vgs, committed, lvs, making, claims] = parts[..] else {
            anyhow::bail!("{} parts", parts.len());
        };
        let claims: Vec<Claim> = serde_json::Deserializer::from_str(claims)
            .into_iter()
            .collect::<Result<_, _>>()?;
        // lvm says more than what it is asked, on standard output too.
        let fields = |text: &str| -> Vec<Vec<String>> {
            let lines = text.lines().filter(|line| line.contains('|'));
            let words = lines.map(|line| line.split('|').map(|word| word.trim().to_owned()));
            words.map(Iterator::collect).collect()
        };
        let (pvs, vgs) = (fields(pvs), fields(vgs));
        let disk = |n: usize| {
            let device = DEVICES[n];
            let Some([_, uuid, vg, used]) = pvs.iter().find(|pv| pv[0] == device).map(|pv| &pv[..])
            else {
                return OnDisk::Nothing;
            };
            let never_committed = committed.lines().any(|line| {
                let mut words = line.split_whitespace();
                words.next() == Some(device) && words.next() == Some("0")
            });
            let never_grouped = claims.iter().any(|claim| {
                claim.pv_uuid == *uuid
                    && claim.vg_uuid.is_none()
                    && ["Claimed", "Labelled"].contains(&claim.stage.as_str())
            });
            // Of a text that is damaged behind its beginning it has the name, and knows no such group.
            let is_there = vgs.iter().any(|known| known[0] == *vg);
            match (vg.is_empty(), used.is_empty()) {
                (false, _) if is_there => OnDisk::Member,
                (true, true) => OnDisk::Orphan,
                _ if never_committed && never_grouped && blank[n] => OnDisk::Wreck,
                _ => OnDisk::Lost,
            }
        };
        let lvs = fields(lvs);
        let named = lvs.iter().find(|lv| lv[0] == "pool0");
        let left = lvs
            .iter()
            .any(|lv| lv[0].starts_with("lvol") && lv[1] == "linear");
        let pool = match named {
            Some(lv) if lv[1] == "thin-pool" && lv[2].contains("creating") => Pool::Creating,
            Some(lv) if lv[1] == "thin-pool" => Pool::Made,
            Some(lv) if lv[2].contains("creating") || !making.is_empty() => Pool::HalfMade,
            Some(_) => Pool::Unexplained,
            None if left => Pool::HalfMade,
            None => Pool::None,
        };
        Ok(Self {
            disks: vec![disk(0), disk(1)],
            pool,
        })
    }

    /// Whether the table says that nothing is done until a person has looked.
    pub(super) fn is_frozen(&self) -> bool {
        self.disks.contains(&OnDisk::Lost) || self.pool == Pool::Unexplained
    }

    /// In words, for the table of what came of the cuts.
    pub(super) fn words(&self) -> String {
        let disk = |disk: &OnDisk| match disk {
            OnDisk::Nothing => "blank",
            OnDisk::Orphan => "PV in no group",
            OnDisk::Wreck => "half-made",
            OnDisk::Lost => "of a group that is lost",
            OnDisk::Member => "member",
        };
        let pool = match self.pool {
            Pool::None => "",
            Pool::HalfMade => "; pool half-made",
            Pool::Unexplained => "; a volume in the pool's place",
            Pool::Creating => "; pool to be untagged",
            Pool::Made => "; pool",
        };
        let disks: Vec<&str> = self.disks.iter().map(disk).collect();
        match disks[..] {
            [one, two] if one == two => format!("both: {one}{pool}"),
            _ => format!("{}{pool}", disks.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "8lba63-FPad-UBYe-FO42-Ujqp-KIWx-vxq71F";

    /// The first disk has a PV; `committed`: how much text its metadata area is said to have.
    fn first(vg: &str, used: &str, committed: u64, stage: &str, blank: bool) -> Row {
        let answers = format!(
            "  Retrying metadata scan.\n  /dev/ubdb|{UUID}|{vg}|{used}\n==\n  fast|v\n==\n/dev/ubdb {committed}\n/dev/ubdc 0\n==\n==\n==\n\
             {{\"pvUuid\": \"{UUID}\", \"vgUuid\": null, \"stage\": \"{stage}\"}}\n{{\"pvUuid\": \"other\", \"vgUuid\": \"v\", \"stage\": \"Ready\"}}"
        );
        Row::of(&answers, [blank, true]).unwrap()
    }

    #[test]
    fn of_a_pv_in_a_group_that_is_not_there_every_proof_counts() {
        let wreck = first("", "used", 0, "Labelled", true);
        assert_eq!(wreck.disks, [OnDisk::Wreck, OnDisk::Nothing]);
        assert!(!wreck.is_frozen());
        for (what, row) in [
            ("committed", first("", "used", 2613, "Labelled", true)),
            ("was a member", first("", "used", 0, "Grouped", true)),
            ("not blank", first("", "used", 0, "Labelled", false)),
            ("only a name", first("gone", "used", 9, "Ready", false)),
        ] {
            assert!(row.is_frozen(), "{what}");
            assert_eq!(row.disks[0], OnDisk::Lost, "{what}");
        }
        let unheard = first("", "used", 0, "Labelled", true);
        assert_eq!(unheard.words(), "half-made, blank");
    }

    #[test]
    fn what_lvm_shows_in_a_group_or_in_none_goes_on() {
        for (row, words) in [
            (first("fast", "used", 9, "Claimed", false), "member, blank"),
            (first("", "", 0, "Claimed", true), "PV in no group, blank"),
        ] {
            assert_eq!(row.words(), words);
            assert!(!row.is_frozen());
        }
        let nothing = Row::of("==\n==\n==\n==\n==\n", [true; 2]).unwrap();
        assert_eq!(nothing.words(), "both: blank");
        assert!(Row::of("==\n==\n", [true; 2]).is_err());
        assert!(Row::of("==\n==\n==\n==\n==\n{", [true; 2]).is_err());
    }

    #[test]
    fn a_volume_in_the_pools_place_is_ours_by_its_tag_or_the_journal() {
        let of = |lvs: &str, making: &str| {
            let answers = format!("==\n==\n==\n{lvs}\n==\n{making}==\n");
            Row::of(&answers, [true; 2]).unwrap()
        };
        let creating = "basalt.state=creating";
        for (lvs, making, pool) in [
            (format!("pool0|thin-pool|{creating}"), "", Pool::Creating),
            (format!("pool0|linear|{creating}"), "", Pool::HalfMade),
            ("pool0|linear|".to_owned(), "{}\n", Pool::HalfMade),
            ("  lvol0|linear|".to_owned(), "{}\n", Pool::HalfMade),
            ("pool0|linear|".to_owned(), "", Pool::Unexplained),
            (
                "[lvol0_pmspare]|linear|\n pool0|thin-pool|".to_owned(),
                "",
                Pool::Made,
            ),
            (String::new(), "", Pool::None),
        ] {
            let row = of(&lvs, making);
            assert_eq!(row.pool, pool, "{lvs}");
            assert_eq!(row.is_frozen(), pool == Pool::Unexplained);
        }
    }
}
