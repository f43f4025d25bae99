//! A mount namespace of its own for a program that is to see another `/dev`.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Starts `command` in a namespace in which `dev` is `/dev`. A thread enters it, hands it down, and ends.
pub(super) async fn spawn(mut command: Command, dev: &Path) -> io::Result<Child> {
    let (runtime, dev) = (Handle::current(), dev.to_owned());
    let (tell, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("own-dev".to_owned());
    thread.spawn(move || {
        let _entered = runtime.enter();
        let _ = tell.send(enter(&dev).and_then(|()| command.spawn()));
    })?;
    told.await
        .map_err(|_| io::Error::other("the thread that was to start it ended"))?
}

/// Whether this process may make such a namespace.
///
/// # Errors
/// It may not: `CAP_SYS_ADMIN` is missing, or a security module forbids it.
pub fn may_enter() -> io::Result<()> {
    let thread = std::thread::Builder::new().name("own-dev".to_owned());
    let entered = thread.spawn(|| enter(Path::new("/dev")))?.join();
    entered.unwrap_or_else(|_| Err(io::Error::other("the thread that tried it panicked")))
}

/// Puts the calling thread into a namespace in which `dev` is `/dev`.
///
/// What is mounted or unmounted outside is so inside too (`MS_SLAVE`, mount_namespaces(7)): a file system that
/// somebody unmounts meanwhile does not keep its device in use. Nothing goes the other way.
fn enter(dev: &Path) -> io::Result<()> {
    let nothing = None::<&str>;
    let failed = |what: &str, errno: Errno| {
        io::Error::new(
            io::Error::from(errno).kind(),
            format!("{what} for its /dev: {errno}"),
        )
    };
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| failed("no mount namespace", errno))?;
    let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(nothing, "/", nothing, slave, nothing)
        .map_err(|errno| failed("no slave mounts", errno))?;
    mount(Some(dev), "/dev", nothing, MsFlags::MS_BIND, nothing)
        .map_err(|errno| failed("no bind mount", errno))
}
