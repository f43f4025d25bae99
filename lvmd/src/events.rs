//! Who has changed what LVM has: the one place where the kernel and the lock directory
//! are listened to.
//!
//! Three sources together miss nothing: device-mapper's events tell of every table that
//! comes or goes and of what happens to thin pools; the lock directory tells when a writer
//! of any tool has finished, also when it changed tags only; kernel uevents tell of disks.
//! What happened is not read from an event: an event says that it is time to look. Events
//! that come together are one, and a tick is the net under all of it.

mod locks;
mod mapper;
mod uevents;

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Events within this time are one: an lvm command makes a dozen.
const WINDOW: Duration = Duration::from_millis(30);
/// How often somebody looks although nothing is known to have happened.
const TICK: Duration = Duration::from_secs(10);

/// Where an event came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Device-mapper.
    Mapper,
    /// LVM's lock directory.
    Lock,
    /// The kernel's uevents of block devices.
    Uevent,
    /// The clock.
    Tick,
}

impl Source {
    /// The stable word for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mapper => "mapper",
            Self::Lock => "lock",
            Self::Uevent => "uevent",
            Self::Tick => "tick",
        }
    }
}

/// Calls `count` for each event and `look` once for those that come together, until `stop`.
/// A source that cannot be had is tried again at the next event of another.
pub async fn listen(
    locks: &Path,
    count: impl Fn(Source),
    look: impl Fn(),
    stop: CancellationToken,
) {
    let mut mapper = Ear::new("device-mapper", mapper::open);
    let mut locks = Ear::new("LVM's lock directory", || locks::open(locks));
    let mut uevents = Ear::new("uevents", uevents::open);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        [mapper.open(), locks.open(), uevents.open()]
            .into_iter()
            .flatten()
            .for_each(|problem| info!("{problem}"));
        let mut until: Option<Instant> = None;
        loop {
            let end = until.unwrap_or_else(|| Instant::now() + TICK);
            let source = tokio::select! {
                () = mapper.hear(mapper::drain) => Source::Mapper,
                () = locks.hear(locks::drain) => Source::Lock,
                () = uevents.hear(uevents::drain) => Source::Uevent,
                _ = tick.tick() => Source::Tick,
                () = sleep_until(end), if until.is_some() => break,
                () = stop.cancelled() => return,
            };
            count(source);
            until.get_or_insert_with(|| Instant::now() + WINDOW);
        }
        look();
    }
}

/// What [`Ear::hear`] does with a source that is readable.
enum Heard {
    /// Something that matters.
    News,
    /// Nothing that matters.
    Nothing,
}

/// A source that may be away.
struct Ear<T: AsFd, O> {
    what: &'static str,
    make: O,
    source: Option<AsyncFd<Raw<T>>>,
    /// The last problem, told once.
    problem: Option<String>,
    /// It is not there and never will be.
    never: bool,
}

impl<T: AsFd, O: Fn() -> io::Result<T>> Ear<T, O> {
    fn new(what: &'static str, make: O) -> Self {
        Self {
            what,
            make,
            source: None,
            problem: None,
            never: false,
        }
    }

    /// Makes the source if it is away; what keeps it away, when that is new.
    fn open(&mut self) -> Option<String> {
        if self.source.is_some() || self.never {
            return None;
        }
        let error = match (self.make)().and_then(register) {
            Ok(source) => {
                self.source = Some(source);
                self.problem = None;
                return None;
            }
            Err(error) => error,
        };
        // An old kernel; asking again changes nothing.
        self.never = matches!(error.kind(), io::ErrorKind::Unsupported)
            || matches!(
                error.raw_os_error(),
                Some(nix::libc::ENOTTY | nix::libc::EINVAL | nix::libc::EPERM)
            );
        let text = format!(
            "{} gives no events ({error}); it is looked at every {TICK:?}",
            self.what
        );
        (self.problem.as_ref() != Some(&text)).then(|| {
            self.problem = Some(text.clone());
            text
        })
    }

    /// Waits for news. A source that breaks counts as news: something may have been missed.
    async fn hear(&mut self, drain: impl Fn(&T) -> io::Result<Heard>) {
        loop {
            let Some(source) = &self.source else {
                return std::future::pending().await;
            };
            let drained = match source.readable().await {
                Ok(mut ready) => {
                    // Before the flag is cleared: what comes in between sets it again.
                    let drained = drain(&source.get_ref().0);
                    ready.clear_ready();
                    drained
                }
                Err(error) => Err(error),
            };
            match drained {
                Ok(Heard::News) => return,
                Ok(Heard::Nothing) => {}
                Err(error) => {
                    warn!("{}: {error}", self.what);
                    self.source = None;
                    return;
                }
            }
        }
    }
}

fn register<T: AsFd>(source: T) -> io::Result<AsyncFd<Raw<T>>> {
    #[expect(unsafe_code, reason = "tokio cannot see that T keeps its descriptor")]
    // SAFETY: each source owns its descriptor and neither closes nor changes it before it is
    // dropped, and the AsyncFd owns the source.
    let registered = unsafe { AsyncFd::register_with_interest(Raw(source), Interest::READABLE) };
    registered.map_err(io::Error::from)
}

/// What tokio wants to know of a descriptor.
struct Raw<T>(T);

impl<T: AsFd> AsRawFd for Raw<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
