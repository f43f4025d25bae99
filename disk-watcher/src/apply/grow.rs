//! A PV follows its disk, which became larger.

use std::path::{Path, PathBuf};

use lvmd::cmd::Runner;
use lvmd::lvm::devices::read_label;
use lvmd::lvm::snapshot::VgView;
use lvmd::units::Bytes;
use tracing::info;

use super::disk::current_id;
use super::{ApplyError, not_done, run, words};
use crate::commands;
use crate::config::{DiskClass, RequireZeroed};
use crate::content::{self, Whole, WholeReads};
use crate::facts::DiskFacts;
use crate::identity::Device;
use crate::journal::{Claim, Journal};
use crate::node::{NodeReader, chain};
use crate::pass::id_of;
use crate::probe::aligned::DirectReader;

const STEP: &str = "pvresize";

/// Runs pvresize on the disk of `claim`, then looks. Only for a PV of ours, in a group that is
/// ours and whole, on the disk that was claimed, whose new part is as blank as the class asks
/// of a disk of this size.
///
/// pvresize can be run again after any cut, so the journal needs no word before it: it holds
/// the old size until the new one was seen.
pub async fn grow<R: Runner + Clone>(
    node: &NodeReader<R>,
    whole: &WholeReads,
    journal: &mut Journal,
    class: &DiskClass,
    claim: &Claim,
    facts: &DiskFacts,
) -> Result<(), ApplyError> {
    let changed = ApplyError::changed(&claim.disk);
    let no = |why: String| not_done(STEP, why);
    if !claim.disk.is_session() && id_of(facts).as_ref() != Some(&claim.disk) {
        return Err(changed("its id is not the one that was claimed".into()));
    }
    if facts.part.is_some() && current_id(facts, &claim.disk) != claim.disk {
        return Err(changed(
            "its partition table is not the one that was judged".into(),
        ));
    }
    let path = PathBuf::from(facts.node());
    let before = pv(node, journal, class, claim).await?;
    // Of extents that LVM gave out already, by a pvresize that was cut off, nobody asks that
    // they are blank.
    let begin = claim.size.0.max(before.end());
    let (size, zeroes) = look(&path, claim, class, begin).map_err(&changed)?;
    if zeroes == RequireZeroed::Full && begin < size {
        match whole.ask_unused_part(facts, begin) {
            Whole::NotZero(at) => return Err(changed(not_blank(claim, size, at))),
            found => ApplyError::unless_blank(&claim.disk, found).map_or(Ok(()), Err)?,
        }
    }
    let mut after = before.clone();
    if !after.fills(size) {
        let call = commands::pvresize(&before.devices, &path);
        let said = run(node, class, &call).await;
        after = pv(node, journal, class, claim).await?;
        if !after.fills(size) {
            let seen = format!(
                "of {size} bytes its {} extents end at {}",
                after.extents,
                after.end()
            );
            return Err(no(words(said, &seen)));
        }
    }
    let mut next = claim.clone();
    next.size.0 = size;
    journal.record(next)?;
    info!(disk = %claim.disk, pv_uuid = %claim.pv_uuid, from = %claim.size, to = size,
        extents = after.extents.saturating_sub(before.extents), "the PV grew with its disk");
    Ok(())
}

/// The PV as LVM shows it; sizes in bytes.
#[derive(Clone)]
struct Member {
    devices: Vec<PathBuf>,
    extent: u64,
    extents: u64,
    data_start: u64,
}

impl Member {
    /// Where its last extent ends.
    fn end(&self) -> u64 {
        self.data_start + self.extents * self.extent
    }

    /// Whether it has all of a disk of this size.
    fn fills(&self, size: u64) -> bool {
        self.end() <= size && self.end() + self.extent > size
    }
}

async fn pv<R: Runner + Clone>(
    node: &NodeReader<R>,
    journal: &Journal,
    class: &DiskClass,
    claim: &Claim,
) -> Result<Member, ApplyError> {
    let no = |why: &str| not_done(STEP, why.to_owned());
    let snapshot = node.snapshot(&[]).await.map_err(|why| no(&why))?;
    let view = snapshot
        .vg(&class.volume_group.name)
        .filter(|view| may_change(view, journal, claim))
        .ok_or_else(|| no("the group is not there, not ours or frozen"))?;
    let pv = view.vg.pvs.iter().find(|pv| pv.uuid == claim.pv_uuid);
    let pv = pv.ok_or_else(|| no("the group does not list it"))?;
    let label = read_label(Path::new(&pv.device)).map_err(|e| no(&chain(&e)))?;
    let (label, _) = label.ok_or_else(|| no("it has no label"))?;
    if label.pv_uuid != claim.pv_uuid {
        return Err(no("its device carries another PV"));
    }
    Ok(Member {
        devices: view.devices.clone(),
        extent: view.vg.extent_size.0.max(1),
        extents: pv.extent_count,
        data_start: label.data_start,
    })
}

fn may_change(view: &VgView, journal: &Journal, claim: &Claim) -> bool {
    view.frozen.is_empty()
        && view.vg.owner() == Some(journal.owner())
        && Some(&view.vg.uuid) == claim.vg_uuid.as_ref()
}

/// The disk's size, when no signature stands behind `begin` and its samples are blank, and how much of it
/// has to be.
fn look(
    path: &Path,
    claim: &Claim,
    class: &DiskClass,
    begin: u64,
) -> Result<(u64, RequireZeroed), String> {
    let reader = DirectReader::open(path).map_err(|e| e.to_string())?;
    let device = Device::of(reader.get_ref()).map_err(|e| e.to_string())?;
    let (size, zeroes) = (device.size.0, class.safety.zeroes_required(device.size));
    if begin >= size {
        return Ok((size, zeroes));
    }
    if let Some(seen) = content::signature_behind(reader.get_ref(), begin)? {
        return Err(format!(
            "it grew from {} to {} and behind that stands {seen}, so the PV stays as it is",
            claim.size,
            Bytes(size)
        ));
    }
    match content::first_byte_behind(
        reader.get_ref(),
        begin,
        zeroes.min(RequireZeroed::HeadAndTail),
    )? {
        None => Ok((size, zeroes)),
        Some(at) => Err(not_blank(claim, size, at)),
    }
}

fn not_blank(claim: &Claim, size: u64, at: u64) -> String {
    format!(
        "it grew from {} to {} and is not blank behind that: byte {at} is not zero, so the PV stays as it is",
        claim.size,
        Bytes(size)
    )
}
