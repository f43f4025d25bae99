//! Compares, field by field, what was read directly with what lvm reports. Pure.

use std::fmt;

use crate::lvm::live::Shown;
use crate::lvm::model::{Lv, Vg};

/// A field in which both differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The VG, PV or LV.
    pub object: String,
    /// The field, as lvm calls it.
    pub field: &'static str,
    /// What was read directly.
    pub read: String,
    /// What lvm says.
    pub by_lvm: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            object,
            field,
            read,
            by_lvm,
        } = self;
        write!(f, "{field} of {object}: {read} was read, lvm says {by_lvm}")
    }
}

struct Compare {
    object: String,
    found: Vec<Difference>,
}

impl Compare {
    fn field<T: PartialEq + fmt::Debug>(&mut self, field: &'static str, read: &T, by_lvm: &T) {
        if read != by_lvm {
            self.found.push(Difference {
                object: self.object.clone(),
                field,
                read: format!("{read:?}"),
                by_lvm: format!("{by_lvm:?}"),
            });
        }
    }
}

/// The difference to a report that does not have the VG.
pub fn unknown_to_lvm(read: &Vg) -> Difference {
    Difference {
        object: format!("VG {}", read.name),
        field: "vg_uuid",
        read: read.uuid.clone(),
        by_lvm: "nothing of it".into(),
    }
}

/// Where two descriptions of a VG and its PVs differ. What stands behind `--devices` may
/// have several names, so the names of devices are not compared.
pub fn vg(read: &Vg, by_lvm: &Vg) -> Vec<Difference> {
    let mut all = Compare {
        object: format!("VG {}", read.name),
        found: Vec::new(),
    };
    all.field("vg_name", &read.name, &by_lvm.name);
    all.field("vg_uuid", &read.uuid, &by_lvm.uuid);
    all.field("vg_size", &read.size, &by_lvm.size);
    all.field("vg_extent_size", &read.extent_size, &by_lvm.extent_size);
    all.field("vg_extent_count", &read.extent_count, &by_lvm.extent_count);
    all.field("vg_free_count", &read.free_count, &by_lvm.free_count);
    all.field("vg_tags", &read.tags, &by_lvm.tags);
    all.field("vg_seqno", &read.seqno, &by_lvm.seqno);
    all.field(
        "vg_missing_pv_count",
        &read.missing_pvs,
        &by_lvm.missing_pvs,
    );
    all.field("vg_exported", &read.exported, &by_lvm.exported);
    all.field("vg_systemid", &read.system_id, &by_lvm.system_id);
    all.field("vg_lock_type", &read.shared, &by_lvm.shared);
    let pvs = |vg: &Vg| {
        let mut pvs: Vec<_> = vg
            .pvs
            .iter()
            .map(|pv| {
                (
                    pv.uuid.clone(),
                    pv.extent_count,
                    pv.used_extents,
                    pv.missing,
                    pv.duplicate,
                )
            })
            .collect();
        pvs.sort();
        pvs
    };
    all.field("pv", &pvs(read), &pvs(by_lvm));
    let names = |vg: &Vg| vg.lvs.iter().map(|lv| lv.uuid.clone()).collect::<Vec<_>>();
    all.field("lv", &names(read), &names(by_lvm));
    all.found
}

/// Where two descriptions of an LV differ, the one that was read as device-mapper `shown`
/// it.
pub fn lv(read: &Lv, shown: Shown, by_lvm: &Lv) -> Vec<Difference> {
    let mut all = Compare {
        object: format!("LV {}", read.name),
        found: Vec::new(),
    };
    all.field("lv_uuid", &read.uuid, &by_lvm.uuid);
    all.field("lv_name", &read.name, &by_lvm.name);
    all.field("lv_name's brackets", &read.hidden, &by_lvm.hidden);
    all.field("lv_path", &read.path, &by_lvm.path);
    all.field("lv_size", &read.size, &by_lvm.size);
    all.field("origin_size", &read.origin_size, &by_lvm.origin_size);
    all.field("origin", &read.origin, &by_lvm.origin);
    all.field("pool_lv", &read.pool, &by_lvm.pool);
    all.field("lv_tags", &read.tags, &by_lvm.tags);
    all.field("segtype", &read.segtype, &by_lvm.segtype);
    all.field(
        "lv_metadata_size",
        &read.metadata_size,
        &by_lvm.metadata_size,
    );
    all.field("transaction_id", &read.transaction, &by_lvm.transaction);
    all.field("thin pool", &read.thin_pool, &by_lvm.thin_pool);
    all.field("lv_attr", &shown.attr.to_string(), &by_lvm.attr.to_string());
    if let Some(by_lvm) = by_lvm.shown {
        let percent = |share: Option<super::percent::Percent>| share.map(|p| p.to_string());
        all.field("lv_kernel_minor", &shown.devno, &by_lvm.devno);
        all.field("data_percent", &percent(shown.data), &percent(by_lvm.data));
        all.field(
            "metadata_percent",
            &percent(shown.metadata),
            &percent(by_lvm.metadata),
        );
    }
    all.found
}
