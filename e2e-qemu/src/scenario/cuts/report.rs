//! docs/power-cuts.md: what came of each cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Context as _;

use super::super::Context;
use super::judge::{Outcome, Verdict};
use crate::writes::Cut;

const BEGINNING: &str = "# Power cuts at every write

Written by `e2e-qemu test --all --record scenario::the_watcher_goes_on_after_a_cut_at_every_write`.

Each operation was done once by disk-watcher in a virtual machine, and every write below that machine was recorded: to both
disks and to the disk of the journal, in one order (QEMU's `blklogwrites`). For each of these writes the disks were made as
they were right after it, a guest booted with them, activated what LVM activates at boot, and started disk-watcher, which
went on. `Ready`: group and pool are whole and nothing else is in the group, no disk has other metadata than the newest, the
pool takes another volume and agrees with LVM about its transaction, and the volume that had data, where there was one, has
it. A third disk, which no class picks, was compared byte by byte after each.

`1 without metadata`: LVM lists the disk and committed nothing to it before the cut. It works, LVM writes nothing there later
either, and the description is on the other disk and in the journal (`restore-plan`).

Before disk-watcher starts, lvm and the journal tell which row of the resume table each disk is in. `Frozen`, where nothing
is done until a person has looked, is right in one kind of row and wrong in all others: the label says that the disk is in
a group, LVM knows no such group, and it is not proven that the group never was (`of a group that is lost`). There, going
on would be wrong. The test fails where the outcome is not the table's, where a command is forced, and where a recorded
write has no cut.

Writes to the journal's disk are those of its ext4: most change no file. Where disks and files are the same as after an
earlier cut, that one's outcome stands for both.

Beside the plain cuts there is a sample, another one in each run: the write at which the power went is torn at a sector, or
of the writes since the last flush some are lost, as a disk with a cache may lose them.
";

/// What came of the cuts of one operation.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) seed: u64,
    /// How many writes were recorded.
    pub(super) writes: usize,
    /// How many cuts were to be judged; with `at_each`, one after each write among them.
    pub(super) cuts: usize,
    pub(super) at_each: bool,
    /// Entry of the log and disk of each write.
    pub(super) places: Vec<(usize, &'static str)>,
    /// How many different states the cuts left.
    pub(super) states: usize,
    pub(super) outcomes: Vec<(Cut, Verdict)>,
}

impl Section {
    fn count(&self, which: impl Fn(&Cut, &Verdict) -> bool) -> usize {
        let all = self.outcomes.iter();
        all.filter(|(cut, verdict)| which(cut, verdict)).count()
    }

    fn after(&self) -> usize {
        self.count(|cut, _| matches!(cut, Cut::After(_)))
    }

    fn torn(&self) -> usize {
        self.count(|cut, _| matches!(cut, Cut::Torn { .. }))
    }

    fn lost(&self) -> usize {
        self.count(|cut, _| matches!(cut, Cut::Reordered { .. }))
    }

    fn ready(&self) -> usize {
        self.count(|_, verdict| matches!(verdict.outcome, Outcome::Ready(_)))
    }

    fn frozen(&self) -> usize {
        self.count(|_, verdict| matches!(verdict.outcome, Outcome::Frozen(_)))
    }

    /// One line.
    pub(super) fn summary(&self) -> String {
        format!(
            "{}: {} writes, cut after {} of them, {} torn, {} with writes lost; of {} different states {} cuts went on to Ready, {} are Frozen",
            self.title,
            self.writes,
            self.after(),
            self.torn(),
            self.lost(),
            self.states,
            self.ready(),
            self.frozen()
        )
    }

    /// What must not be, where there is something.
    pub(super) fn wrong(&self) -> Option<String> {
        let wrong = |(cut, verdict): &(Cut, Verdict)| match &verdict.outcome {
            Outcome::Wrong(why) => Some(format!("{cut:?}, found {}: {why}", verdict.row.words())),
            Outcome::Ready(_) | Outcome::Frozen(_) => None,
        };
        let wrong: Vec<String> = self.outcomes.iter().filter_map(wrong).collect();
        if let Some(first) = wrong.first() {
            let (title, count) = (self.title, wrong.len());
            return Some(format!(
                "{title}: {count} cuts went wrong, the first: {first}"
            ));
        }
        let after: BTreeSet<usize> = self
            .outcomes
            .iter()
            .filter(|(cut, _)| matches!(cut, Cut::After(_)))
            .map(|(cut, _)| cut.at())
            .collect();
        let missed = self.at_each && after.len() != self.writes || self.outcomes.len() != self.cuts;
        missed.then(|| {
            format!(
                "{}: of {} writes {} were cut after, and of {} cuts {} were judged",
                self.title,
                self.writes,
                after.len(),
                self.cuts,
                self.outcomes.len()
            )
        })
    }

    /// Which write of the operation this is, counted from one, and where it went.
    fn place(&self, cut: &Cut) -> Option<(usize, &'static str)> {
        let n = self.places.iter().position(|(at, _)| *at == cut.at())?;
        Some((n + 1, self.places[n].1))
    }

    /// Runs of cuts with the same outcome, by the numbers of their writes.
    fn in_order(&self, text: &mut String) {
        text.push_str("\n| writes | they went to | journal | disks | commands that followed | outcome |\n|---|---|---|---|---|---|\n");
        let plain = self
            .outcomes
            .iter()
            .filter(|(cut, _)| matches!(cut, Cut::After(_)));
        let numbered: Vec<_> = plain
            .filter_map(|(cut, verdict)| Some((self.place(cut)?, verdict)))
            .collect();
        for run in numbered.chunk_by(|(_, a), (_, b)| a == b) {
            let mut disks: BTreeMap<&str, usize> = BTreeMap::new();
            run.iter()
                .for_each(|((_, disk), _)| *disks.entry(disk).or_default() += 1);
            let disks: Vec<String> = disks
                .iter()
                .map(|(disk, n)| format!("{disk} {n}"))
                .collect();
            if let ([((first, _), verdict), ..], [.., ((last, _), _)]) = (run, run) {
                let range = match first == last {
                    true => first.to_string(),
                    false => format!("{first}-{last}"),
                };
                let _ = writeln!(
                    text,
                    "| {range} | {} | {} |",
                    disks.join(", "),
                    cells(verdict)
                );
            }
        }
    }

    /// The sample, what came of it alike together.
    fn sampled(&self, text: &mut String) {
        let mut alike: BTreeMap<(&str, &Verdict), Vec<usize>> = BTreeMap::new();
        for (cut, verdict) in &self.outcomes {
            let kind = match cut {
                Cut::After(_) => continue,
                Cut::Torn { .. } => "torn",
                Cut::Reordered { .. } => "writes lost",
            };
            let at = self.place(cut).map_or(0, |(n, _)| n);
            alike.entry((kind, verdict)).or_default().push(at);
        }
        if alike.is_empty() {
            return;
        }
        let _ = write!(
            text,
            "\nThe sample (seed {}):\n\n| | at write | journal | disks | commands that followed | outcome |\n|---|---|---|---|---|---|\n",
            self.seed
        );
        for ((kind, verdict), at) in alike {
            let at: Vec<String> = at.iter().map(usize::to_string).collect();
            let _ = writeln!(text, "| {kind} | {} | {} |", at.join(", "), cells(verdict));
        }
    }
}

fn cells(verdict: &Verdict) -> String {
    let outcome = match &verdict.outcome {
        Outcome::Ready(0) => "Ready".to_owned(),
        Outcome::Ready(without) => format!("Ready, {without} without metadata"),
        Outcome::Frozen(why) => format!("Frozen: {why}"),
        Outcome::Wrong(why) => format!("**wrong**: {}", why.lines().next().unwrap_or_default()),
    };
    let commands = match verdict.commands.is_empty() {
        true => "none".to_owned(),
        false => verdict.commands.join(", "),
    };
    format!(
        "{} | {} | {commands} | {outcome}",
        verdict.stages,
        verdict.row.words()
    )
}

/// Leaves the tables where people look for them: in docs where they are of everything and are to be kept.
pub(super) fn write(context: &Context, sections: &[Section]) -> anyhow::Result<()> {
    let file = match context.record {
        true => context.workspace.join("docs/power-cuts.md"),
        false => {
            std::fs::create_dir_all(context.artifacts())?;
            context.artifacts().join("power-cuts.md")
        }
    };
    std::fs::write(&file, text(sections)).with_context(|| format!("write {}", file.display()))
}

fn text(sections: &[Section]) -> String {
    let mut text = BEGINNING.to_owned();
    text.push_str(
        "\n| operation | writes recorded | cut after each | torn | writes lost | different states | Ready | Frozen | forced commands |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for section in sections {
        let forced = section
            .outcomes
            .iter()
            .filter(|(_, verdict)| verdict.forced);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            section.title,
            section.writes,
            section.after(),
            section.torn(),
            section.lost(),
            section.states,
            section.ready(),
            section.frozen(),
            forced.count()
        );
    }
    for section in sections {
        let _ = writeln!(text, "\n## {}", section.title);
        section.in_order(&mut text);
        section.sampled(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::table::Row;
    use super::*;

    fn verdict(stages: &str, outcome: Outcome) -> Verdict {
        Verdict {
            stages: stages.to_owned(),
            row: Row::of("== == == == ==", [true; 2]).unwrap(),
            commands: vec!["pvcreate".to_owned()],
            forced: false,
            outcome,
        }
    }

    fn section() -> Section {
        let ready = |stages| verdict(stages, Outcome::Ready(0));
        Section {
            title: "Something",
            seed: 7,
            writes: 4,
            cuts: 5,
            at_each: true,
            states: 3,
            places: vec![
                (10, "disk 1"),
                (11, "journal"),
                (13, "disk 1"),
                (14, "disk 2"),
            ],
            outcomes: vec![
                (Cut::After(10), ready("no claim")),
                (Cut::After(11), ready("no claim")),
                (Cut::After(13), ready("Claimed")),
                (
                    Cut::Torn {
                        at: 13,
                        sectors: 0..1,
                    },
                    ready("Claimed"),
                ),
                (
                    Cut::After(14),
                    verdict("Claimed", Outcome::Frozen("why".into())),
                ),
            ],
        }
    }

    #[test]
    fn alike_cuts_stand_in_one_row() {
        let text = text(&[section()]);
        for row in [
            "| Something | 4 | 4 | 1 | 0 | 3 | 4 | 1 | 0 |",
            "| 1-2 | disk 1 1, journal 1 | no claim | both: blank | pvcreate | Ready |",
            "| 3 | disk 1 1 | Claimed | both: blank | pvcreate | Ready |",
            "| 4 | disk 2 1 | Claimed | both: blank | pvcreate | Frozen: why |",
            "| torn | 3 | Claimed | both: blank | pvcreate | Ready |",
        ] {
            assert!(
                text.lines().any(|line| line == row),
                "{row} is not in\n{text}"
            );
        }
        assert_eq!(section().wrong(), None);
    }

    #[test]
    fn what_must_not_be_is_told() {
        let mut section = section();
        section.outcomes[1].1.outcome = Outcome::Wrong("gone".into());
        let told = section.wrong().unwrap();
        assert!(told.contains("1 cuts") && told.contains("After(11)") && told.ends_with("gone"));
    }

    #[test]
    fn a_write_after_which_nothing_was_cut_is_told() {
        let told = |section: &Section| section.wrong().unwrap_or_default();
        let mut short = section();
        short.outcomes.remove(0);
        assert!(told(&short).contains("of 4 writes 3 were cut after"));
        short.cuts = 4;
        assert!(told(&short).contains("of 4 writes 3 were cut after"));
        short.at_each = false;
        assert_eq!(short.wrong(), None, "a run of a few");
        let mut twice = section();
        twice.outcomes[0].0 = Cut::After(11);
        assert!(told(&twice).contains("of 4 writes 3 were cut after"));
    }
}
