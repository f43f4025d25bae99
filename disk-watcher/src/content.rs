//! Reads what stands on a disk and puts it into the form the rules take.
//!
//! What was read is remembered under the disk's sequence number and its count of
//! writes: a disk nobody wrote to is not read twice. Directly before a disk is changed
//! nothing that [`read`] found is remembered; it is called anew. What takes long, all bytes of a
//! disk, [`WholeReads`] reads in the background.

mod partitions;
mod untouched;
mod whole;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use lvmd::units::Bytes;

pub use self::untouched::Untouched;
pub use self::whole::{Whole, WholeReads};
use crate::busy::{self, Claim, OpenDevices};
use crate::config::RequireZeroed;
use crate::facts::{DiskFacts, Root};
use crate::identity::Device;
use crate::node::chain;
use crate::probe::aligned::DirectReader;
use crate::probe::blank::{self, Blank, BlankPolicy};
use crate::probe::{self, Findings, Geometry, LvmLabel, SignatureKind};
use crate::rules::{ClaimSeen, Content, ContentReport, PartitionSeen, PvSeen, SignatureSeen};

/// What was read of a disk.
#[derive(Debug, Clone)]
pub struct Reading {
    /// For the rules.
    pub report: ContentReport,
    /// The digest of the contents; names the disk as it was read.
    pub fingerprint: String,
    /// The LVM label, where there is exactly one.
    pub label: Option<LvmLabel>,
    /// What the kernel said of the disk while it was read.
    pub device: Device,
    /// The PVs on its partitions.
    pub members: Vec<PvSeen>,
}

/// Reads an open disk. `zeroes` says how much of it is read for content, and is never more than
/// [`RequireZeroed::HeadAndTail`] here; a disk with a signature is not blank anyway, and is not
/// read for that.
///
/// # Errors
/// Anything that kept it from being read whole; then nothing is known.
pub fn read(file: &std::fs::File, id: &str, zeroes: RequireZeroed) -> Result<Reading, String> {
    let device = Device::of(file).map_err(|e| e.to_string())?;
    let geometry = geometry(&device);
    let zeroes = zeroes.min(RequireZeroed::HeadAndTail);
    let reader = || {
        file.try_clone()
            .map(DirectReader::new)
            .map_err(|e| e.to_string())
    };
    let findings = probe::scan(reader()?, geometry).map_err(|e| chain(&e))?;
    let inside = partitions::scan(file, &findings, &device)?;
    let named = [&findings.signatures[..], &inside.signatures].concat();
    let fingerprint = probe::fingerprint(id, reader()?, geometry, &named).map_err(|e| chain(&e))?;
    let (zeroes_checked, not_zeroed_at) = if findings.is_empty() {
        match blank::check(reader()?, geometry, policy(zeroes), |_| {
            ControlFlow::Continue(())
        })
        .map_err(|e| chain(&e))?
        {
            Blank::Blank => (zeroes, None),
            Blank::NotZero { first_offset } => (zeroes, Some(first_offset)),
        }
    } else {
        (RequireZeroed::None, None)
    };
    Ok(Reading {
        report: report(&findings, &inside.signatures, zeroes_checked, not_zeroed_at),
        members: inside.lvm.iter().map(pv).collect(),
        fingerprint,
        label: only_label(&findings),
        device,
    })
}

fn only_label(findings: &Findings) -> Option<LvmLabel> {
    match &findings.lvm[..] {
        [label] => Some(label.clone()),
        _ => None,
    }
}

fn report(
    findings: &Findings,
    inside: &[probe::Finding],
    zeroes_checked: RequireZeroed,
    not_zeroed_at: Option<u64>,
) -> ContentReport {
    let label = only_label(findings);
    let seen = |finding: &probe::Finding| SignatureSeen {
        kind: finding.kind.name().to_owned(),
        offset: finding.offset,
    };
    let mut signatures: Vec<SignatureSeen> = match &label {
        Some(label) => findings.besides_volumes(label).map(seen).collect(),
        None => findings.signatures.iter().map(seen).collect(),
    };
    signatures.extend(inside.iter().map(seen));
    let partitions = findings
        .gpt
        .iter()
        .flat_map(|table| &table.partitions)
        .map(|p| PartitionSeen {
            label: p.name.clone(),
            type_guid: p.type_guid.clone(),
        });
    ContentReport {
        signatures,
        partitions: partitions.collect(),
        pv: label.as_ref().map(pv),
        zeroes_checked,
        not_zeroed_at,
        reading: None,
    }
}

fn geometry(device: &Device) -> Geometry {
    Geometry {
        size_bytes: device.size.0,
        logical_sector: device.sector,
    }
}

fn pv(label: &LvmLabel) -> PvSeen {
    let committed = label.committed();
    let vg = committed.first();
    PvSeen {
        uuid: label.pv_uuid.clone(),
        vg_name: vg.map(|vg| vg.name.clone()),
        vg_uuid: vg.map(|vg| vg.uuid.clone()),
        tags: vg.map(|vg| vg.tags.clone()).unwrap_or_default(),
        used: label.used,
        committed: !committed.is_empty(),
        data_start: Bytes(label.data_areas.first().map_or(0, |area| area.offset)),
    }
}

/// What was read of which disk, in which state, and for which question.
#[derive(Debug, Default)]
pub struct Readings {
    /// By kernel name.
    known: HashMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    /// The kernel name of the whole disk.
    disk: String,
    state: Untouched,
    zeroes: RequireZeroed,
    reading: Reading,
}

/// A disk as it was looked at: who holds it, and what stands on it.
#[derive(Debug)]
pub struct Looked {
    /// For the rule Busy.
    pub claim: ClaimSeen,
    /// For the rules about contents.
    pub content: Content,
    /// The reading behind it.
    pub reading: Option<Reading>,
}

impl Looked {
    /// Forgets the LVM label: it stands on something that is no disk of this node.
    pub fn without_label(&mut self) {
        if let Content::Probed(report) = &mut self.content {
            report.pv = None;
        }
        if let Some(reading) = &mut self.reading {
            reading.report.pv = None;
            reading.label = None;
        }
    }
}

impl Readings {
    /// Looks at a disk. Only one that is `wanted` by a class and blank is opened exclusively,
    /// and only for a moment: while that lasts, nobody else can mount it, make a filesystem
    /// on it or activate a volume that lies on it.
    pub fn look(
        &mut self,
        facts: &DiskFacts,
        id: &str,
        zeroes: RequireZeroed,
        wanted: bool,
        open: &OpenDevices,
        whole: &WholeReads,
    ) -> Looked {
        let reading = self.read(facts, id, zeroes);
        let reading = reading.and_then(|reading| all_of(reading, facts, zeroes, whole));
        let is_blank = reading.as_ref().is_ok_and(|r| r.report.is_blank());
        let claim = (wanted && is_blank).then(|| Claim::open(Path::new(&facts.node())));
        let openers = open.of(&facts.family());
        let claim = match &claim {
            Some(claim) => busy::seen(claim, openers),
            None => ClaimSeen::NotTried(openers),
        };
        match reading {
            Ok(reading) => Looked {
                claim,
                content: Content::Probed(reading.report.clone()),
                reading: Some(reading),
            },
            Err(why) => Looked {
                claim,
                content: Content::Unknown(why),
                reading: None,
            },
        }
    }

    /// What stands on a disk, as remembered where nobody wrote since.
    fn read(
        &mut self,
        facts: &DiskFacts,
        id: &str,
        zeroes: RequireZeroed,
    ) -> Result<Reading, String> {
        // Of what was known before it is read: what is written meanwhile is read the next time.
        let state = Untouched::of(facts).map(|(state, _)| state);
        if let (Some(state), Some(known)) = (&state, self.known.get(&facts.name))
            && (&known.state, known.zeroes) == (state, zeroes)
        {
            return Ok(known.reading.clone());
        }
        let path = facts.node();
        let reader = DirectReader::open(Path::new(&path)).map_err(|e| chain(&e))?;
        let reading = read(reader.get_ref(), id, zeroes)?;
        if let Some(state) = state {
            let known = Known {
                disk: facts.whole().name.clone(),
                state,
                zeroes,
                reading: reading.clone(),
            };
            self.known.insert(facts.name.clone(), known);
        }
        Ok(reading)
    }

    /// Forgets a disk and its partitions, so that they are read at the next look.
    pub fn forget(&mut self, name: &str) {
        self.known
            .retain(|of, known| of != name && known.disk != name);
    }
}

/// Adds what is known of all bytes of a disk, where that is asked and nothing was found yet.
fn all_of(
    mut reading: Reading,
    facts: &DiskFacts,
    zeroes: RequireZeroed,
    whole: &WholeReads,
) -> Result<Reading, String> {
    if zeroes == RequireZeroed::Full && reading.report.is_blank() {
        match whole.ask(facts, 0) {
            Whole::Blank => reading.report.zeroes_checked = RequireZeroed::Full,
            Whole::NotZero(at) => reading.report.not_zeroed_at = Some(at),
            Whole::Reading(progress) => reading.report.reading = Some(progress),
            Whole::Unknown(why) => return Err(why),
        }
    }
    Ok(reading)
}

/// Whether the device behind `start` is blank, read as `zeroes` asks, here and now, and at least
/// at its ends and in samples; with no signature but our own label before it.
///
/// # Errors
/// When it cannot be read.
pub fn is_blank_behind(
    file: &std::fs::File,
    start: u64,
    zeroes: RequireZeroed,
) -> Result<bool, String> {
    let device = Device::of(file).map_err(|e| e.to_string())?;
    let reader = || {
        file.try_clone()
            .map(DirectReader::new)
            .map_err(|e| e.to_string())
    };
    let findings = probe::scan(reader()?, geometry(&device)).map_err(|e| chain(&e))?;
    if findings
        .signatures
        .iter()
        .any(|f| f.kind != SignatureKind::Lvm2Pv)
    {
        return Ok(false);
    }
    Ok(first_byte_behind(file, start, zeroes.max(RequireZeroed::HeadAndTail))?.is_none())
}

/// The place of the first byte behind `start` that is not zero, of those that `zeroes` asks
/// to be read: the rest of the disk is looked at as a disk of its own.
///
/// # Errors
/// When it cannot be read.
pub fn first_byte_behind(
    file: &std::fs::File,
    start: u64,
    zeroes: RequireZeroed,
) -> Result<Option<u64>, String> {
    let device = Device::of(file).map_err(|e| e.to_string())?;
    let rest = Geometry {
        size_bytes: device.size.0.saturating_sub(start),
        logical_sector: device.sector,
    };
    let shifted = Shifted {
        reader: DirectReader::new(file.try_clone().map_err(|e| e.to_string())?),
        by: start,
    };
    match blank::check(shifted, rest, policy(zeroes), |_| ControlFlow::Continue(()))
        .map_err(|e| chain(&e))?
    {
        Blank::Blank => Ok(None),
        Blank::NotZero { first_offset } => Ok(Some(start + first_offset)),
    }
}

/// The first signature that a disk beginning at `start` of this one would have.
///
/// # Errors
/// When it cannot be read.
pub fn signature_behind(file: &std::fs::File, start: u64) -> Result<Option<String>, String> {
    let device = Device::of(file).map_err(|e| e.to_string())?;
    let rest = Geometry {
        size_bytes: device.size.0.saturating_sub(start),
        logical_sector: device.sector,
    };
    let shifted = Shifted {
        reader: DirectReader::new(file.try_clone().map_err(|e| e.to_string())?),
        by: start,
    };
    let findings = probe::scan(shifted, rest).map_err(|e| chain(&e))?;
    let first = findings.signatures.first();
    Ok(first.map(|seen| format!("{} at byte {}", seen.kind, start + seen.offset)))
}

/// What is known of all bytes of an open disk from `start` on, directly before it is changed; see
/// [`WholeReads::ask_now`].
///
/// A partition that does not take long is read here and now, whatever was read before. Of a larger one
/// the reading in the background has to do, of the same entry in the GPT, by the partition's own counts
/// and those of its disk without its partitions ([`crate::facts::Past`]).
pub fn all_now(
    whole: &WholeReads,
    file: &std::fs::File,
    facts: &DiskFacts,
    start: u64,
    reads: u64,
) -> Whole {
    if facts.part.is_none() {
        return whole.ask_now(facts, start, reads);
    }
    if facts.size.is_none_or(|size| size > PART_READ_AT_ONCE) {
        let udev = crate::events::list().unwrap_or_default();
        return match crate::partition::again(&Root::host(), facts, &udev) {
            Some(now) => whole.ask(&now, start),
            None => Whole::Unknown("it is gone".to_owned()),
        };
    }
    match first_byte_behind(file, start, RequireZeroed::Full) {
        Ok(None) => Whole::Blank,
        Ok(Some(at)) => Whole::NotZero(at),
        Err(why) => Whole::Unknown(why),
    }
}

/// A partition of this size is read in less than a minute by a slow disk, in which nothing else is
/// done.
const PART_READ_AT_ONCE: Bytes = Bytes(4 << 30);

fn policy(zeroes: RequireZeroed) -> BlankPolicy {
    match zeroes {
        RequireZeroed::None => BlankPolicy::None,
        RequireZeroed::HeadAndTail => BlankPolicy::HeadAndTail,
        RequireZeroed::Full => BlankPolicy::Full,
    }
}

/// Where LVM puts the first metadata area, and how long its header is, in bytes.
const MDA: std::ops::Range<usize> = 4096..4608;
/// LVM's default start of data, in bytes: label and metadata of a PV end here.
pub const DATA_START: u64 = 1 << 20;

/// Whether all that stands on the disk is the header of an empty metadata area, which
/// pvcreate writes before the label: the disk was blank, and our pvcreate was cut. Behind
/// [`DATA_START`] its end and samples are read.
///
/// # Errors
/// When it cannot be read.
pub fn holds_only_an_empty_header(file: &std::fs::File) -> Result<bool, String> {
    use std::io::Read;
    let mut head = vec![0; 1 << 20];
    let mut reader = DirectReader::new(file.try_clone().map_err(|e| e.to_string())?);
    reader.read_exact(&mut head).map_err(|e| e.to_string())?;
    let header = lvmd::lvm::label::parse_mda_header(&head[MDA], 4096);
    let is_empty = header.is_ok_and(|key| key.size == 0);
    head[MDA].fill(0);
    Ok(is_empty
        && head.iter().all(|byte| *byte == 0)
        && is_blank_behind(file, DATA_START, RequireZeroed::HeadAndTail)?)
}

/// A reader of a part of a disk, which begins at byte `by`.
struct Shifted<R> {
    reader: R,
    by: u64,
}

impl<R: std::io::Read> std::io::Read for Shifted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl<R: std::io::Seek> std::io::Seek for Shifted<R> {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        let to = match to {
            std::io::SeekFrom::Start(at) => std::io::SeekFrom::Start(at + self.by),
            other => other,
        };
        self.reader.seek(to).map(|at| at.saturating_sub(self.by))
    }
}
