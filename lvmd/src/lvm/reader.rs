//! The current [`Snapshot`], asked from lvm only when something changed.
//!
//! Each look reads the header of every known PV (one 8 KiB read, tens of microseconds)
//! and the list of block devices; only when a commit location moved, a device came or
//! went, or a VG that is wanted is missing, labels are read again, and only when these
//! differ one `lvm fullreport` runs. So an answer is never older than the question.
//! A device that does not answer counts as unreadable, and only its VG is affected.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::{debug, warn};

use crate::cmd::{CmdError, Runner};
use crate::dm;
use crate::lvm::devices::{self, Rank, Read, Scan, read_label};
use crate::lvm::report::{self, ReportError};
use crate::lvm::snapshot::Snapshot;
use crate::lvm::tool::Tool;
use crate::patience::Patience;

/// How often a report that looks broken is asked when the metadata changed while it ran.
const ATTEMPTS: usize = 4;

/// State cannot be told; nothing may be decided from it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// lvm failed.
    #[error("cannot read the volume groups")]
    Command(#[from] CmdError),
    /// lvm printed something that cannot be believed.
    #[error("cannot read the volume groups")]
    Report(#[from] ReportError),
    /// The kernel's lists cannot be read.
    #[error("cannot list block devices: {0}")]
    Devices(String),
}

/// Reads snapshots and keeps the last one.
#[derive(Debug)]
pub struct Reader<R> {
    runner: R,
    tool: Tool,
    patience: Patience,
    last: Mutex<Option<Last>>,
}

#[derive(Debug)]
struct Last {
    partitions: Vec<devices::Candidate>,
    scan: Scan,
    snapshot: Arc<Snapshot>,
}

impl<R: Runner> Reader<R> {
    /// A reader that calls lvm through `runner`.
    pub fn new(runner: R, tool: Tool) -> Self {
        Self {
            runner,
            tool,
            patience: Patience::default(),
            last: Mutex::new(None),
        }
    }

    /// Asks what a device that hangs would not answer.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// The VGs as they are now. `wanted` are the VGs somebody is waiting for: while one
    /// is missing or frozen, labels are read again each time, so that its return is seen.
    ///
    /// # Errors
    /// When state cannot be told. The old state is kept for the next comparison, but
    /// never given out in its place.
    pub async fn read(&self, wanted: &[String]) -> Result<Arc<Snapshot>, ReadError> {
        let mut last = self.last.lock().await;
        let partitions = blocking(list).await?;
        if let Some(last) = &*last
            && last.partitions == partitions.0
            && wanted.iter().all(|vg| {
                last.snapshot
                    .vg(vg)
                    .is_some_and(|view| view.frozen.is_empty())
            })
            && last.scan.unreadable.is_empty()
            && self.unchanged(&last.scan).await
        {
            return Ok(last.snapshot.clone());
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let paths = partitions.0.iter().map(devices::Candidate::path).collect();
            let scan = devices::sort(&partitions.0, self.labels(paths).await, &partitions.1);
            if let Some(last) = &mut *last
                && last.scan == scan
            {
                last.partitions = partitions.0;
                return Ok(last.snapshot.clone());
            }
            let report = self.report(&scan).await;
            // The commit locations kept are those from before the report: whatever was
            // committed since then is seen at the next look. Only what looks broken
            // because it is of two moments is looked at again.
            let broken = match &report {
                Ok(snapshot) => snapshot.vgs.iter().any(|view| !view.frozen.is_empty()),
                Err(_) => true,
            };
            if broken && attempt < ATTEMPTS && !self.unchanged(&scan).await {
                debug!("the volume groups changed during the report, asking again");
                continue;
            }
            let snapshot = Arc::new(report?);
            *last = Some(Last {
                partitions: partitions.0,
                scan,
                snapshot: snapshot.clone(),
            });
            return Ok(snapshot);
        }
    }

    /// What is read from each of these devices. All are read in one go; when that does not
    /// come to its end one of them hangs, and each is read by itself, side by side.
    async fn labels(&self, paths: Vec<PathBuf>) -> Vec<Read> {
        let all = paths.clone();
        let read = move || all.iter().map(|path| read_label(path)).collect();
        if let Ok(labels) = self.patience.ask("one of the disks", read).await {
            return labels;
        }
        let each = paths.into_iter().map(|path| {
            let patience = self.patience.clone();
            tokio::spawn(async move {
                let what = path.display().to_string();
                patience.ask(&what, move || read_label(&path)).await
            })
        });
        let mut labels = Vec::new();
        for read in each.collect::<Vec<_>>() {
            labels.push(match read.await {
                Ok(answer) => answer.unwrap_or_else(|error| Err(io::Error::other(error))),
                Err(error) => Err(io::Error::other(error)),
            });
        }
        labels
    }

    /// Whether every known PV still has the same label and committed locations.
    async fn unchanged(&self, scan: &Scan) -> bool {
        let paths = scan.labelled.iter().map(|d| d.path.clone()).collect();
        let now = self.labels(paths).await;
        scan.labelled.iter().zip(now).all(|(device, now)| {
            now.ok()
                .flatten()
                .is_some_and(|(label, keys)| label == device.label && keys == device.keys)
        })
    }

    /// One report per rank. A VG on virtual devices never hides one of the same name on disks.
    async fn report(&self, scan: &Scan) -> Result<Snapshot, ReadError> {
        let mut vgs = Vec::new();
        for rank in [Rank::Disk, Rank::Virtual] {
            let mut uuids = Vec::new();
            let mut paths: Vec<PathBuf> = Vec::new();
            for device in scan.labelled.iter().filter(|d| d.rank == rank) {
                // Of a PV seen twice LVM gets one; the join marks its VG.
                if !uuids.contains(&&device.label.pv_uuid) {
                    uuids.push(&device.label.pv_uuid);
                    paths.push(device.path.clone());
                }
            }
            if paths.is_empty() {
                continue;
            }
            let out = self
                .runner
                .run(self.tool.call(None, &paths, &report::args())?)
                .await?;
            let (found, warnings) = report::read(&out.stdout)?;
            for warning in warnings {
                warn!(%warning, "lvm warns of the volume groups");
            }
            for vg in found {
                if rank == Rank::Virtual
                    && vgs
                        .iter()
                        .any(|known: &crate::lvm::model::Vg| known.name == vg.name)
                {
                    warn!(vg = %vg.name, uuid = %vg.uuid, "ignoring a VG on loop or network devices with the name of one on disks");
                } else {
                    vgs.push(vg);
                }
            }
        }
        Ok(Snapshot::join(vgs, scan))
    }
}

type Lists = (Vec<devices::Candidate>, Vec<dm::Listed>);

fn list() -> io::Result<Lists> {
    // Without the control device there is no LV either, and dm devices are not looked at.
    let mapped = match dm::Control::open() {
        Ok(control) => control.list()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let partitions = fs::read_to_string("/proc/partitions")?;
    Ok((devices::candidates(&partitions, &mapped), mapped))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ReadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ReadError::Devices(error.to_string())),
        Err(error) => Err(ReadError::Devices(error.to_string())),
    }
}
