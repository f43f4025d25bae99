//! docs/power-cuts.md: what came of each cut.

use std::collections::BTreeMap;
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
went on. `Ready`: group and pool are whole and nothing else is in the group, the pool takes another volume and agrees with
LVM about its transaction, and the volume that had data, where there was one, has it. A third disk, which no class picks, was
compared byte by byte after each.

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
        self.count(|_, verdict| verdict.outcome == Outcome::Ready)
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
            Outcome::Wrong(why) => Some(format!("{cut:?}, found {}: {why}", verdict.found)),
            Outcome::Ready | Outcome::Frozen(_) => None,
        };
        let wrong: Vec<String> = self.outcomes.iter().filter_map(wrong).collect();
        let (count, first) = (wrong.len(), wrong.first()?);
        Some(format!(
            "{}: {count} cuts went wrong, the first: {first}",
            self.title
        ))
    }

    /// Which write of the operation this is, counted from one, and where it went.
    fn place(&self, cut: &Cut) -> Option<(usize, &'static str)> {
        let n = self.places.iter().position(|(at, _)| *at == cut.at())?;
        Some((n + 1, self.places[n].1))
    }

    /// Runs of cuts with the same outcome, by the numbers of their writes.
    fn in_order(&self, text: &mut String) {
        text.push_str("\n| writes | they went to | claims in the journal | commands that followed | outcome |\n|---|---|---|---|---|\n");
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
            "\nThe sample (seed {}):\n\n| | at write | claims in the journal | commands that followed | outcome |\n|---|---|---|---|---|\n",
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
        Outcome::Ready => "Ready".to_owned(),
        Outcome::Frozen(why) => format!("Frozen: {why}"),
        Outcome::Wrong(why) => format!("**wrong**: {}", why.lines().next().unwrap_or_default()),
    };
    let commands = match verdict.commands.is_empty() {
        true => "none".to_owned(),
        false => verdict.commands.join(", "),
    };
    format!("{} | {commands} | {outcome}", verdict.found)
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
    use super::*;

    fn verdict(found: &str, outcome: Outcome) -> Verdict {
        Verdict {
            found: found.to_owned(),
            commands: vec!["pvcreate".to_owned()],
            forced: false,
            outcome,
        }
    }

    fn section() -> Section {
        let ready = |found| verdict(found, Outcome::Ready);
        Section {
            title: "Something",
            seed: 7,
            writes: 4,
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
            "| 1-2 | disk 1 1, journal 1 | no claim | pvcreate | Ready |",
            "| 3 | disk 1 1 | Claimed | pvcreate | Ready |",
            "| 4 | disk 2 1 | Claimed | pvcreate | Frozen: why |",
            "| torn | 3 | Claimed | pvcreate | Ready |",
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
}
