//! The power goes at every single write of what the disk watcher does to disks.
//!
//! An operation runs once, in a virtual machine whose every write is recorded below it: to the disks and to the disk of the
//! watcher's journal, in one order. Then for each write the disks are made as they were at that moment, a guest boots with
//! them, and the watcher goes on.

mod distinct;
mod judge;
mod operation;
mod record;
mod report;
mod table;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};

use self::distinct::{Distinct, distinct};
use self::judge::{Judge, Outcome, Verdict};
use self::operation::{Operation, Story};
use self::record::Recording;
use super::Context;
use crate::writes::Cut;
use crate::writes::states::{every_write, sample, states};

/// How many guests judge at once, in a short run beside other tests and when everything is run.
const JUDGES: (usize, usize) = (2, 4);
/// How many torn writes, and how many lost ones, of each operation, when everything is run.
const SAMPLE: usize = 8;
/// A short run cuts at so many writes of its operation.
const FEW: usize = 6;

/// Every operation, at each of its writes; or one of them, at some.
pub(super) fn at_every_write(context: &Context) -> anyhow::Result<()> {
    let stories = if context.all {
        vec![Story::one_disk(), Story::two_disks()]
    } else {
        vec![Story::one_disk().only_the_first()]
    };
    let recordings = std::thread::scope(|scope| {
        let record = |story| scope.spawn(move || record::record(context, story));
        let running: Vec<_> = stories.iter().map(record).collect();
        let ended = running.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended
            .map(|ended| ended.unwrap_or_else(|_| bail!("a recording panicked")))
            .collect::<anyhow::Result<Vec<Recording>>>()
    })?;
    let mut sections = Vec::new();
    for (story, recording) in stories.iter().zip(&recordings) {
        for (n, operation) in story.operations.iter().enumerate() {
            sections.push(cut(context, recording, operation, n)?);
            // What is done is kept when the rest is not.
            report::write(context, &sections)?;
        }
    }
    for section in &sections {
        context.result(section.summary());
    }
    match sections.iter().find_map(report::Section::wrong) {
        Some(wrong) => bail!("{wrong}"),
        None => Ok(()),
    }
}

/// Cuts one operation of a recording, and judges what comes of each cut.
fn cut(
    context: &Context,
    recording: &Recording,
    operation: &Operation,
    index: usize,
) -> anyhow::Result<report::Section> {
    let part = recording.part(index)?;
    let writes = every_write(&recording.entries, part.clone());
    let mut cuts = writes.clone();
    let seed = seed();
    if context.all {
        cuts.extend(sample(&recording.entries, part, SAMPLE, seed));
    } else {
        // The last one is among them.
        let each = writes.len().div_ceil(FEW);
        cuts = writes.iter().rev().step_by(each).cloned().collect();
    }
    println!(
        "     | {}: {} writes, {} cuts, seed {seed}",
        operation.title,
        writes.len(),
        cuts.len()
    );
    let asked = cuts.len();
    let all = states(recording.first.clone(), &recording.entries, cuts);
    let all = distinct(all)?;
    let judged_states = all.len();
    println!("     | {judged_states} distinct states");
    let outcomes = judged(context, recording, operation, all)?;
    Ok(report::Section {
        title: operation.title,
        seed,
        writes: writes.len(),
        cuts: asked,
        at_each: context.all,
        places: recording.places(&writes),
        states: judged_states,
        outcomes,
    })
}

fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Judges all states, some at a time, those that are alike once.
fn judged(
    context: &Context,
    recording: &Recording,
    operation: &Operation,
    all: Vec<Distinct>,
) -> anyhow::Result<Vec<(Cut, Verdict)>> {
    let todo = Mutex::new(VecDeque::from(all));
    let done: Mutex<Vec<(usize, Cut, Verdict)>> = Mutex::default();
    let next = || {
        todo.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let work = |n: usize| -> anyhow::Result<()> {
        let mut judge = Judge::boot(context, &format!("judge-{n}"))?;
        while let Some(Distinct { image, cuts, .. }) = next() {
            let verdict = judge
                .judge(context, recording, operation, &image)
                .with_context(|| format!("{}: {cuts:?}", operation.title))?;
            if let Outcome::Wrong(why) = &verdict.outcome {
                println!("     | {}: {cuts:?}: {why}", operation.title);
            }
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            let cuts = cuts.into_iter();
            done.extend(cuts.map(|(index, cut)| (index, cut, verdict.clone())));
        }
        Ok(())
    };
    let judges = if context.all { JUDGES.1 } else { JUDGES.0 };
    std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..judges).map(|n| scope.spawn(move || work(n))).collect();
        for worker in workers {
            match worker.join() {
                Ok(ended) => ended?,
                Err(_) => bail!("a judge panicked"),
            }
        }
        Ok(())
    })?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, ..)| *index);
    Ok(done
        .into_iter()
        .map(|(_, cut, verdict)| (cut, verdict))
        .collect())
}
