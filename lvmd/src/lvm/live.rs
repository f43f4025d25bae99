//! What lvs shows of an LV beyond its metadata, from device-mapper. Pure over [`Mapper`].
//!
//! lvm2 asks one device for what an LV does (there, suspended, open) and sometimes
//! another for its status (a pool's `-tpool`, an origin's `-real`); both are followed
//! here (`lib/activate/activate.c` `lv_info_with_seg_status`, `lib/metadata/lv.c`
//! `lv_attr_dup_with_info_and_seg_status`). A table that does not fit the metadata is a
//! question for lvm, which says X of it.

mod status;
#[cfg(test)]
mod tests;

use std::io;

use super::attr::{LvAttr, Mapped};
use super::describe::Unsure;
use super::model::{Lv, Vg};
use super::percent::Percent;
use crate::dm::{Control, Device, Target};
use status::Status;

/// What of an LV follows from device-mapper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// All ten attributes.
    pub attr: LvAttr,
    /// Major and minor number; `None` while it is not active.
    pub devno: Option<(u32, u32)>,
    /// Of a pool, the used data; of a thin volume, the mapped part; of a thick snapshot, the
    /// used part of its store.
    pub data: Option<Percent>,
    /// Of a pool, the used metadata.
    pub metadata: Option<Percent>,
}

/// What the metadata says of an LV's device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// What its device's uuid ends with, besides the ids.
    pub suffix: &'static str,
    /// What its table must be.
    pub role: Role,
    /// Thick snapshots stand on it.
    pub origin: bool,
    /// Thin volumes of a pool stand on it.
    pub external_origin: bool,
    /// Length of its first segment, in sectors of 512 bytes.
    pub first_sectors: u64,
}

/// What a table must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Linear or striped.
    Striped,
    /// `error` or `zero`.
    Virtual(String),
    /// A thin pool.
    Pool,
    /// A thin volume.
    Thin {
        /// The pool's chunk, in sectors.
        chunk_sectors: u64,
    },
    /// The store of a thick snapshot; its device shows the whole snapshot.
    Store {
        /// The origin's length, in sectors.
        sectors: u64,
    },
}

/// Answers questions about device-mapper devices by uuid.
pub trait Mapper {
    /// The device; `None` when there is none.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn device(&self, uuid: &str) -> io::Result<Option<Device>>;

    /// The device and the status of each target of its live table.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn status(&self, uuid: &str) -> io::Result<Option<(Device, Vec<Target>)>>;
}

impl Mapper for Control {
    fn device(&self, uuid: &str) -> io::Result<Option<Device>> {
        Self::device(self, uuid)
    }

    fn status(&self, uuid: &str) -> io::Result<Option<(Device, Vec<Target>)>> {
        self.device_and_status(uuid)
    }
}

/// Why it cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The kernel refuses.
    #[error(transparent)]
    Mapper(#[from] io::Error),
    /// lvm must be asked.
    #[error(transparent)]
    Unsure(#[from] Unsure),
}

/// What lvs would show of `lv` now.
///
/// # Errors
/// When the kernel refuses, or device-mapper and metadata do not fit each other. An LV
/// that lvm described ([`Lv::mapping`] is `None`) is shown as then, with what its device does now.
pub fn show(vg: &Vg, lv: &Lv, mapper: &impl Mapper) -> Result<Shown, LiveError> {
    let Some(mapping) = &lv.mapping else {
        let reported = lv.shown;
        return Ok(Shown {
            data: reported.and_then(|shown| shown.data),
            metadata: reported.and_then(|shown| shown.metadata),
            ..show_device(vg, lv, mapper, '-')?
        });
    };
    let seen = if mapping.role == Role::Pool {
        pool(vg, lv, mapper)?
    } else {
        other(vg, lv, mapping, mapper)?
    };
    let (device, status) = seen;
    let expect = |targets: &[Target]| Status::read(lv, mapping, targets);
    let status = status.as_deref().map(expect).transpose()?;
    Ok(Shown {
        attr: attr(lv.attr, device.as_ref(), status.as_ref()),
        devno: device.map(|d| d.devno),
        data: status.as_ref().and_then(Status::data),
        metadata: status.as_ref().and_then(Status::metadata),
    })
}

/// What can be told of `lv` without the status of its table, which a pool on a disk that
/// hangs does not give: whether it is there, suspended and open. Its health is `health`.
///
/// # Errors
/// When the kernel refuses.
pub fn show_device(
    vg: &Vg,
    lv: &Lv,
    mapper: &impl Mapper,
    health: char,
) -> Result<Shown, io::Error> {
    let suffix = match &lv.mapping {
        Some(mapping) if mapping.role != Role::Pool => mapping.suffix,
        // An active pool shows as a device of its own only when nothing else uses it.
        _ if lv.is_pool() => "tpool",
        _ => "",
    };
    let device = mapper.device(&lv.dm_uuid(vg, suffix))?;
    Ok(Shown {
        attr: match lv.mapping {
            Some(_) => attr(lv.attr, device.as_ref(), None).with_health(health),
            None => lv.attr.with_device(device.as_ref().map(mapped)),
        },
        devno: device.map(|d| d.devno),
        data: None,
        metadata: None,
    })
}

fn mapped(device: &Device) -> Mapped {
    Mapped {
        live: device.live,
        suspended: device.suspended,
        open: device.open_count > 0,
    }
}

type Seen = (Option<Device>, Option<Vec<Target>>);

/// A pool does what its `-tpool` device does, but is active only while it has a device of
/// its own, or never had a volume, or waits for a check.
fn pool(vg: &Vg, lv: &Lv, mapper: &impl Mapper) -> Result<Seen, LiveError> {
    let Some((device, targets)) = mapper.status(&lv.dm_uuid(vg, "tpool"))? else {
        return Ok((None, None));
    };
    if !device.live {
        return Ok((Some(device), None));
    }
    let is_new = lv.transaction == 0;
    let needs_check = targets
        .iter()
        .any(|t| t.params.split(' ').any(|word| word == "needs_check"));
    let active = is_new
        || needs_check
        || mapper.device(&lv.dm_uuid(vg, "pool"))?.is_some()
        // As lvm2 before 2.02.106 named it.
        || mapper.device(&lv.dm_uuid(vg, ""))?.is_some();
    Ok((Some(device).filter(|_| active), Some(targets)))
}

fn other(vg: &Vg, lv: &Lv, mapping: &Mapping, mapper: &impl Mapper) -> Result<Seen, LiveError> {
    let uuid = lv.dm_uuid(vg, mapping.suffix);
    let real = lv.dm_uuid(vg, "real");
    if mapping.origin || mapping.external_origin {
        let device = mapper.device(&uuid)?;
        // lvm looks below an external origin also while itself is not active.
        let below = if device.is_some() || mapping.external_origin {
            mapper.status(&real)?
        } else {
            None
        };
        return Ok((device, live_targets(below)));
    }
    match mapper.status(&uuid)? {
        Some((device, targets)) => {
            let targets = live_targets(Some((device.clone(), targets)));
            Ok((Some(device), targets))
        }
        // Without its suffix only an old or a half-done activation leaves it.
        None if !mapping.suffix.is_empty() && mapper.device(&lv.dm_uuid(vg, ""))?.is_some() => {
            Err(odd(lv, "a device without the suffix of a hidden part").into())
        }
        None if !lv.hidden
            && !matches!(mapping.role, Role::Store { .. })
            && mapper.device(&real)?.is_some() =>
        {
            Err(odd(lv, "only the lower one of two layers").into())
        }
        None => Ok((None, None)),
    }
}

fn live_targets(seen: Option<(Device, Vec<Target>)>) -> Option<Vec<Target>> {
    seen.filter(|(device, _)| device.live)
        .map(|(_, targets)| targets)
}

fn odd(lv: &Lv, what: impl Into<String>) -> Unsure {
    Unsure::Mapping {
        lv: lv.name.clone(),
        what: what.into(),
    }
}

fn attr(base: LvAttr, device: Option<&Device>, status: Option<&Status>) -> LvAttr {
    let mut attr = base;
    if let Some(device) = device {
        let plain = match (device.suspended, device.live, device.loaded) {
            (true, ..) => 's',
            (_, true, _) => 'a',
            (_, _, true) => 'i',
            _ => 'd',
        };
        let found = status.and_then(|status| status.state(device.suspended));
        attr = attr.with_state(
            found.filter(|_| device.live).unwrap_or(plain),
            device.open_count > 0,
        );
        if device.readonly {
            attr = attr.read_only_device();
        }
    }
    attr.with_health(status.map_or('-', Status::health))
}
