//! A guest's power: on, off in order, cut.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Guest, Running, lock};
use crate::connection::Connection;
use crate::console;
use crate::error::{GuestError, Result};
use crate::host;
use crate::process::Link;
use crate::protocol::ToGuest;
use crate::spec::Backend;
use crate::supervise::Plan;
use crate::uml;

/// How long a kernel has from its start to the agent's first word.
const BOOT: Duration = Duration::from_mins(3);
/// How long the agent has to make the guest usable.
const SETUP: Duration = Duration::from_mins(2);
/// How long an orderly shutdown may take before the power is cut.
const SHUTDOWN: Duration = Duration::from_secs(30);

impl Guest {
    /// Kills the machine as it is. What the guest had not written to its disks is lost; the disks stay for
    /// [`Guest::reboot`]. Returns when every process of it is gone.
    ///
    /// # Errors
    /// The supervisor cannot be waited for.
    pub fn cut_power(&self) -> Result<()> {
        let Some(mut running) = lock(&self.running).take() else {
            return Ok(());
        };
        let doing = format!("cut the power of {}", self.spec.name);
        let pid = Pid::from_raw(running.keeper.id().cast_signed());
        // One that has ended already but was not waited for yet takes the signal without notice.
        let _ = kill(pid, Signal::SIGTERM);
        let waited = running.keeper.wait();
        running.link.connection.close();
        waited.map(drop).map_err(GuestError::host(doing))
    }

    /// Has a user-mode kernel that hangs write to its console what every processor and task does (kernel documentation,
    /// "Magic SysRq key": l, w, t), as far as it still can.
    pub(crate) fn tell_tasks(&self) {
        if self.spec.backend == Backend::Uml {
            for key in ["l", "w", "t", "q"] {
                let _ = uml::ask(self.scratch.path(), &format!("sysrq {key}"));
            }
        }
    }

    /// Ends everything in the guest and powers it off in order. Returns when it is gone.
    ///
    /// # Errors
    /// It takes too long; then its power is cut.
    pub fn shutdown(&self) -> Result<()> {
        let Ok(link) = self.link("shutting down") else {
            return self.cut_power();
        };
        let asked = link.send(&ToGuest::PowerOff, b"", "shutting down");
        let ended: Result<()> = link.wait(SHUTDOWN, "shutting down", |_| None);
        self.cut_power()?;
        match ended {
            Err(GuestError::Gone { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => asked,
        }
    }

    /// Boots the guest again on the same disks, after shutting it down in order if it still runs.
    ///
    /// # Errors
    /// As [`Guest::shutdown`] and [`Guest::boot`].
    pub fn reboot(self) -> Result<Self> {
        self.shutdown()?;
        self.start()?;
        Ok(self)
    }

    pub(super) fn start(&self) -> Result<()> {
        let name = &self.spec.name;
        let scratch = self.scratch.path();
        let disks = self.disks();
        let plan = self
            .ground
            .plan(&self.spec, scratch, &disks)
            .map_err(GuestError::host(format!("prepare guest {name}")))?;
        let (ours, agents) = UnixStream::pair().map_err(GuestError::host("make a line"))?;
        let keeper = self
            .launch(&plan, agents)
            .map_err(GuestError::host(format!("start guest {name}")))?;
        let connection = Connection::open(ours).map_err(GuestError::host("listen to the guest"))?;
        let link = Link {
            connection,
            name: name.clone(),
            console: self.console.clone(),
        };
        // From here on an error drops the guest, which ends the keeper.
        *lock(&self.running) = Some(Running {
            keeper,
            link: link.clone(),
            kernel: String::new(),
        });
        let kernel = link.wait(BOOT, "booting", |said| said.kernel.take())?;
        if let Some(running) = lock(&self.running).as_mut() {
            running.kernel = kernel;
        }
        self.set_up(&link)
    }

    fn launch(&self, plan: &Plan, line: UnixStream) -> std::io::Result<Child> {
        let file = self.scratch.path().join("plan.json");
        plan.write(&file)?;
        let console = console::open(&self.console)?;
        host::command(&self.ground.program)
            .arg("supervise")
            .arg(file)
            .stdin(Stdio::from(OwnedFd::from(line)))
            .stdout(console.try_clone()?)
            .stderr(console)
            // A group of its own: Ctrl-C on the terminal ends us, and our end ends the guest.
            .process_group(0)
            .spawn()
    }

    fn set_up(&self, link: &Link) -> Result<()> {
        let setup = self.ground.setup(&self.spec);
        link.send(&ToGuest::Setup(setup), b"", "setting up")?;
        link.wait(SETUP, "setting up", |said| said.ready.take())?
            .map_err(|error| GuestError::Setup {
                name: self.spec.name.clone(),
                error,
                console: console::tail(&self.console),
            })?;
        for disk in lock(&self.disks).iter_mut().flatten() {
            disk.rename(self.await_disk(link, disk)?);
        }
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Nothing to be done about a supervisor that cannot be waited for.
        let _ = self.cut_power();
    }
}
