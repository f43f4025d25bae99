//! The current [`Snapshot`], read from the disks, and from lvm only where that is not certain.
//!
//! Each look reads the header of every known PV (one 8 KiB read, tens of microseconds)
//! and the list of block devices; only when a commit location moved, a device came or
//! went, or a VG that is wanted is missing, labels are read again, and where these
//! differ the VG's text. So an answer is never older than the question. No lock is taken:
//! metadata is committed whole, and a text is believed only with its checksum.
//!
//! What [`gather`] is not sure of goes to one `lvm fullreport` on just those devices. A
//! device that does not answer counts as unreadable, and only its VG is affected.

mod check;
mod group;
mod texts;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::Mutex;
use tracing::{debug, info, warn};

pub use check::Checked;

use crate::cmd::{CmdError, Runner};
use crate::dm;
use crate::lvm::devices::{self, Rank, Read, Scan, read_label};
use crate::lvm::gather::{self, Gathered};
use crate::lvm::model::Vg;
use crate::lvm::report::{self, ReportError};
use crate::lvm::snapshot::{Snapshot, VgView};
use crate::lvm::tool::Tool;
use crate::patience::{NoAnswer, Patience};
use group::{Seen, Uevents};
use texts::Known;

/// How often what looks broken is read again when the metadata changed meanwhile.
const ATTEMPTS: u32 = 4;
/// How long a commit that goes on is given before that.
const COMMIT: Duration = Duration::from_millis(3);

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
    /// Their metadata changed each time they were compared with what lvm says.
    #[error("the volume groups change too often to be compared")]
    Restless,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// From the metadata on the disks and device-mapper.
    Metadata,
    /// From an lvm process.
    Lvm,
}

impl Source {
    /// The word for metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Lvm => "lvm",
        }
    }
}

/// Told of reads, for metrics.
pub trait ReadObserver: Send + Sync + std::fmt::Debug + 'static {
    /// State was asked for, and came from `source`.
    fn read(&self, source: Source) {
        let _ = source;
    }

    /// lvm had to be asked about a VG, for the reason with this code.
    fn fell_back(&self, code: &'static str) {
        let _ = code;
    }

    /// The direct reader and lvm said different things of a VG.
    fn distrusted(&self, vg: &str) {
        let _ = vg;
    }
}

#[derive(Debug)]
struct Nobody;

impl ReadObserver for Nobody {}

/// Reads snapshots and keeps the last one.
#[derive(Debug)]
pub struct Reader<R> {
    runner: R,
    tool: Tool,
    patience: Patience,
    observer: Arc<dyn ReadObserver>,
    last: Mutex<Option<Last>>,
    /// What the last look saw; whoever reads it shows that it still holds.
    seen: Lock<Option<Seen>>,
    uevents: Uevents,
    /// The uuids of VGs of which the direct reader was wrong.
    distrusted: Lock<Vec<String>>,
}

/// What lvm said.
#[derive(Debug, Clone)]
struct Reported {
    /// Of which devices.
    devices: Vec<devices::Labelled>,
    vgs: Vec<(Rank, Vg)>,
    /// What device-mapper had counted of their LVs before it was asked.
    events: Vec<(String, u32)>,
}

impl Reported {
    /// Whether lvm would still say the same: a RAID that loses a disk changes no metadata.
    fn holds(&self, mapped: &[dm::Listed]) -> bool {
        self.events == events(&self.vgs, mapped)
    }
}

/// The LVs of these VGs in device-mapper's list, and how many events each has seen.
fn events(vgs: &[(Rank, Vg)], mapped: &[dm::Listed]) -> Vec<(String, u32)> {
    let prefixes: Vec<_> = vgs.iter().map(|(_, vg)| vg.dm_prefix()).collect();
    mapped
        .iter()
        .filter_map(|device| Some((device.uuid.as_ref()?, device.event_nr)))
        .filter(|(uuid, _)| prefixes.iter().any(|prefix| uuid.starts_with(prefix)))
        .map(|(uuid, events)| (uuid.clone(), events))
        .collect()
}

#[derive(Debug)]
struct Last {
    partitions: Vec<devices::Candidate>,
    scan: Arc<Scan>,
    known: Known,
    reported: Option<Reported>,
    snapshot: Arc<Snapshot>,
}

impl Last {
    fn still_reported(&self, mapped: &[dm::Listed]) -> bool {
        self.reported.as_ref().is_none_or(|said| said.holds(mapped))
    }
}

impl<R: Runner> Reader<R> {
    /// A reader that calls lvm through `runner` where it is not certain.
    pub fn new(runner: R, tool: Tool) -> Self {
        Self {
            runner,
            tool,
            patience: Patience::default(),
            observer: Arc::new(Nobody),
            last: Mutex::new(None),
            seen: Lock::default(),
            uevents: Uevents::open(),
            distrusted: Lock::default(),
        }
    }

    /// The same, that tells `observer` of its reads.
    #[must_use]
    pub fn observed(mut self, observer: Arc<dyn ReadObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// Has the next look read every device, also those that were no PVs: somebody heard that
    /// something happened to one.
    pub async fn forget(&self) {
        *self.last.lock().await = None;
        *self.seen() = None;
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
        let (snapshot, source) = self.look(wanted).await?;
        self.observer.read(source);
        Ok(snapshot)
    }

    async fn look(&self, wanted: &[String]) -> Result<(Arc<Snapshot>, Source), ReadError> {
        let mut last = self.last.lock().await;
        let uevents = self.uevents.count();
        let ((partitions, mapped), unchanged) = self.glance(last.as_ref()).await?;
        if let Some(last) = &*last
            && unchanged
            && last.partitions == partitions
            && last.still_reported(&mapped)
            && wanted.iter().all(|vg| {
                last.snapshot
                    .vg(vg)
                    .is_some_and(|view| view.frozen.is_empty())
            })
            && last.scan.unreadable.is_empty()
        {
            self.keep(last, uevents);
            return Ok((last.snapshot.clone(), Source::Metadata));
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let paths = partitions.iter().map(devices::Candidate::path).collect();
            let scan = devices::sort(&partitions, self.labels(paths).await, &mapped);
            if let Some(last) = &mut *last
                && *last.scan == scan
                && last.still_reported(&mapped)
            {
                last.partitions = partitions;
                self.keep(last, uevents);
                return Ok((last.snapshot.clone(), Source::Metadata));
            }
            let known = last.as_ref().map(|last| &last.known);
            let (texts, known) = self.texts(&scan, known).await;
            let gathered = gather::vgs(&scan, &texts, &self.distrusted());
            // Two moments of a commit are no reason to ask lvm: the next look sees one.
            if !gathered.left.is_empty() && attempt < ATTEMPTS {
                tokio::time::sleep(COMMIT).await;
                if !self.unchanged(&scan).await {
                    debug!("the volume groups changed meanwhile, reading again");
                    continue;
                }
            }
            let (reported, source) = match self.left(&scan, &mapped, &gathered, last.as_ref()).await
            {
                Ok(reported) => reported,
                Err(_) if attempt < ATTEMPTS && !self.unchanged(&scan).await => continue,
                Err(error) => return Err(error),
            };
            let mut vgs = gathered.vgs;
            vgs.extend(reported.iter().flat_map(|said| &said.vgs).cloned());
            // The commit locations kept are those from before the texts: whatever was
            // committed since then is seen at the next look. Only what looks broken
            // because it is of two moments is looked at again.
            let joined = Snapshot::join(in_order(vgs), &scan);
            let broken = joined.vgs.iter().any(|view| !view.frozen.is_empty());
            if broken && attempt < ATTEMPTS && !self.unchanged(&scan).await {
                debug!("the volume groups changed meanwhile, reading again");
                continue;
            }
            let snapshot = Arc::new(joined);
            let now = last.insert(Last {
                partitions,
                scan: Arc::new(scan),
                known,
                reported,
                snapshot: snapshot.clone(),
            });
            self.keep(now, uevents);
            return Ok((snapshot, source));
        }
    }

    /// The kernel's lists, and then whether the PVs known from the `last` look are as they
    /// were: all in one call, since that is what most looks come to.
    async fn glance(&self, last: Option<&Last>) -> Result<(Lists, bool), ReadError> {
        let Some(last) = last else {
            return Ok((blocking(list).await?, false));
        };
        let known = last.scan.clone();
        let both = move || (list(), known.labelled.iter().all(is_as_it_was));
        match self.patience.ask("one of the disks", both).await {
            Ok((lists, unchanged)) => {
                let lists = lists.map_err(|error| ReadError::Devices(error.to_string()))?;
                Ok((lists, unchanged))
            }
            // One of them hangs: each is asked by itself.
            Err(_) => {
                let lists = blocking(list).await?;
                Ok((lists, self.unchanged(&last.scan).await))
            }
        }
    }

    /// What lvm says of the devices that are left for it, asked only when they changed.
    async fn left(
        &self,
        scan: &Scan,
        mapped: &[dm::Listed],
        gathered: &Gathered,
        last: Option<&Last>,
    ) -> Result<(Option<Reported>, Source), ReadError> {
        if gathered.left.is_empty() {
            return Ok((None, Source::Metadata));
        }
        let labelled = &scan.labelled;
        let left: Vec<_> = gathered
            .left
            .iter()
            .map(|at| labelled[*at].clone())
            .collect();
        if let Some(said) = last.and_then(|last| last.reported.as_ref())
            && said.devices == left
            && said.holds(mapped)
        {
            return Ok((Some(said.clone()), Source::Metadata));
        }
        for (vg, unsure) in &gathered.unsure {
            info!(%vg, reason = %unsure, "asking lvm");
            self.observer.fell_back(unsure.code());
        }
        let vgs = self.report(&left).await?;
        let said = Reported {
            events: events(&vgs, mapped),
            devices: left,
            vgs,
        };
        Ok((Some(said), Source::Lvm))
    }

    /// What lvm says of one VG, when device-mapper shows what only lvm can judge.
    ///
    /// # Errors
    /// When lvm fails or no longer knows it.
    pub async fn ask_lvm(&self, view: &VgView, code: &'static str) -> Result<Vg, ReadError> {
        self.observer.fell_back(code);
        self.observer.read(Source::Lvm);
        let found = self.report_on(&view.devices).await?.into_iter();
        found
            .into_iter()
            .find(|vg| vg.uuid == view.vg.uuid)
            .ok_or_else(|| {
                ReadError::Report(ReportError::Shape(format!(
                    "volume group {} is not in it",
                    view.vg.name
                )))
            })
    }

    fn distrusted(&self) -> Vec<String> {
        let distrusted = self.distrusted.lock();
        distrusted.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is read from each of these devices.
    async fn labels(&self, paths: Vec<PathBuf>) -> Vec<Read> {
        let hangs = |error: NoAnswer| Err(io::Error::other(error));
        self.side_by_side(paths, Clone::clone, |path| read_label(path), hangs)
            .await
    }

    /// Asks all disks in one go; when that does not come to its end one of them hangs, and
    /// each is asked by itself, side by side.
    async fn side_by_side<T, U>(
        &self,
        all: Vec<T>,
        disk: impl Fn(&T) -> PathBuf,
        ask: fn(&T) -> U,
        hangs: impl Fn(NoAnswer) -> U,
    ) -> Vec<U>
    where
        T: Clone + Send + 'static,
        U: Send + 'static,
    {
        let these = all.clone();
        let together = move || these.iter().map(ask).collect();
        if let Ok(answers) = self.patience.ask("one of the disks", together).await {
            return answers;
        }
        let asked: Vec<_> = all
            .into_iter()
            .map(|one| {
                let (patience, what) = (self.patience.clone(), disk(&one).display().to_string());
                let gone = NoAnswer { what: what.clone() };
                let answer =
                    tokio::spawn(async move { patience.ask(&what, move || ask(&one)).await });
                (answer, gone)
            })
            .collect();
        let mut answers = Vec::new();
        for (answer, gone) in asked {
            answers.push(answer.await.unwrap_or(Err(gone)).unwrap_or_else(&hangs));
        }
        answers
    }

    /// Whether every known PV still has the same label and committed locations.
    async fn unchanged(&self, scan: &Scan) -> bool {
        let paths = scan.labelled.iter().map(|d| d.path.clone()).collect();
        let now = self.labels(paths).await;
        let mut known = scan.labelled.iter().zip(now);
        known.all(|(device, now)| is_same(device, now))
    }

    /// What lvm says of these devices, in one report for each rank.
    async fn report(&self, devices: &[devices::Labelled]) -> Result<Vec<(Rank, Vg)>, ReadError> {
        let mut vgs = Vec::new();
        for rank in [Rank::Disk, Rank::Virtual] {
            let mut uuids = Vec::new();
            let mut paths: Vec<PathBuf> = Vec::new();
            for device in devices.iter().filter(|d| d.rank == rank) {
                // Of a PV seen twice LVM gets one; the join marks its VG.
                if !uuids.contains(&&device.label.pv_uuid) {
                    uuids.push(&device.label.pv_uuid);
                    paths.push(device.path.clone());
                }
            }
            if !paths.is_empty() {
                let found = self.report_on(&paths).await?;
                vgs.extend(found.into_iter().map(|vg| (rank, vg)));
            }
        }
        Ok(vgs)
    }

    async fn report_on(&self, paths: &[PathBuf]) -> Result<Vec<Vg>, ReadError> {
        let out = self
            .runner
            .run(self.tool.call(None, paths, &report::args())?)
            .await?;
        let (found, warnings) = report::read(&out.stdout)?;
        for warning in warnings {
            warn!(%warning, "lvm warns of the volume groups");
        }
        Ok(found)
    }
}

fn is_as_it_was(device: &devices::Labelled) -> bool {
    is_same(device, read_label(&device.path))
}

/// Whether this was read from the device before.
fn is_same(device: &devices::Labelled, now: Read) -> bool {
    now.ok()
        .flatten()
        .is_some_and(|(label, keys)| label == device.label && keys == device.keys)
}

/// All VGs in order. One on virtual devices never hides one of the same name on disks.
fn in_order(mut vgs: Vec<(Rank, Vg)>) -> Vec<Vg> {
    vgs.sort_by(|(a_rank, a), (b_rank, b)| (a_rank, &a.name).cmp(&(b_rank, &b.name)));
    let on_disks: Vec<String> = vgs
        .iter()
        .filter(|(rank, _)| *rank == Rank::Disk)
        .map(|(_, vg)| vg.name.clone())
        .collect();
    vgs.into_iter()
        .filter(|(rank, vg)| {
            let hides = *rank == Rank::Virtual && on_disks.contains(&vg.name);
            if hides {
                warn!(vg = %vg.name, uuid = %vg.uuid, "ignoring a VG on loop or network devices with the name of one on disks");
            }
            !hides
        })
        .map(|(_, vg)| vg)
        .collect()
}

type Lists = (Vec<devices::Candidate>, Vec<dm::Listed>);

fn list() -> io::Result<Lists> {
    // Without the control device there is no LV either, and dm devices are not looked at.
    let mapped = match dm::Control::open() {
        Ok(control) => control.list()?,
        Err(error) if is_absent(&error) => Vec::new(),
        Err(error) => return Err(error),
    };
    let partitions = fs::read_to_string("/proc/partitions")?;
    Ok((devices::candidates(&partitions, &mapped), mapped))
}

/// Whether there is no control device, or only a node that no driver stands behind.
fn is_absent(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    error.kind() == io::ErrorKind::NotFound
        || [Errno::ENODEV, Errno::ENXIO]
            .map(|e| Some(e as i32))
            .contains(&code)
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
