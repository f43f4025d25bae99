//! A guest that gets disks as a power cut left them, and the watcher that goes on with them.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::super::{Context, onboarding};
use super::operation::Operation;
use super::record::{Recording, SIZES, slice, stop};
use super::table::Row;
use crate::guest::Guest;
use crate::spec::{Backend, Disk};
use crate::writes::Image;

/// How long the watcher may take; ten times what it does, and a disk that leaves takes half a minute.
const PATIENCE: Duration = Duration::from_mins(5);
/// One that says "frozen" must still say so after this long.
const FROZEN: Duration = Duration::from_secs(5);

/// What came of a cut.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// All is done and whole; LVM does not keep the group's metadata on so many of its disks.
    Ready(usize),
    /// Nothing is done until a person has looked: the row of the resume table.
    Frozen(String),
    /// This must not be.
    Wrong(String),
}

/// What came of a cut, and the way there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Verdict {
    /// The stages in the journal as the cut left it.
    pub(super) stages: String,
    /// What stood on the disks: the row of the resume table.
    pub(super) row: Row,
    /// The commands that were run, without their arguments.
    pub(super) commands: Vec<String>,
    /// Whether one of them was forced.
    pub(super) forced: bool,
    pub(super) outcome: Outcome,
}

pub(super) struct Judge {
    guest: Option<Guest>,
}

impl Judge {
    pub(super) fn boot(context: &Context, name: &str) -> anyhow::Result<Self> {
        let spec = context.spec(Backend::Uml, name).memory_mib(384);
        let spec = spec.limit(Duration::from_secs(24 * 3600));
        // The notes are the recording's own.
        let sizes = &SIZES[..SIZES.len() - 1];
        let spec = sizes
            .iter()
            .fold(spec, |spec, size| spec.disk(Disk::new(*size)));
        Ok(Self {
            guest: Some(Guest::boot(spec)?),
        })
    }

    /// Boots with these disks, and has the watcher go on.
    pub(super) fn judge(
        &mut self,
        context: &Context,
        recording: &Recording,
        operation: &Operation,
        image: &Image,
    ) -> anyhow::Result<Verdict> {
        let guest = self.guest.take().context("the judge is gone")?;
        guest.cut_power()?;
        for (n, disk) in guest.disks().iter().enumerate() {
            image.save(&slice(n), disk.image())?;
        }
        let guest = guest.reboot()?;
        let verdict = go_on(context, &guest, recording, operation, image)?;
        guest.cut_power()?;
        let disks = guest.disks();
        let bystander = disks.get(3).context("the unclaimed disk")?;
        ensure!(
            fs::read(bystander.image())? == recording.bystander,
            "a disk that is not ours changed"
        );
        self.guest = Some(guest);
        Ok(verdict)
    }
}

fn go_on(
    context: &Context,
    guest: &Guest,
    recording: &Recording,
    operation: &Operation,
    image: &Image,
) -> anyhow::Result<Verdict> {
    // As a node does when it boots: what has the journal is mounted, groups that are whole are activated.
    guest.shell(
        "mkdir -p /run/j; mount /dev/ubdd /run/j; lvm vgchange -qq -aay >/dev/null 2>&1 || true",
    )?;
    let (found, _) = look(guest)?;
    let row = Row::ask(guest, image)?;
    let config = operation.config(&recording.first_pv);
    let watcher = onboarding::start_with(context, guest, &config)?;
    let started = Instant::now();
    let mut frozen: Option<Instant> = None;
    let outcome = loop {
        let (stages, status) = look(guest)?;
        let log = String::from_utf8_lossy(&watcher.stderr()).into_owned();
        if operation.is_done(&stages, &status) {
            stop(guest)?;
            break match whole(guest, recording, operation) {
                Ok(without) => Outcome::Ready(without),
                Err(error) => Outcome::Wrong(format!("{error:#}\n{log}")),
            };
        }
        match log.lines().rev().find(|line| line.contains("frozen: ")) {
            Some(line) if frozen.is_some_and(|since| since.elapsed() > FROZEN) => {
                let why = line.split_once("frozen: ").map_or(line, |(_, why)| why);
                stop(guest)?;
                break Outcome::Frozen(without_uuids(why.trim_end_matches('"')));
            }
            Some(_) => frozen = frozen.or_else(|| Some(Instant::now())),
            None => frozen = None,
        }
        if watcher.status().is_some() || started.elapsed() > PATIENCE {
            break Outcome::Wrong(format!("not done: {stages:?} {status:#}\n{log}"));
        }
    };
    let log = String::from_utf8_lossy(&watcher.stderr()).into_owned();
    let (commands, forced) = commands(&log);
    let outcome = match &forced {
        Some(line) => Outcome::Wrong(format!("a forced command: {line}")),
        None => as_the_table_says(outcome, &row),
    };
    Ok(Verdict {
        stages: if found.is_empty() {
            "no claim".to_owned()
        } else {
            found.join(", ")
        },
        row,
        commands,
        forced: forced.is_some(),
        outcome,
    })
}

/// Frozen where the resume table says so, and only there.
fn as_the_table_says(outcome: Outcome, row: &Row) -> Outcome {
    match (outcome, row.is_frozen()) {
        (Outcome::Frozen(why), false) => Outcome::Wrong(format!(
            "frozen where the table goes on ({}): {why}",
            row.words()
        )),
        (Outcome::Ready(_), true) => Outcome::Wrong(format!(
            "it went on where the table says Frozen ({})",
            row.words()
        )),
        (outcome, _) => outcome,
    }
}

/// The text, the same for all disks: without UUIDs of PVs and groups.
fn without_uuids(text: &str) -> String {
    let is_uuid = |word: &&str| {
        let parts = word.split('-').map(str::len);
        parts.eq([6, 4, 4, 4, 4, 4, 6])
    };
    let words = text
        .split(' ')
        .map(|word| match Some(word).filter(is_uuid) {
            Some(_) => "UUID",
            None => word,
        });
    words.collect::<Vec<_>>().join(" ")
}

/// The commands of a watcher's log, and the first of them that was forced.
fn commands(log: &str) -> (Vec<String>, Option<String>) {
    let lines = log
        .lines()
        .filter_map(|line| line.split_once("running command="));
    let (mut verbs, mut forced) = (Vec::new(), None);
    for (_, command) in lines {
        let mut words = command
            .split_whitespace()
            .skip_while(|word| !word.ends_with("lvm"))
            .skip(1);
        verbs.extend(words.next().map(str::to_owned));
        if command
            .split_whitespace()
            .any(|word| ["-f", "-ff", "-yff", "--force"].contains(&word))
        {
            forced = Some(command.to_owned());
        }
    }
    (verbs, forced)
}

/// The group is whole and has what belongs there and nothing else, its volume has its data, and the pool takes another.
/// Says how many disks are without the metadata.
fn whole(guest: &Guest, recording: &Recording, operation: &Operation) -> anyhow::Result<usize> {
    let volumes = guest.shell(
        "lvm vgck fast; lvm lvs -a --noheadings -o lv_name,segtype,lv_tags fast | \
         sed 's/ \\+/ /g; s/ basalt.threshold=70//; s/lvol[0-9]*_/lvol_/; s/^ //; s/ $//' | sort -u",
    )?;
    let volumes: Vec<&str> = volumes.lines().collect();
    ensure!(
        volumes == operation.volumes(),
        "not whole, or not alone: {volumes:?}"
    );
    let count = guest.shell("lvm vgs --noheadings -o pv_count,vg_missing_pv_count fast")?;
    let wanted = format!("{} 0", operation.disks());
    ensure!(
        count.split_whitespace().collect::<Vec<_>>().join(" ") == wanted,
        "PVs, and those that are missing: {count}"
    );
    let without = copies(guest)?;
    if operation.has_volume {
        let sum = guest.shell("sha256sum </dev/fast/data")?;
        ensure!(
            Some(&sum) == recording.volume.as_ref(),
            "the volume changed"
        );
    }
    if operation.has_pool() {
        guest.shell(
            "lvm lvcreate -qq -y -V 16M -T fast/pool0 -n probe >&2 && \
             dd if=/dev/urandom of=/dev/fast/probe bs=1M count=4 oflag=direct conv=fsync status=none && \
             id=$(lvm lvs --noheadings -o transaction_id fast/pool0) && \
             [ $id = $(dmsetup status fast-pool0-tpool | cut -d' ' -f4) ]",
        )?;
    }
    Ok(without)
}

/// Each disk has the group's newest metadata by itself, or none: to one that a cut vgcreate or vgextend committed nothing to
/// LVM writes nothing later either. Says how many those are.
fn copies(guest: &Guest) -> anyhow::Result<usize> {
    let said = guest.shell(
        "lvm vgs --noheadings -o seqno fast; \
         for disk in $(lvm vgs --noheadings -o pv_name fast); do \
             echo $(lvm pvck --dump headers $disk | sed -n 's/mda_header_1.raw_locn.0..size//p') \
                  $(lvm pvck --dump metadata $disk 2>/dev/null | sed -n 's/.*seqno = //p'); \
         done",
    )?;
    let mut lines = said.lines().map(str::trim);
    let newest = lines.next().context("no such group")?;
    let copies: Vec<Vec<&str>> = lines.map(|line| line.split(' ').collect()).collect();
    let without = copies.iter().filter(|copy| copy[..] == ["0"]).count();
    let same =
        |copy: &&Vec<&str>| matches!(copy[..], [size, seqno] if size != "0" && seqno == newest);
    let with = copies.iter().filter(same).count();
    ensure!(
        with > 0 && with + without == copies.len(),
        "the disks have different copies of the metadata: {said}"
    );
    Ok(without)
}

/// The stages of the claims in the journal, and what the watcher says of itself, a moment from now: looking costs the
/// guest's one processor.
pub(super) fn look(guest: &Guest) -> anyhow::Result<(Vec<String>, Value)> {
    let text = guest.shell(
        "sleep 0.2; cat /run/j/journal/claims/*.json 2>/dev/null | sed -n 's/.*\"stage\": \"\\(.*\\)\".*/\\1/p' | sort; \
         cat /run/status/status.json 2>/dev/null || true",
    )?;
    let (stages, status) = text.split_at(text.find('{').unwrap_or(text.len()));
    let stages = stages.lines().map(str::to_owned).collect();
    Ok((stages, serde_json::from_str(status).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_is_right_in_the_rows_of_the_table_that_say_so_and_nowhere_else() {
        let answers = |committed| {
            format!(
                "/dev/ubdb|u||used == == /dev/ubdb {committed} == == == {{\"pvUuid\": \"u\", \"vgUuid\": null, \"stage\": \"Labelled\"}}"
            )
        };
        let goes_on = Row::of(&answers(0), [true; 2]).unwrap();
        let frozen = Row::of(&answers(2613), [true; 2]).unwrap();
        let said = Outcome::Frozen("why".into());
        let is_wrong = |outcome, row| matches!(as_the_table_says(outcome, row), Outcome::Wrong(_));
        assert!(is_wrong(said.clone(), &goes_on));
        assert!(is_wrong(Outcome::Ready(0), &frozen));
        assert_eq!(as_the_table_says(said.clone(), &frozen), said);
        let ready = Outcome::Ready(0);
        assert_eq!(as_the_table_says(ready.clone(), &goes_on), ready);
    }

    #[test]
    fn what_was_forced_is_told() {
        let log = |command: &str| format!("x running command=/usr/sbin/lvm {command}\ny\n");
        let plain = log("vgck --updatemetadata --devices /dev/a fast");
        assert_eq!(commands(&plain), (vec!["vgck".to_owned()], None));
        for force in ["-f", "-ff", "--force", "-yff"] {
            let both = plain.clone() + &log(&format!("pvcreate {force} a"));
            let (_, forced) = commands(&both);
            assert!(forced.is_some_and(|line| line.contains(force)));
        }
    }

    #[test]
    fn a_reason_reads_the_same_for_each_disk() {
        let why = "PV 8lba63-FPad-UBYe-FO42-Ujqp-KIWx-vxq71F says it is half-made";
        assert_eq!(without_uuids(why), "PV UUID says it is half-made");
    }
}
