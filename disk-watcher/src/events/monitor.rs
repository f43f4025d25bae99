//! The thread that listens to netlink through libudev.
//!
//! tokio-udev is not used: its stream does not tell an overrun of the socket from an
//! empty one, and an overrun is what a list has to follow.

use std::io;
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tracing::{debug, error, warn};
use udev::{EventType, MonitorBuilder, MonitorSocket};

use super::debounce::{Debounce, Source};
use super::{DiskEvent, Heard};

/// Room for what arrives while we are busy, in bytes; as Talos has it. About 100,000
/// events.
const RECEIVE_BUFFER: usize = 64 << 20;

/// A socket that fails so often in a row is broken.
const MAX_FAULTS: u32 = 1000;

/// Listens until the receiver is dropped. Says once through `ready` whether it can.
pub(super) fn run(udev: bool, ready: &SyncSender<io::Result<()>>, sender: &mpsc::Sender<Heard>) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let sockets = Sockets::open(udev);
        let sockets = match sockets {
            Ok(sockets) => {
                let _ = ready.send(Ok(()));
                sockets
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        if let Err(error) = listen(&sockets, sender).await {
            error!(%error, "stopped listening to uevents");
        }
    });
}

struct Sockets {
    kernel: AsyncFd<MonitorSocket>,
    udev: Option<AsyncFd<MonitorSocket>>,
}

impl Sockets {
    fn open(udev: bool) -> io::Result<Self> {
        Ok(Self {
            kernel: socket(MonitorBuilder::new_kernel()?)?,
            udev: udev.then(|| socket(MonitorBuilder::new()?)).transpose()?,
        })
    }
}

fn socket(builder: MonitorBuilder) -> io::Result<AsyncFd<MonitorSocket>> {
    let socket = builder.match_subsystem("block")?.listen()?;
    // The first needs CAP_NET_ADMIN; the second is capped by rmem_max. Both failing
    // only means that lists come more often.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err()
        && let Err(error) = setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)
    {
        debug!(%error, "the receive buffer of the uevent socket stays small");
    }
    // SAFETY: the socket owns its descriptor, which libudev closes with it and never
    // exchanges; the AsyncFd owns the socket and gives it up to nobody.
    #[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

async fn listen(sockets: &Sockets, sender: &mpsc::Sender<Heard>) -> io::Result<()> {
    let mut debounce = Debounce::default();
    let kernel = match sockets.udev {
        Some(_) => Source::KernelFirst,
        None => Source::KernelOnly,
    };
    let now = Instant::now();
    let first = Heard {
        event: DiskEvent::Resync,
        at: now,
        quiet_since: now,
    };
    if sender.send(first).await.is_err() {
        return Ok(());
    }
    loop {
        let due = debounce.due().map(tokio::time::Instant::from_std);
        let moment = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let from_udev = async {
            match &sockets.udev {
                Some(socket) => socket.readable().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sender.closed() => return Ok(()),
            guard = sockets.kernel.readable() => {
                drain(guard?, kernel, &mut debounce)?;
            }
            guard = from_udev => drain(guard?, Source::Udev, &mut debounce)?,
            () = moment => {}
        }
        for heard in debounce.take(Instant::now()) {
            match sender.try_send(heard) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return Ok(()),
                Err(TrySendError::Full(_)) => {
                    warn!("events are not taken in time; the next one is a list");
                    debounce.resync(Instant::now());
                    break;
                }
            }
        }
    }
}

/// Takes everything the socket has; less would leave it unheard until its next event.
fn drain(
    mut guard: tokio::io::unix::AsyncFdReadyGuard<'_, MonitorSocket>,
    source: Source,
    debounce: &mut Debounce,
) -> io::Result<()> {
    let mut faults = 0;
    let socket = guard.get_inner();
    loop {
        // libudev returns no device for "empty" and for "overrun"; errno tells them apart.
        Errno::clear();
        if let Some(event) = socket.iter().next() {
            let number = event.sequence_number();
            if let Some(event) = translate(&event) {
                debug!(?source, ?event, number, "uevent");
                debounce.note(event, source, number, Instant::now());
            }
            continue;
        }
        match Errno::last() {
            Errno::EINTR => {}
            Errno::EAGAIN => break,
            errno => {
                warn!(?source, %errno, "uevents were lost; a list follows");
                debounce.resync(Instant::now());
                faults += 1;
                if faults > MAX_FAULTS {
                    return Err(errno.into());
                }
            }
        }
    }
    guard.clear_ready();
    Ok(())
}

fn translate(event: &udev::Event) -> Option<DiskEvent> {
    let partition = event.devtype().is_some_and(|kind| kind == "partition");
    let removed = event.event_type() == EventType::Remove;
    about(event.syspath(), partition, removed)
}

/// An event about a partition is a change of its disk, the directory above it.
fn about(syspath: &Path, partition: bool, removed: bool) -> Option<DiskEvent> {
    let disk = if partition {
        syspath.parent()?
    } else {
        syspath
    };
    let name = disk.file_name()?.to_string_lossy().into_owned();
    Some(if removed && !partition {
        DiskEvent::Removed(name)
    } else {
        DiskEvent::Changed(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_goes_changes_its_disk() {
        let disk = Path::new("/sys/devices/x/block/sda");
        let changed = Some(DiskEvent::Changed("sda".into()));
        assert_eq!(about(disk, false, false), changed);
        assert_eq!(about(&disk.join("sda1"), true, false), changed);
        assert_eq!(about(&disk.join("sda1"), true, true), changed);
        assert_eq!(
            about(disk, false, true),
            Some(DiskEvent::Removed("sda".into()))
        );
    }
}
