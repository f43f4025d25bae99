//! The current [`Snapshot`], asked from lvm only when something changed.
//!
//! Each look reads the header of every known PV (one 8 KiB read, tens of microseconds)
//! and the list of block devices; only when a commit location moved, a device came or
//! went, or a VG that is wanted is missing, labels are read again, and only when these
//! differ one `lvm fullreport` runs. So an answer is never older than the question.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::{debug, warn};

use crate::cmd::{CmdError, Runner};
use crate::dm;
use crate::lvm::devices::{self, Rank, Scan};
use crate::lvm::label::CommitKey;
use crate::lvm::report::{self, ReportError};
use crate::lvm::snapshot::Snapshot;
use crate::lvm::tool::Tool;

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
            last: Mutex::new(None),
        }
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
        {
            let known = last.scan.clone();
            if blocking(move || Ok(unchanged(&known))).await? {
                return Ok(last.snapshot.clone());
            }
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let scan = scan(partitions.clone()).await?;
            if let Some(last) = &mut *last
                && last.scan == scan
            {
                last.partitions = partitions.0;
                return Ok(last.snapshot.clone());
            }
            let snapshot = Arc::new(self.report(&scan).await?);
            // The commit locations kept are those from before the report: whatever was
            // committed since then is seen at the next look. Only a VG that looks broken
            // because labels and report are of two moments is looked at again.
            let broken = snapshot.vgs.iter().any(|view| !view.frozen.is_empty());
            let known = scan.clone();
            if broken && attempt < ATTEMPTS && !blocking(move || Ok(unchanged(&known))).await? {
                debug!("the volume groups changed during the report, asking again");
                continue;
            }
            *last = Some(Last {
                partitions: partitions.0,
                scan,
                snapshot: snapshot.clone(),
            });
            return Ok(snapshot);
        }
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
            for vg in report::parse(&out.stdout)? {
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

async fn scan((candidates, mapped): Lists) -> Result<Scan, ReadError> {
    blocking(move || Ok(devices::scan(&candidates, &mapped))).await
}

/// Whether every known PV still has the same label and committed locations.
fn unchanged(scan: &Scan) -> bool {
    scan.labelled.iter().all(|device| {
        let now = devices::read_label(&device.path).ok().flatten();
        now.is_some_and(|(label, keys): (_, Vec<CommitKey>)| {
            label == device.label && keys == device.keys
        })
    })
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
