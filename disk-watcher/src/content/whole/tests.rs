use std::path::Path;
use std::sync::atomic::Ordering;

use super::job::{Outcome, Run};
use super::*;

/// Ends when told; a disk at `blank` ends at once, and one at `data` with a byte that is not zero.
fn fake(node: &Path, _: &Untouched, start: u64, run: &Run) -> Outcome {
    run.done.store(1 << 20, Ordering::Relaxed);
    match node.to_str() {
        Some("blank") => Ok(None),
        Some("data") => Ok(Some(start.max(4096))),
        Some("breaks") => panic!("as a bug would have it"),
        _ => {
            while !run.stop.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            Err("stopped".into())
        }
    }
}

/// Readings of fake disks, in a pass.
fn reads() -> WholeReads {
    let reads = WholeReads::with(fake);
    reads.begin_pass(true);
    reads
}

fn tell(reads: &WholeReads, name: &str, writes: u64, answered: u64, start: u64) -> Whole {
    let target = Target {
        name: name.to_owned(),
        disk: format!("disk of {name}"),
        node: name.to_owned(),
    };
    reads.tell(target, Untouched::after(writes), answered, start)
}

/// What is said of the disk after so many writes; it answered reads meanwhile.
fn ask(reads: &WholeReads, name: &str, writes: u64, start: u64) -> Whole {
    tell(reads, name, writes, 0, start);
    tell(reads, name, writes, 9, start)
}

/// The same once it ended.
fn ended(reads: &WholeReads, name: &str, writes: u64, start: u64) -> Whole {
    loop {
        match ask(reads, name, writes, start) {
            Whole::Reading(_) => std::thread::yield_now(),
            other => return other,
        }
    }
}

fn is_read(reads: &WholeReads, name: &str) -> bool {
    reads.jobs().of.get(name).is_some_and(Job::is_read)
}

/// What the thread that reads this disk now is told and tells.
fn run_of(reads: &WholeReads, name: &str) -> Arc<Run> {
    reads.jobs().of[name].run().unwrap()
}

#[test]
fn a_reading_ends_blank_or_at_the_first_byte_and_is_not_made_again() {
    let reads = reads();
    assert_eq!(ended(&reads, "blank", 0, 0), Whole::Blank);
    assert_eq!(ended(&reads, "data", 0, 0), Whole::NotZero(4096));
    let before = run_of(&reads, "blank");
    reads.begin_pass(true);
    assert_eq!(ask(&reads, "blank", 0, 0), Whole::Blank);
    assert_eq!(
        ask(&reads, "blank", 0, 1 << 20),
        Whole::Blank,
        "all of it is more than a part"
    );
    assert!(Arc::ptr_eq(&before, &run_of(&reads, "blank")));
    assert_eq!(
        ended(&reads, "data", 0, 8192),
        Whole::NotZero(8192),
        "what stands before says nothing of what is behind"
    );
}

#[test]
fn a_write_or_an_event_voids_a_reading_and_it_begins_anew() {
    let reads = reads();
    assert!(matches!(ask(&reads, "slow", 0, 0), Whole::Reading(_)));
    let first = run_of(&reads, "slow");
    assert!(matches!(ask(&reads, "slow", 1, 0), Whole::Reading(_)));
    assert!(first.stop.load(Ordering::Relaxed), "a write");
    let second = run_of(&reads, "slow");
    reads.forget(Some("another"));
    assert!(!second.stop.load(Ordering::Relaxed));
    reads.forget(Some("disk of slow"));
    assert!(
        second.stop.load(Ordering::Relaxed),
        "an event, as of its disk where it is a partition"
    );
    assert_eq!(ended(&reads, "blank", 0, 0), Whole::Blank);
    let before = run_of(&reads, "blank");
    tell(&reads, "blank", 1, 9, 0);
    // It may have come to its end by now.
    assert!(
        !Arc::ptr_eq(&before, &run_of(&reads, "blank")),
        "it was blank before the write"
    );
}

#[test]
fn what_nobody_asks_for_any_more_is_not_read_on() {
    let reads = reads();
    ask(&reads, "slow", 0, 0);
    let run = run_of(&reads, "slow");
    reads.end_pass();
    assert!(!run.stop.load(Ordering::Relaxed));
    reads.begin_pass(true);
    reads.end_pass();
    assert!(
        run.stop.load(Ordering::Relaxed),
        "unplugged, or no class wants it"
    );
    reads.begin_pass(true);
    ask(&reads, "slow", 0, 0);
    let run = run_of(&reads, "slow");
    drop(reads);
    assert!(run.stop.load(Ordering::Relaxed), "the program ends");
}

#[test]
fn two_disks_are_read_at_once_and_the_others_in_turn() {
    let reads = reads();
    for disk in ["a", "b", "c", "d"] {
        assert!(matches!(ask(&reads, disk, 0, 0), Whole::Reading(_)));
    }
    let are_read = || ["a", "b", "c", "d"].map(|disk| is_read(&reads, disk));
    assert_eq!(are_read(), [true, true, false, false]);
    ask(&reads, "a", 1, 0);
    assert_eq!(
        are_read(),
        [false, true, true, false],
        "one that is written to all the time waits behind those that wait"
    );
    reads.forget(Some("b"));
    reads.end_pass();
    assert_eq!(are_read(), [false, false, true, true]);
}

#[test]
fn nothing_is_read_for_one_that_only_looks() {
    let reads = reads();
    reads.begin_pass(false);
    assert!(matches!(ask(&reads, "blank", 0, 0), Whole::Reading(_)));
    reads.end_pass();
    assert!(!is_read(&reads, "blank"));
    assert!(matches!(ask(&reads, "blank", 0, 0), Whole::Reading(_)));
}

#[test]
fn counts_that_do_not_move_and_readers_that_break_prove_nothing() {
    let reads = reads();
    assert_eq!(ended(&reads, "blank", 0, 0), Whole::Blank);
    assert!(
        matches!(tell(&reads, "blank", 0, 0, 0), Whole::Unknown(why) if why.contains("iostats")),
        "it was read, and no read was counted"
    );
    assert!(matches!(ended(&reads, "breaks", 0, 0), Whole::Unknown(_)));
}

#[test]
fn a_reading_grows_old_once_no_disk_is_read_any_more() {
    let reads = reads();
    assert_eq!(ended(&reads, "blank", 0, 0), Whole::Blank);
    let later = Instant::now() + FRESH;
    assert!(reads.jobs().is_fresh("blank", Instant::now()));
    assert!(!reads.jobs().is_fresh("blank", later));
    ask(&reads, "slow", 0, 0);
    assert!(
        reads.jobs().is_fresh("blank", later),
        "it may be one of several that a group waits for"
    );
}
