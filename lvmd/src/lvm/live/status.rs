//! The status of the target an LV's first segment must be.

use super::{Mapping, Role, Unsure, odd};
use crate::dm::{PoolMode, PoolStatus, Target};
use crate::lvm::model::Lv;
use crate::lvm::percent::Percent;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Status {
    /// A target that has none.
    None,
    Pool(PoolStatus),
    /// Mapped and all sectors; `None` when the pool below failed.
    Thin(Option<(u64, u64)>),
    Store(Store),
}

/// The store of a thick snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Used(Percent),
    Invalid,
    MergeFailed,
}

impl Status {
    /// Reads the status of the target that the first segment must be.
    pub(super) fn read(lv: &Lv, mapping: &Mapping, targets: &[Target]) -> Result<Self, Unsure> {
        let length = match mapping.role {
            Role::Store { sectors } => sectors,
            _ => mapping.first_sectors,
        };
        let target = targets
            .iter()
            .find(|target| target.start == 0 && target.length == length)
            .ok_or_else(|| odd(lv, format!("no target of {length} sectors at its start")))?;
        let kinds: &[&str] = match &mapping.role {
            Role::Striped => &["linear", "striped"],
            Role::Virtual(name) => &[name],
            Role::Pool => &["thin-pool"],
            Role::Thin { .. } => &["thin"],
            Role::Store { .. } => &["snapshot"],
        };
        if !kinds.contains(&target.kind.as_str()) {
            return Err(odd(lv, format!("a target of type {}", target.kind)));
        }
        let params = target.params.trim();
        let status = match mapping.role {
            Role::Striped | Role::Virtual(_) => Some(Self::None),
            Role::Pool => PoolStatus::parse(params).map(Self::Pool),
            Role::Thin { chunk_sectors } => thin(params, length, chunk_sectors).map(Self::Thin),
            Role::Store { .. } => store(params).map(Self::Store),
        };
        status.ok_or_else(|| odd(lv, format!("the status {params:?}")))
    }

    /// The state character where it is not the device's own.
    pub(super) fn state(&self, suspended: bool) -> Option<char> {
        let (running, stopped) = match self {
            Self::Pool(pool) if pool.needs_check => ('c', 'C'),
            Self::Store(Store::Invalid) => ('I', 'S'),
            Self::Store(Store::MergeFailed) => ('m', 'M'),
            _ => return None,
        };
        Some(if suspended { stopped } else { running })
    }

    /// The health character.
    pub(super) fn health(&self) -> char {
        match self {
            Self::Pool(pool) => match pool.mode {
                PoolMode::Failed => 'F',
                PoolMode::OutOfDataSpace => 'D',
                PoolMode::ReadOnly => 'M',
                PoolMode::ReadWrite => '-',
            },
            Self::Thin(None) => 'F',
            _ => '-',
        }
    }

    pub(super) fn data(&self) -> Option<Percent> {
        match self {
            Self::Pool(pool) => pool.data(),
            Self::Thin(mapped) => mapped.map(|(used, all)| Percent::of(used, all)),
            Self::Store(Store::Used(percent)) => Some(*percent),
            Self::Store(Store::Invalid) => Some(Percent::of(1, 1)),
            Self::Store(Store::MergeFailed) | Self::None => None,
        }
    }

    pub(super) fn metadata(&self) -> Option<Percent> {
        match self {
            Self::Pool(pool) => pool.metadata(),
            _ => None,
        }
    }
}

/// `<mapped sectors> <highest mapped sector>`, the second `-` when nothing is mapped. The
/// pool gives whole chunks, so all is the size rounded up to one.
#[expect(clippy::option_option, reason = "not understood, failed, or mapped")]
fn thin(params: &str, sectors: u64, chunk_sectors: u64) -> Option<Option<(u64, u64)>> {
    let all = sectors.checked_next_multiple_of(chunk_sectors)?;
    let words: Vec<&str> = params.split(' ').collect();
    match words[..] {
        ["Fail"] => Some(None),
        [_, "-"] => Some(Some((0, all))),
        [mapped, highest] => {
            highest.parse::<u64>().ok()?;
            Some(Some((mapped.parse().ok()?, all)))
        }
        _ => None,
    }
}

/// `<used>/<all> <metadata>` in sectors; nothing but metadata is nothing used.
fn store(params: &str) -> Option<Store> {
    match params {
        "Invalid" => return Some(Store::Invalid),
        "Merge failed" => return Some(Store::MergeFailed),
        _ => {}
    }
    let mut words = params.split(' ');
    let (used, all) = words.next()?.split_once('/')?;
    let (used, all): (u64, u64) = (used.parse().ok()?, all.parse().ok()?);
    let metadata: u64 = words.next()?.parse().ok()?;
    let percent = if used == metadata {
        Percent::of(0, 1)
    } else {
        Percent::of(used, all)
    };
    Some(Store::Used(percent))
}
