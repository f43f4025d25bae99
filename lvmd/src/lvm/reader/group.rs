//! One group as it is now, when nothing about it has changed: what most questions come to.
//!
//! A group stands in the headers of its own PVs and nowhere else, so those are read again at
//! each question, and no others. That no device has come or gone since, which could be a
//! copy of a PV or stand on top of one, the kernel's count of its uevents tells, in one read
//! however many devices there are. Where either is another, or only lvm can tell of the
//! group, it is a question for [`Reader::read`].

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, PoisonError};

use super::{Last, ReadError, Reader, Source, is_as_it_was};
use crate::cmd::Runner;
use crate::lvm::devices::Scan;
use crate::lvm::snapshot::Snapshot;

/// How many uevents the kernel has sent: devices that come, go or change send one.
#[derive(Debug, Clone)]
pub(super) struct Uevents(Option<Arc<File>>);

impl Uevents {
    /// Counts nothing where the kernel does not tell.
    pub(super) fn open() -> Self {
        Self(File::open("/sys/kernel/uevent_seqnum").ok().map(Arc::new))
    }

    /// The count; `None` when it cannot be told.
    pub(super) fn count(&self) -> Option<u64> {
        let mut text = [0; 32];
        let length = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(&text[..length])
            .ok()?
            .trim()
            .parse()
            .ok()
    }
}

/// What the last look saw, and the count of uevents before it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    uevents: u64,
    scan: Arc<Scan>,
    snapshot: Arc<Snapshot>,
}

impl<R: Runner> Reader<R> {
    /// Like [`Reader::read`], for who needs the group `vg` and no other of the snapshot: all
    /// that is said of it, other devices with its PVs included, is as of now.
    ///
    /// # Errors
    /// When state cannot be told.
    pub async fn read_group(
        &self,
        wanted: &[String],
        vg: &str,
    ) -> Result<Arc<Snapshot>, ReadError> {
        if let Some(snapshot) = self.as_it_was(vg).await {
            self.observer.read(Source::Metadata);
            return Ok(snapshot);
        }
        self.read(wanted).await
    }

    /// Keeps what a look saw.
    pub(super) fn keep(&self, last: &Last, uevents: Option<u64>) {
        let seen = uevents.map(|uevents| Seen {
            uevents,
            scan: last.scan.clone(),
            snapshot: last.snapshot.clone(),
        });
        *self.seen() = seen;
    }

    pub(super) fn seen(&self) -> std::sync::MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last snapshot, if it still holds for the group `vg`.
    async fn as_it_was(&self, vg: &str) -> Option<Arc<Snapshot>> {
        let seen = self.seen().clone()?;
        let Seen {
            uevents,
            scan,
            snapshot,
        } = seen;
        let view = snapshot.vg(vg)?;
        // lvm tells of what no header shows, and what may be wrong is looked at in whole.
        if view.vg.by_lvm || !view.frozen.is_empty() || !scan.unreadable.is_empty() {
            return None;
        }
        let (counter, of) = (self.uevents.clone(), snapshot.clone());
        let name = vg.to_owned();
        let holds = move || {
            let Some(view) = of.vg(&name) else {
                return false;
            };
            let mut pvs = scan.labelled.iter();
            counter.count() == Some(uevents)
                && pvs.all(|pv| !view.devices.contains(&pv.path) || is_as_it_was(pv))
        };
        let asked = self.patience.ask(&format!("a disk of {vg}"), holds).await;
        asked.is_ok_and(|holds| holds).then_some(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uevents_are_counted_again_each_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let counter = Uevents(Some(Arc::new(File::open(file.path()).unwrap())));
        assert_eq!(counter.count(), None);
        for count in ["1041\n", "1042\n"] {
            std::fs::write(file.path(), count).unwrap();
            assert_eq!(counter.count(), count.trim().parse().ok());
        }
        assert_eq!(Uevents(None).count(), None);
    }
}
