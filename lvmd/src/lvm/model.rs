//! What LVM says of a node: volume groups, their PVs and their LVs.
//!
//! Plain data without a single unknown: a report that lacks a field or has one that
//! cannot be read is refused as a whole, because an LV nobody saw is an LV somebody
//! writes over.

use crate::lvm::attr::LvAttr;
use crate::lvm::live::{Mapping, Shown};
use crate::names;
use crate::units::Bytes;

/// A volume group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vg {
    /// Its name; a hint only, see [`Vg::uuid`].
    pub name: String,
    /// Its identity, as LVM prints it.
    pub uuid: String,
    /// Its size in bytes (a multiple of the extent size).
    pub size: Bytes,
    /// The size of a physical extent in bytes.
    pub extent_size: Bytes,
    /// How many extents it has.
    pub extent_count: u64,
    /// How many extents no LV uses.
    pub free_count: u64,
    /// Its tags.
    pub tags: Vec<String>,
    /// The metadata's sequence number.
    pub seqno: u64,
    /// How many of its PVs LVM does not find.
    pub missing_pvs: u64,
    /// `vgexport`ed: not to be used here.
    pub exported: bool,
    /// The system id it belongs to, empty when none.
    pub system_id: String,
    /// Shared by lvmlockd or clvmd: not ours to change.
    pub shared: bool,
    /// lvm described it; else it was read from the disks.
    pub by_lvm: bool,
    /// Its PVs.
    pub pvs: Vec<Pv>,
    /// Its LVs, hidden ones included.
    pub lvs: Vec<Lv>,
}

/// A physical volume of a VG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pv {
    /// The device LVM found it on, e.g. `/dev/nvme0n1`.
    pub device: String,
    /// Its identity, as LVM prints it.
    pub uuid: String,
    /// How many extents it has.
    pub extent_count: u64,
    /// How many of them are used.
    pub used_extents: u64,
    /// LVM does not find it.
    pub missing: bool,
    /// LVM finds it more than once.
    pub duplicate: bool,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lv {
    /// Its identity within the VG, as LVM prints it.
    pub uuid: String,
    /// Its name, without the brackets LVM prints around hidden ones.
    pub name: String,
    /// A part of another LV (`lv_name` in brackets): never anybody's volume.
    pub hidden: bool,
    /// `/dev/<vg>/<lv>`, empty for pools and hidden LVs.
    pub path: String,
    /// Its size in bytes; a thick snapshot's is the size of its COW store.
    pub size: Bytes,
    /// For a thick snapshot, the size of its origin in bytes; else 0.
    pub origin_size: Bytes,
    /// The LV it is a snapshot of, by name; empty when none.
    pub origin: String,
    /// The thin pool it lives in, by name; empty when none.
    pub pool: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its attributes: as reported by lvm, or, read from the metadata, as if it were not
    /// active. [`crate::lvm::live::show`] says what they are now.
    pub attr: LvAttr,
    /// Its segment type, e.g. `linear`, `striped`, `thin`, `thin-pool`, `raid1`.
    pub segtype: String,
    /// Size of a pool's metadata LV in bytes; 0 for others.
    pub metadata_size: Bytes,
    /// For a thin volume, the transaction of its pool that makes it; for a thin pool, the next one; else 0.
    pub transaction: u64,
    /// For a thin pool, how it was made.
    pub thin_pool: Option<PoolFacts>,
    /// What its device must look like; `None` when lvm described it.
    pub mapping: Option<Mapping>,
    /// What lvm showed when it described it; `None` when it is read from the metadata.
    pub shown: Option<Shown>,
}

/// What the metadata says of a thin pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolFacts {
    /// The unit it gives space in, in bytes.
    pub chunk: Bytes,
    /// Whether new chunks are zeroed.
    pub zero: bool,
    /// What a discard does: `ignore`, `nopassdown` or `passdown`.
    pub discards: String,
    /// Whether writes fail at once when it is full, instead of waiting for space.
    pub error_when_full: bool,
}

/// What the device-mapper uuids of the LVs of a VG with this uuid begin with.
pub fn dm_prefix(vg_uuid: &str) -> String {
    format!("LVM-{}", vg_uuid.replace('-', ""))
}

/// What the device-mapper names of the LVs of a VG with this name begin with: its `-` are doubled (lvm2 `dm_build_dm_name`).
pub fn dm_name_prefix(vg_name: &str) -> String {
    format!("{}-", vg_name.replace('-', "--"))
}

impl Vg {
    /// What the device-mapper uuids of its LVs begin with.
    pub fn dm_prefix(&self) -> String {
        dm_prefix(&self.uuid)
    }

    /// Free space in bytes.
    pub fn free(&self) -> Bytes {
        Bytes(self.free_count.saturating_mul(self.extent_size.0))
    }

    /// The LV of this name that is not hidden.
    pub fn lv(&self, name: &str) -> Option<&Lv> {
        self.lvs.iter().find(|lv| !lv.hidden && lv.name == name)
    }

    /// The hidden part of a pool or volume of this name.
    pub fn hidden(&self, name: &str) -> Option<&Lv> {
        self.lvs.iter().find(|lv| lv.hidden && lv.name == name)
    }

    /// The thin pool of this name.
    pub fn pool(&self, name: &str) -> Option<&Lv> {
        self.lv(name).filter(|lv| lv.is_thin_pool())
    }

    /// The id in the owner tag; `None` on a VG we did not make.
    pub fn owner(&self) -> Option<&str> {
        names::tag_value(&self.tags, names::TAG_OWNER)
    }

    /// The owner an LV's tag names, when that is not the VG's own.
    pub fn foreign_owner<'a>(&self, lv: &'a Lv) -> Option<&'a str> {
        names::tag_value(&lv.tags, names::TAG_OWNER).filter(|owner| self.owner() != Some(owner))
    }

    /// Whether a tag says that an LV is ours, so that we may heal it unasked.
    pub fn is_ours(&self, lv: &Lv) -> bool {
        lv.tags.iter().any(|tag| tag.starts_with("basalt.")) && self.foreign_owner(lv).is_none()
    }

    /// Whether extents of it are being moved: a pvmove is at work or was left behind.
    pub fn is_moving(&self) -> bool {
        self.lvs.iter().any(Lv::is_move)
    }

    /// The sum of the virtual sizes of all thin volumes in `pool`, in bytes.
    pub fn virtual_bytes(&self, pool: &str) -> Bytes {
        let sum = self
            .lvs
            .iter()
            .filter(|lv| lv.is_thin() && lv.pool == pool)
            .map(|lv| u128::from(lv.size.0))
            .sum::<u128>();
        Bytes(u64::try_from(sum).unwrap_or(u64::MAX))
    }
}

impl Lv {
    /// A thin pool.
    pub fn is_thin_pool(&self) -> bool {
        self.attr.kind() == 't'
    }

    /// A pool of any kind (thin, VDO, cache): other volumes live in it, it is nobody's volume.
    pub fn is_pool(&self) -> bool {
        self.is_thin_pool() || self.segtype.ends_with("-pool")
    }

    /// A thin volume (also with a cache on top; `pool_lv` alone would not tell).
    pub fn is_thin(&self) -> bool {
        self.attr.kind() == 'V'
    }

    /// A thick copy-on-write snapshot.
    pub fn is_thick_snapshot(&self) -> bool {
        matches!(self.attr.kind(), 's' | 'S')
    }

    /// What pvmove maps the extents through while it moves them.
    pub fn is_move(&self) -> bool {
        self.attr.kind() == 'p'
    }

    /// What a pvmove leaves that was cut off after its move: an LV of a name that only LVM gives, of error segments
    /// alone (lvm2 `lib/metadata/lv_manip.c`, `replace_lv_with_error_segment`). No extent is its.
    pub fn is_rest_of_move(&self) -> bool {
        let number = self.name.strip_prefix("pvmove").unwrap_or_default();
        let is_named = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        is_named && self.segtype == "error" && !self.is_move()
    }

    /// What its user sees as its size: a thick snapshot shows its origin's.
    pub fn visible_size(&self) -> Bytes {
        if self.is_thick_snapshot() {
            self.origin_size
        } else {
            self.size
        }
    }

    /// Removed for its user and waiting to be overwritten with zeroes.
    pub fn is_wiping(&self) -> bool {
        names::tag_value(&self.tags, names::TAG_STATE) == Some(names::STATE_WIPING)
    }

    /// A copy of a thick volume that has not all data yet, or what it is taken from: nobody's volume.
    pub fn is_copying(&self) -> bool {
        names::tag_value(&self.tags, names::TAG_STATE) == Some(names::STATE_COPYING)
    }

    /// Being made, copied or wiped: not a volume that anybody may use.
    pub fn is_under_way(&self) -> bool {
        self.is_wiping() || self.is_unfinished() || self.is_copying()
    }

    /// Made and never handed out: what is in it is not wiped yet.
    pub fn is_unfinished(&self) -> bool {
        !self.is_pool()
            && names::tag_value(&self.tags, names::TAG_STATE) == Some(names::STATE_CREATING)
    }

    /// The device-mapper uuid: `LVM-`, the VG's and the LV's uuid without dashes, and
    /// `suffix` (e.g. `tpool` for the device that carries a pool's status).
    pub fn dm_uuid(&self, vg: &Vg, suffix: &str) -> String {
        let mut text = vg.dm_prefix() + &self.uuid.replace('-', "");
        if !suffix.is_empty() {
            text.push('-');
            text.push_str(suffix);
        }
        text
    }
}
