//! The types of a VG's text metadata: what LVM wrote, nothing concluded from it.
//!
//! Reading is strict: a name or flag that is not known here is an error, since it may
//! change what the known ones mean. The names are those of lvm2 2.03
//! (`lib/format_text/export.c` and each segment type's `text_export`).

mod fields;
mod segment;

use fields::Fields;
pub use segment::{Area, Kind, Message, Place, Pool, Segment, Thin};

use super::MetadataError;
use super::config::{self, Node};

/// A VG as its committed metadata describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its uuid, as LVM prints it.
    pub uuid: String,
    /// Grows by one with each commit.
    pub seqno: u64,
    /// Status words and compatible flags, e.g. `RESIZEABLE`, `EXPORTED`.
    pub flags: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The host it belongs to; empty when none.
    pub system_id: String,
    /// Its lock manager; empty when none.
    pub lock_type: String,
    /// Size of an extent in sectors of 512 bytes.
    pub extent_sectors: u64,
    /// Its allocation policy, e.g. `normal`.
    pub allocation: String,
    /// Its PVs in the order of the text.
    pub pvs: Vec<Pv>,
    /// Its LVs in the order of the text, hidden ones and the pseudo-LVs of thick
    /// snapshots ([`Kind::Snapshot`]) included.
    pub lvs: Vec<Lv>,
    /// Whether it remembers LVs that were removed (`record_lvs_history`).
    pub has_history: bool,
}

/// A PV of a VG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pv {
    /// What segments call it, e.g. `pv0`.
    pub key: String,
    /// Its uuid, as LVM prints it.
    pub uuid: String,
    /// Where LVM last saw it; a hint only.
    pub device: String,
    /// Status words and compatible flags, e.g. `ALLOCATABLE`, `MISSING`.
    pub flags: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its extents.
    pub extent_count: u64,
}

/// An LV of a VG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lv {
    /// Its name.
    pub name: String,
    /// Its uuid, as LVM prints it.
    pub uuid: String,
    /// Status words and compatible flags, e.g. `READ`, `VISIBLE`, `ACTIVATION_SKIP`, and
    /// those behind a `+` in the types of its segments.
    pub flags: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its allocation policy; empty when it has the VG's.
    pub allocation: String,
    /// Its segments by first extent, without a gap between them.
    pub segments: Vec<Segment>,
}

impl Lv {
    /// Whether it has this status word or flag.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    /// Its size in extents.
    pub fn extents(&self) -> u64 {
        self.segments.iter().map(|segment| segment.extents).sum()
    }
}

impl Group {
    /// Reads the text of one commit, see [`super::ring::check`].
    ///
    /// # Errors
    /// When anything in it is not understood.
    pub fn parse(text: &[u8]) -> Result<Self, MetadataError> {
        let root = config::parse(text)?;
        let mut groups = root.entries().filter_map(|(name, node)| match node {
            Node::Section(section) => Some((name, section)),
            _ => None,
        });
        let (Some((name, section)), None) = (groups.next(), groups.next()) else {
            return Err(MetadataError::Field {
                object: "the text".into(),
                field: "single volume group",
            });
        };
        let mut head = Fields::new("the text", &root);
        head.skip(&[
            "description",
            "creation_host",
            "creation_host_system_id",
            "creation_time",
            name,
        ]);
        if head.text("contents")? != "Text Format Volume Group" || head.number("version")? != 1 {
            return Err(head.bad("contents"));
        }
        head.end()?;
        let mut fields = Fields::new(name, section);
        let group = Self {
            name: name.to_owned(),
            uuid: fields.uuid()?,
            seqno: fields.number("seqno")?,
            flags: fields.flags(&[
                "RESIZEABLE",
                "READ",
                "WRITE",
                "EXPORTED",
                "CLUSTERED",
                "SHARED",
                "NOAUTOACTIVATE",
                "WRITE_LOCKED",
                "PVMOVE",
            ])?,
            tags: fields.texts("tags")?,
            system_id: fields.text_or_none("system_id")?,
            lock_type: fields.text_or_none("lock_type")?,
            extent_sectors: fields.number("extent_size")?,
            allocation: fields.text_or_none("allocation_policy")?,
            pvs: sections(&mut fields, "physical_volumes", pv)?,
            lvs: sections(&mut fields, "logical_volumes", lv)?,
            has_history: fields.section("historical_logical_volumes")?.is_some(),
        };
        fields.skip(&[
            "format",
            "max_lv",
            "max_pv",
            "metadata_copies",
            "profile",
            "lock_args",
            "creation_host",
            "creation_time",
        ]);
        fields.end()?;
        group.check()
    }

    /// The LV of this name.
    pub fn lv(&self, name: &str) -> Option<&Lv> {
        self.lvs.iter().find(|lv| lv.name == name)
    }

    /// What cannot be is not believed: no LV is larger than a number of bytes can say, and
    /// no extent of a PV is used that it does not have.
    fn check(self) -> Result<Self, MetadataError> {
        let bad = |object: &str, field| MetadataError::Field {
            object: object.to_owned(),
            field,
        };
        let in_bytes = |extents: u64| {
            extents
                .checked_mul(self.extent_sectors)
                .and_then(|sectors| sectors.checked_mul(512))
        };
        if self.extent_sectors == 0 {
            return Err(bad(&self.name, "extent_size"));
        }
        let sum = |counts: Vec<u64>| counts.into_iter().try_fold(0, u64::checked_add);
        let all = sum(self.pvs.iter().map(|pv| pv.extent_count).collect());
        if all.and_then(in_bytes).is_none() {
            return Err(bad(&self.name, "pe_count"));
        }
        for lv in &self.lvs {
            let size = sum(lv.segments.iter().map(|segment| segment.extents).collect());
            if size.and_then(in_bytes).is_none() {
                return Err(bad(&lv.name, "extent_count"));
            }
            for place in lv.segments.iter().flat_map(Segment::on_pvs) {
                let pv = self.pvs.iter().find(|pv| pv.key == place.of);
                let end = place.start.checked_add(place.extents);
                if pv.is_none_or(|pv| end.is_none_or(|end| end > pv.extent_count)) {
                    return Err(bad(&lv.name, "stripes"));
                }
            }
        }
        Ok(self)
    }
}

fn sections<T>(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    read: impl Fn(&str, Fields<'_, '_>) -> Result<T, MetadataError>,
) -> Result<Vec<T>, MetadataError> {
    let Some(list) = fields.section(name)? else {
        return Ok(Vec::new());
    };
    list.entries()
        .map(|(key, node)| match node {
            Node::Section(section) => read(key, Fields::new(key, section)),
            _ => Err(MetadataError::Unknown {
                object: name.to_owned(),
                what: key.to_owned(),
            }),
        })
        .collect()
}

fn pv(key: &str, mut fields: Fields<'_, '_>) -> Result<Pv, MetadataError> {
    let pv = Pv {
        key: key.to_owned(),
        uuid: fields.uuid()?,
        device: fields.text_or_none("device")?,
        flags: fields.flags(&["ALLOCATABLE", "EXPORTED", "MISSING"])?,
        tags: fields.texts("tags")?,
        extent_count: fields.number("pe_count")?,
    };
    fields.skip(&[
        "device_id",
        "device_id_type",
        "dev_size",
        "pe_start",
        "ba_start",
        "ba_size",
    ]);
    fields.end()?;
    Ok(pv)
}

fn lv(name: &str, mut fields: Fields<'_, '_>) -> Result<Lv, MetadataError> {
    let mut flags = fields.flags(&[
        "READ",
        "WRITE",
        "WRITE_LOCKED",
        "FIXED_MINOR",
        "VISIBLE",
        "PVMOVE",
        "LOCKED",
        "NOTSYNCED",
        "REBUILD",
        "WRITEMOSTLY",
        "ACTIVATION_SKIP",
        "NOAUTOACTIVATE",
        "ERROR_WHEN_FULL",
        "CACHE_VOL",
    ])?;
    let count = fields.number("segment_count")?;
    let mut segments = Vec::new();
    for n in 1..=count {
        let section = fields.section(&format!("segment{n}"))?;
        let section = section.ok_or_else(|| fields.bad("segment_count"))?;
        segments.push(segment::read(name, section, &mut flags)?);
    }
    segments.sort_by_key(|segment: &Segment| segment.start);
    let mut next = 0;
    for segment in &segments {
        if segment.start != next || segment.extents == 0 {
            return Err(fields.bad("start_extent"));
        }
        next = segment.start.saturating_add(segment.extents);
    }
    let lv = Lv {
        name: name.to_owned(),
        uuid: fields.uuid()?,
        flags,
        tags: fields.texts("tags")?,
        allocation: fields.text_or_none("allocation_policy")?,
        segments,
    };
    fields.skip(&[
        "creation_time",
        "creation_host",
        "read_ahead",
        "profile",
        "lock_args",
        "major",
        "minor",
    ]);
    fields.end()?;
    Ok(lv)
}
