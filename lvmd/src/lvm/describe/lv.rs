//! The LVs of a VG: what each is, in itself and by what stands on it.

use std::collections::HashMap;

use super::{SECTOR, Unsure, in_order};
use crate::lvm::attr::LvAttr;
use crate::lvm::live::{Mapping, Role};
use crate::lvm::metadata::group::{self, Group, Kind, Message, Pool, Thin};
use crate::lvm::model::{Lv, PoolFacts};
use crate::units::Bytes;

/// What other LVs make of one.
#[derive(Debug, Clone, Default)]
struct Uses<'g> {
    /// It is the origin of thick snapshots.
    origin: bool,
    /// Thin volumes of a pool stand on it.
    external_origin: bool,
    /// It holds a pool's data.
    pool_data: bool,
    /// It holds a pool's metadata.
    pool_metadata: bool,
    /// It is the store of a thick snapshot of this origin, and the pseudo-LV's extents.
    store_of: Option<(&'g group::Lv, u64)>,
}

/// What an LV is in itself.
enum Form<'g> {
    Striped(usize),
    Virtual(&'g str),
    Pool(&'g Pool),
    Thin(&'g Thin),
    /// The pseudo-LV of a thick snapshot; lvm shows none.
    Pseudo,
}

/// All LVs lvm shows with `-a`, in the order of the text.
pub(super) fn all(group: &Group) -> Result<Vec<Lv>, Unsure> {
    let uses = uses(group)?;
    let nothing = Uses::default();
    let mut lvs = Vec::new();
    for lv in &group.lvs {
        let form = form(lv)?;
        if !matches!(form, Form::Pseudo) {
            let uses = uses.get(lv.name.as_str()).unwrap_or(&nothing);
            lvs.push(describe(group, lv, &form, uses)?);
        }
    }
    Ok(lvs)
}

fn unsure(lv: &group::Lv, kind: impl Into<String>) -> Unsure {
    Unsure::SegmentType {
        lv: lv.name.clone(),
        kind: kind.into(),
    }
}

fn find<'g>(group: &'g Group, by: &group::Lv, name: &str) -> Result<&'g group::Lv, Unsure> {
    group
        .lv(name)
        .ok_or_else(|| unsure(by, format!("one that names {name}, which is not there")))
}

fn uses(group: &Group) -> Result<HashMap<&str, Uses<'_>>, Unsure> {
    let mut uses: HashMap<&str, Uses<'_>> = HashMap::new();
    for lv in &group.lvs {
        let at = |name: &str| find(group, lv, name).map(|found| found.name.as_str());
        match (form(lv)?, lv.segments.first().map(|first| &first.kind)) {
            (Form::Pool(pool), _) => {
                uses.entry(at(&pool.data)?).or_default().pool_data = true;
                uses.entry(at(&pool.metadata)?).or_default().pool_metadata = true;
                for message in &pool.messages {
                    if let Message::Create(volume) = message {
                        at(volume)?;
                    }
                }
            }
            (Form::Thin(thin), _) if !thin.external_origin.is_empty() => {
                let external = at(&thin.external_origin)?;
                uses.entry(external).or_default().external_origin = true;
            }
            (Form::Pseudo, Some(Kind::Snapshot { origin, store, .. })) => {
                uses.entry(at(origin)?).or_default().origin = true;
                let origin = find(group, lv, origin)?;
                uses.entry(at(store)?).or_default().store_of = Some((origin, lv.extents()));
            }
            _ => {}
        }
    }
    Ok(uses)
}

fn form(lv: &group::Lv) -> Result<Form<'_>, Unsure> {
    let (Some(first), Some(last)) = (lv.segments.first(), lv.segments.last()) else {
        return Err(unsure(lv, "none"));
    };
    let one = lv.segments.len() == 1;
    Ok(match &first.kind {
        Kind::Striped(_) => {
            let all = lv.segments.iter();
            let striped = all.filter(|s| matches!(s.kind, Kind::Striped(_))).count();
            match &last.kind {
                Kind::Striped(places) if striped == lv.segments.len() => {
                    Form::Striped(places.len())
                }
                _ => return Err(unsure(lv, "mixed")),
            }
        }
        Kind::Virtual(name) if one => Form::Virtual(name),
        Kind::ThinPool(pool) if one => Form::Pool(pool),
        Kind::Thin(thin) if one && !thin.merging => Form::Thin(thin),
        Kind::Snapshot { merging: false, .. } if one => Form::Pseudo,
        Kind::Virtual(_) => return Err(unsure(lv, "mixed")),
        Kind::Thin(_) | Kind::ThinPool(_) => return Err(unsure(lv, "thin, merging or mixed")),
        Kind::Snapshot { .. } => return Err(unsure(lv, "snapshot, merging")),
        Kind::Other(name) => return Err(unsure(lv, name)),
    })
}

fn describe(group: &Group, lv: &group::Lv, form: &Form<'_>, uses: &Uses<'_>) -> Result<Lv, Unsure> {
    const USUAL: [&str; 8] = [
        "READ",
        "WRITE",
        "WRITE_LOCKED",
        "VISIBLE",
        "FIXED_MINOR",
        "ACTIVATION_SKIP",
        "NOAUTOACTIVATE",
        "ERROR_WHEN_FULL",
    ];
    if let Some(flag) = lv.flags.iter().find(|f| !USUAL.contains(&f.as_str())) {
        return Err(Unsure::Flag {
            object: lv.name.clone(),
            flag: flag.clone(),
        });
    }
    let bytes = |extents: u64| Bytes(extents * group.extent_sectors * SECTOR);
    // A store is as visible as its origin (a virtual origin would hide itself, not it).
    let visible = match uses.store_of {
        Some((origin, _)) => origin.has("VISIBLE"),
        None => lv.has("VISIBLE"),
    };
    let external = match form {
        Form::Thin(thin) if !thin.external_origin.is_empty() => {
            Some(find(group, lv, &thin.external_origin)?)
        }
        _ => None,
    };
    let origin_size = match (uses.store_of, external) {
        // What the snapshot was taken of; the origin may have grown since.
        (Some((_, extents)), _) => bytes(extents),
        (None, Some(external)) => bytes(external.extents()),
        (None, None) if uses.origin => bytes(lv.extents()),
        _ => Bytes(0),
    };
    let pool = match form {
        Form::Thin(thin) => Some(pool_of(group, lv, thin)?),
        Form::Pool(pool) => Some(*pool),
        _ => None,
    };
    let (segtype, metadata_size, facts) = match form {
        Form::Striped(1) => ("linear", None, None),
        Form::Striped(_) => ("striped", None, None),
        Form::Virtual(name) => (*name, None, None),
        Form::Thin(_) | Form::Pseudo => ("thin", None, None),
        Form::Pool(pool) => (
            "thin-pool",
            Some(find(group, lv, &pool.metadata)?.extents()),
            Some(PoolFacts {
                chunk: Bytes(pool.chunk_sectors * SECTOR),
                zero: pool.zero,
                discards: pool.discards.clone(),
                error_when_full: lv.has("ERROR_WHEN_FULL"),
            }),
        ),
    };
    let hidden = !visible;
    Ok(Lv {
        uuid: lv.uuid.clone(),
        path: if hidden || matches!(form, Form::Pool(_)) {
            String::new()
        } else {
            format!("/dev/{}/{}", group.name, lv.name)
        },
        hidden,
        size: bytes(lv.extents()),
        origin_size,
        origin: match (uses.store_of, form) {
            (Some((origin, _)), _) => origin.name.clone(),
            (None, Form::Thin(thin)) if thin.origin.is_empty() => thin.external_origin.clone(),
            (None, Form::Thin(thin)) => thin.origin.clone(),
            _ => String::new(),
        },
        pool: match form {
            Form::Thin(thin) => thin.pool.clone(),
            _ => String::new(),
        },
        tags: in_order(&lv.tags),
        attr: attr(lv, form, uses, pool.is_some_and(|pool| pool.zero))?,
        segtype: segtype.to_owned(),
        metadata_size: metadata_size.map_or(Bytes(0), bytes),
        transaction: match form {
            Form::Pool(pool) => pool.transaction_id,
            Form::Thin(thin) => thin.transaction_id,
            _ => 0,
        },
        thin_pool: facts,
        mapping: Some(mapping(group, lv, form, uses, pool)?),
        shown: None,
        name: lv.name.clone(),
    })
}

fn pool_of<'g>(group: &'g Group, lv: &group::Lv, thin: &Thin) -> Result<&'g Pool, Unsure> {
    match form(find(group, lv, &thin.pool)?)? {
        Form::Pool(pool) => Ok(pool),
        _ => Err(unsure(lv, "thin without a thin pool")),
    }
}

/// The attributes of lvs(8) "Lv attr bits" that follow from the metadata; as for an LV
/// that is not active. The order in which lvm asks what it is decides the first one.
fn attr(lv: &group::Lv, form: &Form<'_>, uses: &Uses<'_>, zeroes: bool) -> Result<LvAttr, Unsure> {
    let is_spare = !lv.has("VISIBLE") && lv.name.contains("_pmspare");
    let kind = if uses.origin || uses.external_origin {
        'o'
    } else if uses.pool_metadata || is_spare {
        'e'
    } else {
        match form {
            Form::Thin(_) => 'V',
            Form::Virtual(_) => 'v',
            Form::Pool(_) => 't',
            _ if uses.pool_data => 'T',
            _ if uses.store_of.is_some() => 's',
            _ => '-',
        }
    };
    let permissions = if lv.has("WRITE") || lv.has("WRITE_LOCKED") {
        'w'
    } else if lv.has("READ") {
        'r'
    } else {
        '-'
    };
    let allocation = match lv.allocation.as_str() {
        "" | "inherit" => 'i',
        "contiguous" => 'c',
        "cling" => 'l',
        "normal" => 'n',
        "anywhere" => 'a',
        other => {
            return Err(Unsure::Flag {
                object: lv.name.clone(),
                flag: format!("allocated {other}"),
            });
        }
    };
    let target = match form {
        Form::Pool(_) | Form::Thin(_) => 't',
        _ if uses.store_of.is_some() || uses.origin => 's',
        Form::Virtual(_) => 'v',
        _ => '-',
    };
    let mark = |flag: bool, mark: char| if flag { mark } else { '-' };
    let text: String = [
        kind,
        permissions,
        allocation,
        mark(lv.has("FIXED_MINOR"), 'm'),
        '-',
        '-',
        target,
        mark(zeroes, 'z'),
        '-',
        mark(lv.has("ACTIVATION_SKIP"), 'k'),
    ]
    .iter()
    .collect();
    LvAttr::parse(&text).ok_or_else(|| unsure(lv, "none that lvs has a word for"))
}

/// What device-mapper shows of it when it is active (lvm2 `build_dm_uuid`, `lv_layer`).
fn mapping(
    group: &Group,
    lv: &group::Lv,
    form: &Form<'_>,
    uses: &Uses<'_>,
    pool: Option<&Pool>,
) -> Result<Mapping, Unsure> {
    let sectors = |extents: u64| extents * group.extent_sectors;
    let suffix = match form {
        Form::Pool(_) => "pool",
        _ if uses.pool_data => "tdata",
        _ if uses.pool_metadata => "tmeta",
        _ => "",
    };
    let layered = uses.origin || uses.external_origin;
    let role = match (form, uses.store_of) {
        // Layers of more than one kind at once: lvm knows, we do not.
        (Form::Pool(_) | Form::Virtual(_), _) if layered => {
            return Err(unsure(lv, "an origin with a table of its own kind"));
        }
        (_, Some(_)) if layered || !matches!(form, Form::Striped(_)) => {
            return Err(unsure(lv, "a snapshot store of its own kind"));
        }
        (_, Some((origin, extents))) => {
            if !matches!(self::form(origin)?, Form::Striped(_) | Form::Thin(_)) {
                return Err(unsure(lv, "a snapshot of its own kind"));
            }
            Role::Store {
                sectors: sectors(extents),
            }
        }
        (Form::Pool(_), _) => Role::Pool,
        (Form::Thin(_), _) => Role::Thin {
            chunk_sectors: pool.map_or(1, |pool| pool.chunk_sectors).max(1),
        },
        (Form::Virtual(name), _) => Role::Virtual((*name).to_owned()),
        _ => Role::Striped,
    };
    Ok(Mapping {
        suffix,
        role,
        origin: uses.origin,
        external_origin: uses.external_origin,
        first_sectors: lv
            .segments
            .first()
            .map_or(0, |first| sectors(first.extents)),
    })
}
