//! What has to be done to a guest from outside: power cuts, disks that come and go, reboots.
//!
//! A scenario is a function here; [`all`] is the list of them. It fails by returning an error or by panicking.

mod disks;
mod lvm;
mod power;

use std::path::PathBuf;
use std::time::Duration;

use crate::spec::{Backend, Spec};
use crate::suite::Options;

/// A function that boots guests and does things to them.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// Runs only when everything is run.
    pub slow: bool,
    /// Does it.
    pub run: fn(&Context) -> anyhow::Result<()>,
}

impl Scenario {
    /// What its full name starts with.
    pub const PREFIX: &'static str = "scenario::";

    const fn short(name: &'static str, run: fn(&Context) -> anyhow::Result<()>) -> Self {
        Self {
            name,
            slow: false,
            run,
        }
    }

    #[expect(
        dead_code,
        reason = "the virtual machine's scenarios come with its backend"
    )]
    const fn slow(name: &'static str, run: fn(&Context) -> anyhow::Result<()>) -> Self {
        Self {
            name,
            slow: true,
            run,
        }
    }
}

/// Every scenario there is.
#[must_use]
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario::short("disk_is_plugged_and_pulled_uml", |c| {
            disks::plug_and_pull(c, Backend::Uml)
        }),
        Scenario::short("power_cut_keeps_what_was_synced_uml", |c| {
            power::cut(c, Backend::Uml)
        }),
        Scenario::short("shutdown_keeps_what_was_written_uml", |c| {
            power::shutdown(c, Backend::Uml)
        }),
        Scenario::short("two_guests_at_once_uml", |c| {
            power::two_guests(c, Backend::Uml)
        }),
        Scenario::short("time_limits_hold_uml", |c| {
            power::time_limits(c, Backend::Uml)
        }),
        Scenario::short("lvm_works_uml", |c| lvm::works(c, Backend::Uml)),
    ]
}

/// What a scenario gets.
#[derive(Debug)]
pub struct Context {
    workspace: PathBuf,
    scenario: &'static str,
    /// Is everything being run? Then counts are those of the full test.
    pub all: bool,
}

impl Context {
    pub(crate) fn new(options: &Options, scenario: &Scenario) -> Self {
        Self {
            workspace: options.workspace.clone(),
            scenario: scenario.name,
            all: options.all,
        }
    }

    /// A guest to start from. Its console is kept in target/e2e; it ends after ten minutes whatever happens.
    #[must_use]
    pub fn spec(&self, backend: Backend, name: &str) -> Spec {
        Spec::new(backend)
            .name(name)
            .workspace(self.workspace.clone())
            .console(self.artifacts().join(format!("{name}.log")))
            .limit(Duration::from_mins(10))
    }

    /// Where the scenario may leave things for people to look at.
    #[must_use]
    pub fn artifacts(&self) -> PathBuf {
        self.workspace.join("target/e2e").join(self.scenario)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = all().iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().len());
    }
}
