//! Runs jobs, several at once.
//!
//! Each worker is a thread. For guest tests it keeps one guest and gives it one test after the other; it takes a
//! new guest after a failure, after a test that says it leaves a mess (its name ends in `_dirty`), and after one
//! that left a mess without saying so.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::Options;
use super::build::GuestTest;
use super::record::Record;
use super::report::{Outcome, Report};
use crate::attached::Attached;
use crate::command::{Command, Output};
use crate::error::{GuestError, Result};
use crate::guest::Guest;
use crate::scenario::{Context, Scenario};
use crate::spec::{Disk, Spec};

/// What a guest for tests has: four disks of 512 MiB.
const DISKS: [u64; 4] = [512 << 20; 4];
/// What a guest has for a test whose name ends with [`ON_LARGE_DISKS`]; they take no room until they are written.
const LARGE_DISKS: [u64; 4] = [6 << 30, 6 << 30, 512 << 20, 512 << 20];
const ON_LARGE_DISKS: &str = "_on_large_disks";
const MEMORY_MIB: u32 = 768;

/// How much of a failed test's output and of its guest's console is shown, in lines.
const OUTPUT: usize = 200;
const CONSOLE: usize = 40;
/// How much of what a panic said is shown where the output is too long.
const PANIC: usize = 20;

/// Removes files that no test looks for, then prints what the next test would find of the last one: mapped
/// devices, mounts, other disks, programs. Nothing printed: clean.
const LEFTOVERS: &str = r#"
rm -rf /tmp/* /var/lib/* /etc/lvm/* /run/lvm/*
dmsetup ls 2>/dev/null | grep -v '^No devices' || true
grep '^/dev/' /proc/self/mounts | grep -v -e '^/dev/root ' -e ' squashfs ' || true
ls /sys/block | grep -E '^(sd|md|loop|nbd|zram|bcache)' || true
ps --ppid 2 -p 2 --deselect -o comm= | grep -vxE 'agent|systemd-udevd|\(udev-worker\)|sh|ps|grep' || true
"#;

/// Something to run.
#[derive(Debug, Clone)]
pub enum Job {
    /// A test function inside a guest.
    Guest(GuestTest),
    /// A function here that boots guests.
    Scenario(Scenario),
}

impl Job {
    /// Its full name: suite and function.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Guest(test) => format!("{}::{}", test.suite, test.function),
            Self::Scenario(scenario) => format!("{}{}", Scenario::PREFIX, scenario.name),
        }
    }

    fn suite(&self) -> &str {
        match self {
            Self::Guest(test) => &test.suite,
            Self::Scenario(_) => "scenario",
        }
    }
}

/// The workers and what they share.
#[derive(Debug)]
pub struct Pool<'a> {
    options: &'a Options,
    total: usize,
    queue: Mutex<VecDeque<Job>>,
    outcomes: Mutex<Vec<Outcome>>,
    record: Option<Mutex<Record>>,
    booted: AtomicUsize,
}

impl<'a> Pool<'a> {
    /// A pool with these jobs to do; `record` takes up what comes of each as it ends.
    #[must_use]
    pub fn new(options: &'a Options, jobs: Vec<Job>, record: Option<Record>) -> Self {
        Self {
            options,
            total: jobs.len(),
            queue: Mutex::new(jobs.into()),
            outcomes: Mutex::default(),
            record: record.map(Mutex::new),
            booted: AtomicUsize::new(0),
        }
    }

    /// Runs all jobs and returns when the last has ended. Prints a line for each as it ends.
    #[must_use]
    pub fn run(self) -> Report {
        let start = Instant::now();
        let workers = self.options.jobs.clamp(1, self.total.max(1));
        std::thread::scope(|scope| {
            for number in 0..workers {
                let pool = &self;
                scope.spawn(move || pool.work(number));
            }
        });
        let outcomes = self
            .outcomes
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        Report::new(outcomes, start.elapsed(), self.booted.into_inner())
    }

    fn work(&self, number: usize) {
        let mut guest = None;
        loop {
            // Not in the loop's head: the lock would be held while the job runs.
            let Some(job) = lock(&self.queue).pop_front() else {
                return;
            };
            let (outcome, kept) = match &job {
                Job::Scenario(scenario) => (self.play(&job, scenario), guest.take()),
                Job::Guest(test) => self.test(&job, test, guest.take(), number),
            };
            guest = kept;
            // Printed under the lock: failures take many lines.
            let mut outcomes = lock(&self.outcomes);
            outcome.print(outcomes.len() + 1, self.total);
            if let Some(Err(error)) = self
                .record
                .as_ref()
                .map(|record| lock(record).add(&outcome))
            {
                println!("     | it could not be recorded: {error}");
            }
            outcomes.push(outcome);
        }
    }

    fn play(&self, job: &Job, scenario: &Scenario) -> Outcome {
        let start = Instant::now();
        let context = Context::new(self.options, scenario);
        // A scenario that panics has failed; the others go on.
        let result = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&context)));
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(panic) => Some(format!("panicked: {}", panic_text(panic.as_ref()))),
        };
        let mut outcome = Outcome::new(&job.name(), job.suite(), start.elapsed(), failure);
        outcome.results = context.into_results();
        outcome
    }

    /// Runs a test and returns the guest for the next one, if it is fit for it.
    fn test(
        &self,
        job: &Job,
        test: &GuestTest,
        guest: Option<Guest>,
        number: usize,
    ) -> (Outcome, Option<Guest>) {
        let name = job.name();
        let outcome =
            |start: Instant, failure| Outcome::new(&name, job.suite(), start.elapsed(), failure);
        let start = Instant::now();
        let large = test.function.ends_with(ON_LARGE_DISKS);
        let disks = if large { LARGE_DISKS } else { DISKS };
        let guest = guest.filter(|_| !large);
        let guest = match guest.map_or_else(|| self.boot(number, disks), Ok) {
            Ok(guest) => guest,
            Err(error) => return (outcome(start, Some(error.to_string())), None),
        };
        let start = Instant::now();
        let mut guest = guest;
        let mut result = guest.run_watched(self.command(test, &guest));
        let mut hung = None;
        if let Err(error @ GuestError::Hung { .. }) = &result {
            // docs/decisions/guest-hangs.md: told, and tried once more.
            let file = self.keep_hang(&name, error, &guest);
            hung = Some(format!(
                "THE GUEST HUNG and the test ran again in a fresh one: {file}"
            ));
            guest = match self.boot(number, disks) {
                Ok(guest) => guest,
                Err(error) => return (outcome(start, Some(error.to_string())), None),
            };
            result = guest.run_watched(self.command(test, &guest));
        }
        let failure = match &result {
            Ok(output) if passed(output) => None,
            Ok(output) => Some(explain(output, &guest)),
            Err(error) => Some(format!(
                "{error}\n--- console\n{}",
                last_lines(&guest.console(), CONSOLE)
            )),
        };
        let mut outcome = outcome(start, failure);
        outcome.results = result.as_ref().map(results).unwrap_or_default();
        outcome.results.extend(hung);
        let fit =
            outcome.passed && !large && !test.function.ends_with("_dirty") && is_clean(&guest);
        (outcome, fit.then_some(guest))
    }

    /// Keeps what a guest that hangs can still tell; where.
    fn keep_hang(&self, name: &str, error: &GuestError, guest: &Guest) -> String {
        guest.tell_tasks();
        let file = self
            .options
            .workspace
            .join(format!("target/e2e/hung-{}.log", name.replace("::", "-")));
        let text = format!("{error}\n--- console\n{}", guest.console());
        match std::fs::write(&file, text) {
            Ok(()) => file.display().to_string(),
            Err(error) => format!("{}: {error}", file.display()),
        }
    }

    fn boot(&self, number: usize, disks: [u64; 4]) -> Result<Guest> {
        self.booted.fetch_add(1, Ordering::Relaxed);
        let spec = disks
            .iter()
            .fold(Spec::new(self.options.backend), |spec, size| {
                spec.disk(Disk::new(*size))
            });
        Guest::boot(
            spec.name(format!("test{number}"))
                .memory_mib(MEMORY_MIB)
                .workspace(self.options.workspace.clone()),
        )
    }

    fn command(&self, test: &GuestTest, guest: &Guest) -> Command {
        let mut command = Command::new(test.binary.display().to_string())
            .args(["--exact", &test.function, "--nocapture", "--test-threads=1"])
            .env("BASALT_DISKS", disk_list(guest))
            .env("RUST_BACKTRACE", "1")
            .cwd(&test.folder)
            .timeout(self.options.limit);
        if test.ignored {
            command = command.arg("--include-ignored");
        }
        if self.options.all {
            // Tests that count take the full count.
            command = command.env("BASALT_ALL", "1");
        }
        command
    }
}

/// The devices of a guest's disks, separated by commas: what tests find in `$BASALT_DISKS`.
#[must_use]
pub fn disk_list(guest: &Guest) -> String {
    let paths: Vec<String> = guest.disks().iter().map(Attached::path).collect();
    paths.join(",")
}

/// The status alone does not tell: a filter that matches nothing passes too.
fn passed(output: &Output) -> bool {
    output.status.success()
        && String::from_utf8_lossy(&output.stdout).contains("test result: ok. 1 passed")
}

/// What the test says it counted.
fn results(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("result: "))
        .map(str::to_owned)
        .collect()
}

/// A disk that was written to, even with zeroes, takes room on the host.
fn is_clean(guest: &Guest) -> bool {
    let untouched = |disk: &Attached| disk.image().metadata().is_ok_and(|meta| meta.blocks() == 0);
    guest.disks().iter().all(untouched)
        && guest
            .shell(LEFTOVERS)
            .is_ok_and(|leftovers| leftovers.is_empty())
}

fn explain(output: &Output, guest: &Guest) -> String {
    format!(
        "{}\n--- stdout\n{}\n--- stderr\n{}\n--- console\n{}",
        output.status,
        last_lines(&String::from_utf8_lossy(&output.stdout), OUTPUT),
        from_panic_on(&String::from_utf8_lossy(&output.stderr)),
        last_lines(&guest.console(), CONSOLE),
    )
}

/// The last lines, and before them what a panic said, if that is further up: daemons tell
/// their logs after it.
fn from_panic_on(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.len().saturating_sub(OUTPUT);
    let panic = lines.iter().position(|line| line.contains("panicked at"));
    match panic.filter(|at| *at < shown) {
        Some(at) => {
            let said = lines[at..shown.min(at + PANIC)].join("\n");
            format!("{said}\n...\n{}", last_lines(text, OUTPUT))
        }
        None => last_lines(text, OUTPUT),
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
