//! `e2e-qemu test`: finds what there is to test, runs it in a pool of guests, and reports.
//!
//! Two kinds of jobs: a function of a guest-test binary, which runs inside a guest that outlives it, and a
//! scenario, which runs here and boots guests of its own.

mod build;
mod pool;
mod record;
mod report;

use std::path::PathBuf;
use std::time::Duration;

pub use build::{BuildError, Found, GuestTest, guest_tests, programs};
pub use pool::{Job, Pool, disk_list};
pub use record::{Origin, Record, RecordError};
pub use report::{Outcome, Report};

use crate::scenario::{self, Scenario};
use crate::spec::Backend;

/// What to test and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The workspace.
    pub workspace: PathBuf,
    /// Only jobs whose name contains this.
    pub filter: Option<String>,
    /// Long variants too: tests marked `#[ignore]`, slow scenarios, and the full counts of the others, which find
    /// `$BASALT_ALL` set.
    pub all: bool,
    /// Is what comes of the tests kept in docs?
    pub record: bool,
    /// Are guest tests built for release?
    pub release: bool,
    /// What runs the guests of guest tests.
    pub backend: Backend,
    /// How many guests at once.
    pub jobs: usize,
    /// How long one job may take.
    pub limit: Duration,
}

/// Finds every job that the options ask for, scenarios first: they take longest.
///
/// # Errors
/// The test binaries cannot be built or listed.
pub fn find(options: &Options) -> Result<Vec<Job>, BuildError> {
    let mut jobs: Vec<Job> = scenario::all()
        .into_iter()
        .filter(|scenario| options.all || !scenario.slow)
        .map(Job::Scenario)
        .collect();
    if !only_scenarios(options.filter.as_deref()) {
        let found = build::guest_tests(
            &options.workspace,
            options.filter.as_deref(),
            options.release,
        )?;
        jobs.extend(found.into_tests(options.all).map(Job::Guest));
    }
    if let Some(filter) = &options.filter {
        jobs.retain(|job| job.name().contains(filter.as_str()));
    }
    Ok(jobs)
}

/// Building every test binary takes a while; nobody who asks for a scenario wants to wait for it.
pub fn only_scenarios(filter: Option<&str>) -> bool {
    filter.is_some_and(|filter| filter.starts_with(Scenario::PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_found_by_name_without_a_build() {
        let options = Options {
            workspace: PathBuf::from("/nonexistent"),
            filter: Some("scenario::two_guests".to_owned()),
            all: false,
            record: false,
            release: false,
            backend: Backend::Uml,
            jobs: 1,
            limit: Duration::from_secs(1),
        };
        let jobs = find(&options).unwrap();
        assert_eq!(jobs.len(), 1);
        assert!(jobs[0].name().starts_with("scenario::two_guests"));
    }
}
