//! A guest: booted, used, cut, booted again.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use extension::{Cache, Recipe};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::attached::Attached;
use crate::command::{Command, Output};
use crate::connection::Connection;
use crate::console;
use crate::error::{GuestError, Result};
use crate::host;
use crate::kvm;
use crate::process::{Link, Process};
use crate::protocol::{Setup, ToGuest};
use crate::qemu;
use crate::scratch::Scratch;
use crate::spec::{Backend, Disk, Share, Spec, find_workspace};
use crate::uml;

/// How long a kernel has from its start to the agent's first word.
const BOOT: Duration = Duration::from_mins(3);
/// How long the agent has to make the guest usable.
const SETUP: Duration = Duration::from_mins(2);
/// How long a disk has to appear or to vanish.
const DISK: Duration = Duration::from_secs(30);
/// How long an orderly shutdown may take before the power is cut.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// A guest. All of its methods may be called from several threads at once. When it is dropped, its power is cut
/// and everything of it is removed.
#[derive(Debug)]
pub struct Guest {
    spec: Spec,
    ground: Ground,
    console: PathBuf,
    disks: Mutex<Vec<Option<Attached>>>,
    running: Mutex<Option<Running>>,
    // Last: the folder goes when nothing uses it any more.
    scratch: Scratch,
}

/// What a guest stands on: found once, the same for each of its boots.
#[derive(Debug)]
struct Ground {
    boots: Boots,
    program: PathBuf,
    shares: Vec<Share>,
}

/// What a backend boots.
#[derive(Debug)]
enum Boots {
    /// A tree with a user-mode kernel in it.
    Uml(PathBuf),
    Qemu(qemu::Parts),
}

/// One boot of a guest.
#[derive(Debug)]
struct Running {
    keeper: Child,
    link: Link,
    kernel: String,
}

impl Guest {
    /// Boots a guest; returns when it can run commands.
    ///
    /// # Errors
    /// The tree cannot be built, the kernel does not come up, or a disk or share is not to be had.
    pub fn boot(spec: Spec) -> Result<Self> {
        let ground = Ground::find(&spec)?;
        let scratch = Scratch::create(&spec.scratch).map_err(GuestError::host(format!(
            "make a folder in {}",
            spec.scratch.display()
        )))?;
        let console = spec
            .console
            .clone()
            .unwrap_or_else(|| scratch.path().join("console.log"));
        let mut disks = Vec::new();
        for (slot, disk) in spec.disks.iter().enumerate() {
            disks.push(Some(attach(&scratch, &spec, slot, disk.clone())?));
        }
        let guest = Self {
            spec,
            ground,
            console,
            disks: Mutex::new(disks),
            running: Mutex::default(),
            scratch,
        };
        guest.start()?;
        Ok(guest)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What runs its kernel.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.spec.backend
    }

    /// The release of its kernel.
    ///
    /// # Errors
    /// It is not running.
    pub fn kernel(&self) -> Result<String> {
        self.with_running("asking for the kernel", |running| {
            Ok(running.kernel.clone())
        })
    }

    /// Everything its console has shown.
    #[must_use]
    pub fn console(&self) -> String {
        console::read(&self.console)
    }

    /// Its disks, in the order of their slots.
    #[must_use]
    pub fn disks(&self) -> Vec<Attached> {
        lock(&self.disks).iter().flatten().cloned().collect()
    }

    /// Runs a command to its end, whatever its exit status is.
    ///
    /// # Errors
    /// It cannot be started, it takes longer than it may (then it is killed), or the guest is gone.
    pub fn run(&self, command: Command) -> Result<Output> {
        let timeout = command.timeout;
        Process::start(self.link(&command.line())?, &command, false)?.wait(timeout)
    }

    /// Runs a command that must succeed, and returns what it wrote to stdout, without blanks around it.
    ///
    /// # Errors
    /// As [`Guest::run`], or the exit status is not 0.
    pub fn check(&self, command: Command) -> Result<String> {
        let argv = command.line();
        let output = self.run(command)?;
        if output.status.success() {
            return Ok(output.text());
        }
        Err(GuestError::Failed {
            argv,
            output: Box::new(output),
        })
    }

    /// Runs a shell script that must succeed, as [`Guest::check`].
    ///
    /// # Errors
    /// As [`Guest::check`].
    pub fn shell(&self, script: impl Into<String>) -> Result<String> {
        self.check(Command::shell(script))
    }

    /// Starts a command and leaves it running; its stdin stays open until [`Process::close_stdin`].
    ///
    /// # Errors
    /// It cannot be started, or the guest is gone.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        Process::start(self.link(&command.line())?, &command, true)
    }

    /// Attaches a disk while the guest runs; returns when its device is there. udev may still be busy with it.
    ///
    /// # Errors
    /// There is no free slot, or the disk does not appear.
    pub fn plug(&self, disk: Disk) -> Result<Attached> {
        let mut disks = lock(&self.disks);
        let slot = disks
            .iter()
            .position(Option::is_none)
            .unwrap_or(disks.len());
        let mut attached = attach(&self.scratch, &self.spec, slot, disk)?;
        let link = self.link("plugging a disk")?;
        let scratch = self.scratch.path();
        match self.ground.boots {
            Boots::Uml(_) => uml::plug(scratch, &attached),
            Boots::Qemu(_) => qemu::plug(scratch, &attached),
        }
        .map_err(disk_error(attached.name()))?;
        attached.rename(self.await_disk(&link, &attached)?);
        if slot == disks.len() {
            disks.push(None);
        }
        disks[slot] = Some(attached.clone());
        Ok(attached)
    }

    /// Takes a disk away while the guest runs; returns when its device is gone. Its image is removed.
    ///
    /// # Errors
    /// The disk is not (or no longer) this guest's, or a user-mode kernel refuses because it is open.
    pub fn pull(&self, disk: &Attached) -> Result<()> {
        let mut disks = lock(&self.disks);
        let found = disks.iter_mut().find_map(|slot| {
            let current = slot.as_ref().filter(|found| found.is(disk)).cloned()?;
            Some((slot, current))
        });
        let Some((slot, disk)) = found else {
            return Err(disk_error(disk.name())(std::io::Error::other(
                "not a disk of this guest",
            )));
        };
        let link = self.link("pulling a disk")?;
        let scratch = self.scratch.path();
        match self.ground.boots {
            Boots::Uml(_) => uml::pull(scratch, &disk),
            Boots::Qemu(_) => qemu::pull(scratch, &disk),
        }
        .map_err(disk_error(disk.name()))?;
        let id = link.connection.id();
        let name = disk.name().to_owned();
        let doing = format!("waiting for {name} to go");
        link.send(&ToGuest::AwaitNoDisk { id, name }, b"", &doing)?;
        link.wait(DISK, &doing, |said| said.disks.remove(&id))?;
        let _ = fs::remove_file(disk.image());
        *slot = None;
        Ok(())
    }

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

    fn start(&self) -> Result<()> {
        let name = &self.spec.name;
        let scratch = self.scratch.path();
        let disks = self.disks();
        let Ground {
            boots,
            program,
            shares,
        } = &self.ground;
        let plan = match boots {
            Boots::Uml(tree) => uml::plan(&self.spec, tree, scratch, program, shares, &disks),
            Boots::Qemu(parts) => qemu::plan(&self.spec, parts, scratch, program, shares, &disks),
        }
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

    fn launch(&self, plan: &crate::supervise::Plan, line: UnixStream) -> std::io::Result<Child> {
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
        let mut modules = self.spec.modules.clone();
        let shares = match self.ground.boots {
            Boots::Uml(_) => uml::share_mounts(&self.ground.shares),
            Boots::Qemu(_) => {
                modules.extend(qemu::MODULES.map(str::to_owned));
                qemu::share_mounts(&self.ground.shares)
            }
        };
        let setup = Setup {
            hostname: self.spec.name.clone(),
            shares,
            modules,
            lock_tmpfs: self.spec.lock_tmpfs,
            udev: self.spec.udev,
        };
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

    /// Waits for a disk's device and returns its name.
    fn await_disk(&self, link: &Link, disk: &Attached) -> Result<String> {
        let id = link.connection.id();
        let key = match self.ground.boots {
            Boots::Uml(_) => uml::key(disk),
            Boots::Qemu(_) => qemu::key(disk),
        };
        let doing = format!("waiting for disk {}", disk.name());
        link.send(&ToGuest::AwaitDisk { id, key }, b"", &doing)?;
        link.wait(DISK, &doing, |said| said.disks.remove(&id))
    }

    fn link(&self, doing: &str) -> Result<Link> {
        self.with_running(doing, |running| Ok(running.link.clone()))
    }

    fn with_running<T>(&self, doing: &str, then: impl FnOnce(&Running) -> Result<T>) -> Result<T> {
        match lock(&self.running).as_ref() {
            Some(running) => then(running),
            None => Err(GuestError::Gone {
                name: self.spec.name.clone(),
                doing: doing.to_owned(),
                console: console::tail(&self.console),
            }),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Nothing to be done about a supervisor that cannot be waited for.
        let _ = self.cut_power();
    }
}

/// Builds what guests of the backend boot, if it is not there yet. Booting does so too; this is for callers that
/// want to wait for it once.
///
/// # Errors
/// The tree cannot be built.
pub fn prepare(workspace: &Path, backend: Backend) -> Result<()> {
    Boots::find(workspace, backend).map(drop)
}

impl Boots {
    fn find(workspace: &Path, backend: Backend) -> Result<Self> {
        let cache = Cache::of_workspace(workspace);
        if backend == Backend::Uml {
            return Ok(Self::Uml(cache.tree(&Recipe::guest())?));
        }
        let kernel = cache.tree(&Recipe::kernel())?;
        Ok(Self::Qemu(qemu::Parts {
            root: cache.squashfs(&Recipe::guest())?,
            kvm: kvm::works(&kernel, &workspace.join(".cache")),
            kernel,
        }))
    }
}

impl Ground {
    fn find(spec: &Spec) -> Result<Self> {
        let here = std::env::current_dir().map_err(GuestError::host("find the current folder"))?;
        let program = match &spec.program {
            Some(program) => program.clone(),
            None => host::own_executable().map_err(GuestError::host("find this program"))?,
        };
        let workspace = spec
            .workspace
            .clone()
            .or_else(|| find_workspace(&here))
            .or_else(|| find_workspace(&program))
            .ok_or(GuestError::NoWorkspace(here))?;
        let boots = Boots::find(&workspace, spec.backend)?;
        let mut shares = vec![Share {
            path: workspace,
            writable: false,
        }];
        for share in &spec.shares {
            let path = share
                .path
                .canonicalize()
                .map_err(GuestError::host(format!("share {}", share.path.display())))?;
            shares.push(Share {
                path,
                ..share.clone()
            });
        }
        Ok(Self {
            boots,
            program,
            shares,
        })
    }
}

/// Makes the image for a disk in a slot. A machine's disk gets its name in the guest when it is there.
fn attach(scratch: &Scratch, spec: &Spec, slot: usize, mut disk: Disk) -> Result<Attached> {
    let name = match spec.backend {
        Backend::Uml => {
            disk.serial = None;
            uml::disk_name(slot)
        }
        Backend::Qemu => {
            disk.serial.get_or_insert_with(|| qemu::serial(slot));
            qemu::has_slot(slot).then(|| format!("disk{slot}"))
        }
    }
    .ok_or_else(|| disk_error("one more")(std::io::Error::other("no free slot in this guest")))?;
    let image = scratch
        .image(&format!("disk{slot}"), &disk)
        .map_err(GuestError::host(format!("make a disk for {}", spec.name)))?;
    Ok(Attached::new(slot, &name, image, disk))
}

fn disk_error(name: &str) -> impl FnOnce(std::io::Error) -> GuestError {
    let disk = name.to_owned();
    move |error| GuestError::Disk {
        disk,
        error: error.to_string(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
