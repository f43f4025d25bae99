//! Which disks came, went or changed, from the kernel and from udevd.
//!
//! [`Events::subscribe`] listens first and then says [`DiskEvent::Resync`], upon which
//! the caller lists with [`list`]; so nothing falls between the two. When the kernel
//! had to drop events, there is a `Resync` again.
//!
//! Both netlink groups are heard: the kernel's, which never misses a removal and works
//! in every network namespace, and udevd's, which comes when links and properties are
//! in the database. The sockets of libudev belong to one thread; a thread of our own
//! holds them and sends what it hears, debounced, through a channel.

mod debounce;
mod monitor;
mod quiet;

use std::path::Path;
use std::thread;
use std::time::Instant;

use tokio::sync::mpsc;

pub use self::quiet::Quiet;
use crate::facts::{UdevDb, UdevRecord};

/// udevd's control socket: where it is, udevd runs.
const UDEV_CONTROL: &str = "/run/udev/control";
/// Events kept for a caller that is busy; beyond that it gets one `Resync`.
const QUEUE: usize = 256;

/// What happened to the block devices of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskEvent {
    /// The disk of that kernel name appeared or changed, or a partition of it did. Look
    /// again.
    Changed(String),
    /// The disk of that kernel name is gone.
    Removed(String),
    /// Nothing happened to the disk, but udevd should be done with it by now. Look again.
    Recheck(String),
    /// List everything: it is the beginning, or events were lost.
    Resync,
}

/// An event, and when it was heard: it is told once no other came for a moment, and whoever is busy sees it later still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The event.
    pub event: DiskEvent,
    /// When it was heard, or the last of those that it stands for.
    pub at: Instant,
    /// Since when the disk has been quiet: when the kernel last told of it. What udevd says later of the same event
    /// (it has the same number) ends no quiet.
    pub quiet_since: Instant,
}

/// A subscription. Dropping it ends the thread behind it.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Heard>,
}

/// The netlink sockets cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen to uevents")]
pub struct EventsError(#[from] std::io::Error);

impl Events {
    /// Starts to listen. When this returns, no later event is missed.
    ///
    /// # Errors
    /// A thread or a netlink socket cannot be had.
    pub fn subscribe() -> Result<Self, EventsError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (ready, listening) = std::sync::mpsc::sync_channel(1);
        let udev = Path::new(UDEV_CONTROL).exists();
        thread::Builder::new()
            .name("uevents".to_owned())
            .spawn(move || monitor::run(udev, &ready, &sender))?;
        match listening.recv() {
            Ok(result) => result?,
            Err(_) => return Err(std::io::Error::other("the thread ended").into()),
        }
        Ok(Self { receiver })
    }

    /// The next event; `None` when the thread has ended, which it does only after an
    /// error that it logged: subscribe again.
    pub async fn next(&mut self) -> Option<Heard> {
        self.receiver.recv().await
    }

    /// An event that is there already.
    pub fn waiting(&mut self) -> Option<Heard> {
        self.receiver.try_recv().ok()
    }
}

/// Lists every block device, partitions included, with what udev knows of it.
///
/// # Errors
/// `/sys` cannot be enumerated.
pub fn list() -> std::io::Result<UdevDb> {
    let mut enumerator = udev::Enumerator::new()?;
    enumerator.match_subsystem("block")?;
    let mut db = UdevDb {
        running: Path::new(UDEV_CONTROL).exists(),
        ..UdevDb::default()
    };
    for device in enumerator.scan_devices()? {
        // Not sysname(): that one has a `/` where the directory has a `!`.
        if let Some(name) = device.syspath().file_name() {
            db.records
                .insert(name.to_string_lossy().into_owned(), record(&device));
        }
    }
    Ok(db)
}

fn record(device: &udev::Device) -> UdevRecord {
    let mut record = UdevRecord {
        initialized: device.is_initialized(),
        ..UdevRecord::default()
    };
    for property in device.properties() {
        let text = |word: &std::ffi::OsStr| word.to_string_lossy().into_owned();
        record
            .properties
            .insert(text(property.name()), text(property.value()));
    }
    // Links have no blanks in them: udev replaces those (udev(7), SYMLINK).
    if let Some(links) = record.properties.get("DEVLINKS") {
        record.links = links.split_whitespace().map(str::to_owned).collect();
        record.links.sort();
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_subscription_begins_with_a_list() {
        let mut events = Events::subscribe().unwrap();
        let first = events.next().await.map(|heard| heard.event);
        assert_eq!(first, Some(DiskEvent::Resync));
    }

    #[test]
    fn the_list_has_what_sysfs_has() {
        let db = list().unwrap();
        for entry in std::fs::read_dir("/sys/block")
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(db.records.contains_key(&name), "{name}");
        }
    }
}
