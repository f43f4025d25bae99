//! Records a story: one virtual machine, its disks slices of one file, and notes among the writes that tell the operations
//! apart.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::super::{Context, onboarding};
use super::judge::look;
use super::operation::{BYSTANDER, DISKS, JOURNAL, NOTES, Operation, Story};
use crate::command::Command;
use crate::guest::Guest;
use crate::spec::{Backend, Recorded};
use crate::writes::{Cut, Entry, Image, Log};

/// How long an operation may take in an emulated machine; ten times what it does.
const PATIENCE: Duration = Duration::from_mins(5);

/// What a machine did to its disks.
pub(super) struct Recording {
    /// The disks as they were at first.
    pub(super) first: Image,
    /// All that was done to them.
    pub(super) entries: Vec<Entry>,
    /// The UUID of the PV on the first disk.
    pub(super) first_pv: String,
    /// The digest of the volume, where there is one.
    pub(super) volume: Option<String>,
    /// What the disk has that is nobody's business.
    pub(super) bystander: Vec<u8>,
}

/// The disks in the order of their slices.
pub(super) const SIZES: [u64; 5] = [DISKS[0], DISKS[1], JOURNAL, BYSTANDER, NOTES];
const NAMES: [&str; 5] = ["disk 1", "disk 2", "journal", "unclaimed disk", "notes"];

/// Where a slice begins and ends.
pub(super) fn slice(n: usize) -> Range<u64> {
    let start = SIZES[..n].iter().sum();
    start..start + SIZES[n]
}

pub(super) fn record(context: &Context, story: &Story) -> anyhow::Result<Recording> {
    let started = Instant::now();
    let dir = tempfile::Builder::new()
        .prefix("basalt-writes-")
        .tempdir_in("/var/tmp")
        .context("a folder for the recording")?;
    let (image, log) = (dir.path().join("all"), dir.path().join("log"));
    let mut bystander = vec![0; usize::try_from(BYSTANDER)?];
    std::io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bystander)?;
    let file = File::create_new(&image)?;
    file.set_len(SIZES.iter().sum())?;
    file.write_all_at(&bystander, slice(3).start)?;
    File::create_new(&log)?;
    let mut first = Image::default();
    first.write(slice(3).start, &bystander);

    let spec = context
        .spec(Backend::Qemu, &format!("record-{}", story.name))
        .memory_mib(768)
        .module("dm_mirror")
        .recorded(Recorded {
            image,
            log: log.clone(),
            sizes: SIZES.to_vec(),
        });
    let guest = Guest::boot(spec)?;
    let journal = device(&guest, JOURNAL)?;
    guest.shell(format!(
        "mkfs.ext4 -q {journal}; mkdir -p /run/j; mount {journal} /run/j; sync"
    ))?;
    let (mut first_pv, mut volume) = (String::new(), None);
    for (n, operation) in story.operations.iter().enumerate() {
        if operation.volume_first {
            volume = Some(make_volume(&guest)?);
        }
        note(&guest, 2 * n)?;
        run(context, &guest, operation, &first_pv).with_context(|| operation.title)?;
        note(&guest, 2 * n + 1)?;
        if n == 0 {
            let disk = device(&guest, DISKS[0])?;
            first_pv = guest.shell(format!("lvm pvs --noheadings -o pv_uuid {disk}"))?;
            first_pv = first_pv.trim().to_owned();
        }
    }
    guest.shutdown()?;
    drop(guest);
    let entries = Log::parse(&fs::read(&log)?)?.entries;
    println!(
        "     | story {} recorded in {:.0} s",
        story.name,
        started.elapsed().as_secs_f64()
    );
    let recording = Recording {
        first,
        entries,
        first_pv,
        volume,
        bystander,
    };
    let untouched = slice(3);
    let strayed = recording.entries.iter().find(|entry| match entry {
        Entry::Write { offset, .. } | Entry::Discard { offset, .. } => untouched.contains(offset),
        Entry::Flush | Entry::Mark(_) => false,
    });
    ensure!(strayed.is_none(), "a disk that is not ours was written");
    Ok(recording)
}

/// The recorded disk of this size.
fn device(guest: &Guest, size: u64) -> anyhow::Result<String> {
    let sectors = size / 512;
    let name = guest.shell(format!(
        "for d in /sys/block/vd*; do if [ $(cat $d/size) = {sectors} ]; then echo /dev/${{d##*/}}; fi; done"
    ))?;
    ensure!(name.lines().count() == 1, "disks of {size} bytes: {name:?}");
    Ok(name)
}

/// Leaves a note in its place among the writes.
fn note(guest: &Guest, number: usize) -> anyhow::Result<()> {
    let notes = device(guest, NOTES)?;
    let dd = format!(
        "sync; dd of={notes} bs=512 seek={number} iflag=fullblock oflag=direct conv=notrunc status=none"
    );
    let mut text = format!("note {number}").into_bytes();
    text.resize(512, b' ');
    guest.check(Command::shell(dd).stdin(text))?;
    Ok(())
}

/// A volume full of data, all of it on the disks. Returns its digest.
fn make_volume(guest: &Guest) -> anyhow::Result<String> {
    Ok(guest.shell(
        "lvm lvcreate -qq -y -V 40M -T fast/pool0 -n data >&2 && \
         dd if=/dev/urandom of=/dev/fast/data bs=1M count=40 oflag=direct conv=fsync status=none && \
         sha256sum </dev/fast/data",
    )?)
}

/// Has the watcher do it, to its end.
fn run(
    context: &Context,
    guest: &Guest,
    operation: &Operation,
    first_pv: &str,
) -> anyhow::Result<()> {
    let config = operation.config(first_pv);
    let watcher = onboarding::start_with(context, guest, &config)?;
    let started = Instant::now();
    loop {
        let (stages, status) = look(guest)?;
        if operation.is_done(&stages, &status) {
            break;
        }
        if watcher.status().is_some() || started.elapsed() > PATIENCE {
            let log = String::from_utf8_lossy(&watcher.stderr()).into_owned();
            bail!("not done: {stages:?} {status:#}\n{log}");
        }
    }
    println!(
        "     | {}: done in {:.1} s",
        operation.title,
        started.elapsed().as_secs_f64()
    );
    stop(guest)
}

/// Ends the watcher, and what it started.
pub(super) fn stop(guest: &Guest) -> anyhow::Result<()> {
    guest.shell(
        "pkill -x disk-watcher || true; \
         while pgrep -x disk-watcher >/dev/null || pgrep -x lvm >/dev/null; do sleep 0.1; done; \
         rm -rf /run/status",
    )?;
    Ok(())
}

impl Recording {
    /// The part of the log that is the operation with this number.
    pub(super) fn part(&self, operation: usize) -> anyhow::Result<Range<usize>> {
        let notes = slice(4);
        let at = |number: usize| {
            let wanted = notes.start + number as u64 * 512;
            self.entries
                .iter()
                .position(|entry| matches!(entry, Entry::Write { offset, .. } if *offset == wanted))
                .with_context(|| format!("note {number} is not in the log"))
        };
        Ok(at(2 * operation)? + 1..at(2 * operation + 1)?)
    }

    /// Which disk each of these writes went to, with its number in the log.
    pub(super) fn places(&self, writes: &[Cut]) -> Vec<(usize, &'static str)> {
        let place = |cut: &Cut| match &self.entries[cut.at()] {
            Entry::Write { offset, .. } | Entry::Discard { offset, .. } => {
                let n = (0..SIZES.len()).find(|n| slice(*n).contains(offset))?;
                Some((cut.at(), NAMES[n]))
            }
            Entry::Flush | Entry::Mark(_) => None,
        };
        writes.iter().filter_map(place).collect()
    }
}
