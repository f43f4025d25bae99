//! A segment: which extents of an LV lie where, and of what kind they are.

use super::super::MetadataError;
use super::super::config::Section;
use super::fields::Fields;

/// A run of an LV's extents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its first extent within the LV.
    pub start: u64,
    /// How many extents of the LV it covers.
    pub extents: u64,
    /// What it is.
    pub kind: Kind,
}

/// What a segment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `striped`; with one stripe LVM calls it linear.
    Striped(Vec<Place>),
    /// `thin-pool`
    ThinPool(Pool),
    /// `thin`
    Thin(Thin),
    /// `snapshot`: the pseudo-LV that ties a thick origin to its copy-on-write store.
    Snapshot {
        /// The LV whose old contents are kept.
        origin: String,
        /// The LV they are kept in.
        store: String,
        /// Whether the store is being merged back.
        merging: bool,
        /// Sectors of 512 bytes.
        chunk_sectors: u64,
    },
    /// `error` or `zero`: no storage at all.
    Virtual(String),
    /// Any other type (RAID, mirror, cache, writecache, VDO ...), by its name.
    Other(String),
}

/// The begin of a stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The PV's key in the metadata, or the name of an LV that is under this one.
    pub of: String,
    /// Its first extent there.
    pub start: u64,
}

/// A run of a PV's extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area<'a> {
    /// The PV's key in the metadata.
    pub of: &'a str,
    /// Its first extent.
    pub start: u64,
    /// How many.
    pub extents: u64,
}

/// A thin pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The LV that holds its metadata.
    pub metadata: String,
    /// The LV that holds its data.
    pub data: String,
    /// Grows with each change of its set of volumes.
    pub transaction_id: u64,
    /// Sectors of 512 bytes.
    pub chunk_sectors: u64,
    /// What a discard does: `ignore`, `nopassdown` or `passdown`.
    pub discards: String,
    /// Whether new chunks are zeroed.
    pub zero: bool,
    /// What a command has noted down for the pool to do and not told it yet, or was cut off
    /// before it could. It changes nothing of what lvs shows.
    pub messages: Vec<Message>,
}

/// What a pool is to do (lvm2 `lib/thin/thin.c`, `_thin_pool_add_message`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Make the thin volume of this name.
    Create(String),
    /// Drop the volume of this number.
    Delete(u64),
}

/// A thin volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thin {
    /// The pool it lives in.
    pub pool: String,
    /// The thin volume it is a snapshot of; empty when none.
    pub origin: String,
    /// The LV outside the pool that it stands on; empty when none.
    pub external_origin: String,
    /// Its number in the pool.
    pub device_id: u64,
    /// The pool's transaction that makes it.
    pub transaction_id: u64,
    /// Whether it is being merged into another volume.
    pub merging: bool,
}

impl Segment {
    /// The PV extents it takes by itself; those of LVs under it are theirs.
    pub fn on_pvs(&self) -> impl Iterator<Item = Area<'_>> {
        let places: &[Place] = match &self.kind {
            Kind::Striped(places) => places,
            _ => &[],
        };
        let extents = self.extents / places.len().max(1) as u64;
        places.iter().map(move |place| Area {
            of: &place.of,
            start: place.start,
            extents,
        })
    }
}

/// Reads a segment of the LV `lv`; flags behind its type go to `flags`.
pub(super) fn read(
    lv: &str,
    section: &Section<'_>,
    flags: &mut Vec<String>,
) -> Result<Segment, MetadataError> {
    let mut fields = Fields::new(lv, section);
    let start = fields.number("start_extent")?;
    let extents = fields.number("extent_count")?;
    fields.skip(&["tags"]);
    let name = fields.text("type")?;
    let mut words = name.split('+');
    let kind = words.next().unwrap_or_default();
    let more: Vec<String> = words.map(str::to_owned).collect();
    // Such a flag changes what the type means.
    let kind = match kind {
        _ if !more.is_empty() => other(kind),
        "striped" => striped(&mut fields, extents)?,
        "thin-pool" => pool(&mut fields)?,
        "thin" => thin(&mut fields)?,
        "snapshot" => snapshot(&mut fields)?,
        "error" | "zero" => Kind::Virtual(kind.to_owned()),
        _ => other(kind),
    };
    flags.extend(more);
    if !matches!(kind, Kind::Other(_)) {
        fields.end()?;
    }
    Ok(Segment {
        start,
        extents,
        kind,
    })
}

fn other(kind: &str) -> Kind {
    Kind::Other(kind.to_owned())
}

fn striped(fields: &mut Fields<'_, '_>, extents: u64) -> Result<Kind, MetadataError> {
    let count = fields.number("stripe_count")?;
    fields.skip(&["stripe_size"]);
    let values = fields.values("stripes")?;
    let places: Option<Vec<Place>> = values
        .chunks(2)
        .map(|pair| {
            let [of, start] = pair else { return None };
            Some(Place {
                of: of.text()?.to_owned(),
                start: start.number()?,
            })
        })
        .collect();
    match places {
        Some(places)
            if !places.is_empty()
                && places.len() as u64 == count
                && extents.is_multiple_of(count) =>
        {
            Ok(Kind::Striped(places))
        }
        _ => Err(fields.bad("stripes")),
    }
}

fn pool(fields: &mut Fields<'_, '_>) -> Result<Kind, MetadataError> {
    let discards = fields.text_or_none("discards")?;
    let pool = Pool {
        metadata: fields.text("metadata")?,
        data: fields.text("pool")?,
        transaction_id: fields.number("transaction_id")?,
        chunk_sectors: fields.number("chunk_size")?,
        discards: match discards.as_str() {
            "" => "ignore".to_owned(),
            "ignore" | "nopassdown" | "passdown" => discards,
            _ => return Err(fields.bad("discards")),
        },
        zero: fields.number_or_none("zero_new_blocks")?.unwrap_or(0) != 0,
        messages: messages(fields)?,
    };
    Ok(Kind::ThinPool(pool))
}

fn messages(fields: &mut Fields<'_, '_>) -> Result<Vec<Message>, MetadataError> {
    let sections = fields.numbered("message")?;
    let message = |mut fields: Fields<'_, '_>| {
        let create = fields.text_or_none("create")?;
        let message = match fields.number_or_none("delete")? {
            None if !create.is_empty() => Message::Create(create),
            Some(number) if create.is_empty() => Message::Delete(number),
            _ => return Err(fields.bad("create")),
        };
        fields.end()?;
        Ok(message)
    };
    sections.into_iter().map(message).collect()
}

fn thin(fields: &mut Fields<'_, '_>) -> Result<Kind, MetadataError> {
    let merge = fields.text_or_none("merge")?;
    Ok(Kind::Thin(Thin {
        pool: fields.text("thin_pool")?,
        origin: fields.text_or_none("origin")?,
        external_origin: fields.text_or_none("external_origin")?,
        device_id: fields.number("device_id")?,
        transaction_id: fields.number("transaction_id")?,
        merging: !merge.is_empty(),
    }))
}

fn snapshot(fields: &mut Fields<'_, '_>) -> Result<Kind, MetadataError> {
    let merging = fields.text_or_none("merging_store")?;
    let store = fields.text_or_none("cow_store")?;
    let (store, merging) = match (store.is_empty(), merging.is_empty()) {
        (false, true) => (store, false),
        (true, false) => (merging, true),
        _ => return Err(fields.bad("cow_store")),
    };
    Ok(Kind::Snapshot {
        origin: fields.text("origin")?,
        store,
        merging,
        chunk_sectors: fields.number("chunk_size")?,
    })
}
