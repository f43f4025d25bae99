//! What the rules are given: facts about the disk, the host, LVM, and the contents.
//!
//! The types of the contents and of LVM are small and stand here, so that the rules
//! depend on no prober and no reader of metadata.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use lvmd::names::{TAG_OWNER, tag_value};
use lvmd::units::Bytes;
use serde::Serialize;

use super::Consent;
use crate::config::RequireZeroed;
use crate::facts::{DiskFacts, DiskId, HostFacts, is_junk};

/// Everything the rules look at for one disk.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// The disk.
    pub facts: &'a DiskFacts,
    /// Who uses block devices on this host.
    pub host: &'a HostFacts,
    /// Why the node is not fit for changes: lock directory, modules, tools. Empty: it is.
    pub preflight: &'a [String],
    /// What is ours.
    pub ours: &'a Ours,
    /// What LVM knows, or why that is not known.
    pub lvm: Result<&'a LvmView, &'a str>,
    /// Every whole disk of the node, this one included.
    pub peers: &'a [Peer],
    /// What stands on the disk.
    pub content: Content,
    /// What stands on the whole disk that it is a partition of.
    pub around: Option<&'a Content>,
    /// Whether we hold it exclusively.
    pub claim: ClaimSeen,
    /// What the class that picks it already has; `None` where no class does.
    pub usage: Option<ClassUsage>,
    /// How long no event came for it; `None` when that is not known.
    pub quiet_for: Option<Duration>,
    /// What approvals are compared with.
    pub consent: Consent<'a>,
    /// The storage system that claims it in its own configuration, where one was found.
    pub native_owner: Option<String>,
    /// A claim of ours that it must not be taken over: another class's on it, or one on its whole disk.
    pub claimed: Option<String>,
    /// The DiskRemovalRequest that names it.
    pub removal: Option<&'a str>,
}

/// What is ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ours {
    /// The value of the tag `basalt.owner`; `None` while it is not known.
    pub owner: Option<String>,
    /// The UUIDs of the PVs in the journal.
    pub pv_uuids: BTreeSet<String>,
    /// The ids of their disks and partitions.
    pub disks: BTreeSet<DiskId>,
}

/// What stands on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// It was read.
    Probed(ContentReport),
    /// It was not read whole, or not understood, or not tried: this is why.
    Unknown(String),
}

/// What the probes found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentReport {
    /// Every signature, partition tables included, those in the data area of `pv` left
    /// aside.
    pub signatures: Vec<SignatureSeen>,
    /// The entries of every partition table that could be read.
    pub partitions: Vec<PartitionSeen>,
    /// The LVM label, where there is one.
    pub pv: Option<PvSeen>,
    /// How much of the disk was read for zeroes.
    pub zeroes_checked: RequireZeroed,
    /// The first byte found that is not zero, the metadata of `pv` left aside.
    pub not_zeroed_at: Option<u64>,
    /// How far the reading of all of it is, where that goes on.
    pub reading: Option<Progress>,
}

/// How far the reading of a whole disk is, in steps of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// How much of it was read, in bytes.
    pub done: Bytes,
    /// How much of it has to be, in bytes.
    pub total: Bytes,
    /// The same as a share.
    pub percent: u8,
}

impl Progress {
    /// A reading that came to `done` of `total`.
    pub fn new(done: Bytes, total: Bytes) -> Self {
        let percent = (u128::from(done.0) * 100 / u128::from(total.0.max(1))).min(100);
        let done = percent * u128::from(total.0) / 100;
        Self {
            done: Bytes(u64::try_from(done).unwrap_or(u64::MAX)),
            total,
            percent: u8::try_from(percent).unwrap_or(100),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} ({}%)", self.done, self.total, self.percent)
    }
}

impl ContentReport {
    /// Whether nothing was found on the disk.
    pub fn is_blank(&self) -> bool {
        self.signatures.is_empty()
            && self.partitions.is_empty()
            && self.pv.is_none()
            && self.not_zeroed_at.is_none()
    }
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureSeen {
    /// Its type, such as `ext4` or `gpt`.
    pub kind: String,
    /// Where it stands, in bytes.
    pub offset: u64,
}

/// An entry of a partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSeen {
    /// Its name; empty in tables without names.
    pub label: String,
    /// Its type, a GUID in GPT.
    pub type_guid: String,
}

/// An LVM label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PvSeen {
    /// The UUID of the PV.
    pub uuid: String,
    /// The name of its group, where its metadata says so.
    pub vg_name: Option<String>,
    /// The UUID of its group.
    pub vg_uuid: Option<String>,
    /// The tags of its group.
    pub tags: Vec<String>,
    /// Whether its header says that it belongs to a group.
    pub used: bool,
    /// Whether its metadata area has committed metadata.
    pub committed: bool,
    /// Where its first extent begins, in bytes.
    pub data_start: Bytes,
}

/// Whether the disk could be opened exclusively.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimSeen {
    /// It is held exclusively by us; these others have it open all the same.
    Held(Vec<Opener>),
    /// Somebody else holds it; this is who, where that is known.
    Refused(Vec<Opener>),
    /// It was not tried, because what stands on it refuses it anyway and a try could be in
    /// the way of those it belongs to; these have it open.
    NotTried(Vec<Opener>),
    /// It could not be opened.
    Unknown(String),
}

/// A process that has the disk or a partition of it open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opener {
    /// Its pid.
    pub pid: i32,
    /// Its name.
    pub name: String,
    /// Whether it may write.
    pub writes: bool,
}

/// What LVM knows of this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LvmView {
    /// Every PV, a duplicate as often as it is seen.
    pub pvs: Vec<PvView>,
    /// Every group, two of one name as two.
    pub vgs: Vec<VgView>,
    /// This host's system id, where it has one.
    pub system_id: Option<String>,
}

/// A PV.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PvView {
    /// The kernel name of its device; `None` when it is missing.
    pub device: Option<String>,
    /// Its UUID.
    pub uuid: String,
    /// The UUID of its group.
    pub vg_uuid: Option<String>,
    /// Whether LVM says that the UUID is on several devices.
    pub duplicate: bool,
    /// Whether its device is smaller than its extents.
    pub shrunk: bool,
    /// What its extents hold.
    pub extents: Bytes,
    /// What one of them holds.
    pub extent: Bytes,
}

/// A group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VgView {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// How many of its PVs are not there.
    pub missing_pvs: u64,
    /// Whether it is exported.
    pub exported: bool,
    /// Whether it is clustered.
    pub clustered: bool,
    /// Whether it is shared through lvmlockd.
    pub shared: bool,
    /// The system id it belongs to; empty or `None`: nobody's.
    pub system_id: Option<String>,
}

/// What a class already has on this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassUsage {
    /// Disks in its group or on the way into it, this one not counted.
    pub disks: u32,
    /// Their size.
    pub size: Bytes,
    /// Disks that would be taken if there were enough of them, this one included.
    pub candidates: u32,
    /// Whether its group exists.
    pub group_exists: bool,
    /// Whether its group was adopted, so that no disk joins it.
    pub closed: bool,
    /// Whether it was Ready once, so that `discovery: Once` is over.
    pub established: bool,
}

/// One disk as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its kernel name.
    pub name: String,
    /// Its WWID, unless it is rubbish.
    pub wwid: Option<String>,
    /// The id it has without its WWID.
    pub serial_id: Option<DiskId>,
}

impl Peer {
    /// The disk as the others see it; `None` for a path that the kernel hides behind a
    /// multipath device and for what is stacked on other devices.
    pub fn of(facts: &DiskFacts) -> Option<Self> {
        if facts.hidden || !facts.slaves.is_empty() {
            return None;
        }
        Some(Self {
            name: facts.name.clone(),
            wwid: facts.wwid.clone().filter(|wwid| !is_junk(wwid)),
            serial_id: facts.identify_by_serial().id().cloned(),
        })
    }
}

impl Ours {
    /// Whether these are the tags of one of our groups.
    pub fn owns_tags(&self, tags: &[String]) -> bool {
        self.owner.is_some() && tag_value(tags, TAG_OWNER) == self.owner.as_deref()
    }

    /// Whether we assigned the PV or it is in one of our groups.
    pub fn owns(&self, pv: &PvSeen) -> bool {
        self.pv_uuids.contains(&pv.uuid) || self.owns_tags(&pv.tags)
    }
}
