//! `lvm fullreport`, the one question we ask LVM.
//!
//! lvmreport(7) and lvs(8): `--reportformat json` gives one object per VG with the
//! arrays `vg`, `pv`, `lv`, `pvseg` and `seg`, every value a string. A report is
//! believed only when lvm ended with 0; a failed one prints valid JSON that is empty.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde::Deserialize;

use crate::lvm::attr::LvAttr;
use crate::lvm::live::Shown;
use crate::lvm::model::{Lv, PoolFacts, Pv, Vg};
use crate::lvm::percent::Percent;
use crate::units::Bytes;

/// The arguments after `lvm`, without `--devices`. No lock is taken: one VG whose lock
/// somebody holds, be it a command of ours that does not end, would hold up the report
/// of all. Metadata is committed whole, and who asks compares the commit locations.
/// VGs of other hosts and of lock managers are shown, to be frozen with their reason.
pub fn args() -> Vec<String> {
    [
        "fullreport", "--nolocking", "--foreign", "--shared", "-a", "--reportformat", "json", "--units", "b", "--nosuffix",
        "--configreport", "vg", "-o", "vg_name,vg_uuid,vg_size,vg_extent_size,vg_extent_count,vg_free_count,vg_tags,vg_seqno,vg_missing_pv_count,vg_exported,vg_systemid,vg_lock_type,vg_clustered",
        "--configreport", "pv", "-o", "pv_name,pv_uuid,pv_pe_count,pv_pe_alloc_count,pv_missing,pv_duplicate",
        "--configreport", "lv", "-o", "lv_uuid,lv_name,lv_path,lv_size,origin,origin_size,pool_lv,lv_tags,lv_attr,lv_metadata_size,lv_kernel_major,lv_kernel_minor,data_percent,metadata_percent,lv_when_full",
        "--configreport", "pvseg", "-o", "pvseg_start",
        "--configreport", "seg", "-o", "lv_uuid,segtype,chunk_size,transaction_id,zero,discards",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A report that cannot be believed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReportError {
    /// Not the JSON we know.
    #[error("lvm fullreport printed something else than its JSON report: {0}")]
    Shape(String),
    /// A field that cannot be read.
    #[error("lvm fullreport gives {field} of {object} as {value:?}")]
    Field {
        /// The column.
        field: &'static str,
        /// The VG, PV or LV.
        object: String,
        /// What it printed.
        value: String,
    },
}

#[derive(Deserialize)]
struct Root {
    report: Vec<Entry>,
    #[serde(default)]
    log: Vec<Remark>,
}

#[derive(Deserialize)]
struct Remark {
    log_type: String,
    log_message: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    vg: Vec<VgRow>,
    #[serde(default)]
    pv: Vec<PvRow>,
    #[serde(default)]
    lv: Vec<LvRow>,
    #[serde(default)]
    seg: Vec<SegRow>,
}

#[derive(Deserialize)]
struct VgRow {
    vg_name: String,
    vg_uuid: String,
    vg_size: String,
    vg_extent_size: String,
    vg_extent_count: String,
    vg_free_count: String,
    vg_tags: String,
    vg_seqno: String,
    vg_missing_pv_count: String,
    vg_exported: String,
    vg_systemid: String,
    vg_lock_type: String,
    vg_clustered: String,
}

#[derive(Deserialize)]
struct PvRow {
    pv_name: String,
    pv_uuid: String,
    pv_pe_count: String,
    pv_pe_alloc_count: String,
    pv_missing: String,
    pv_duplicate: String,
}

#[derive(Deserialize)]
struct LvRow {
    lv_uuid: String,
    lv_name: String,
    lv_path: String,
    lv_size: String,
    origin: String,
    origin_size: String,
    pool_lv: String,
    lv_tags: String,
    lv_attr: String,
    lv_metadata_size: String,
    lv_kernel_major: String,
    lv_kernel_minor: String,
    data_percent: String,
    metadata_percent: String,
    lv_when_full: String,
}

#[derive(Deserialize)]
struct SegRow {
    lv_uuid: String,
    segtype: String,
    chunk_size: String,
    transaction_id: String,
    zero: String,
    discards: String,
}

/// Reads the JSON of a report that ended with exit code 0. Orphan PVs are left out.
///
/// # Errors
/// When anything in it cannot be read: half a report is no report.
pub fn parse(json: &[u8]) -> Result<Vec<Vg>, ReportError> {
    read(json).map(|(vgs, _)| vgs)
}

/// As [`parse`], with what LVM warns of, each once.
///
/// # Errors
/// As [`parse`].
pub fn read(json: &[u8]) -> Result<(Vec<Vg>, Vec<String>), ReportError> {
    let root: Root =
        serde_json::from_slice(json).map_err(|error| ReportError::Shape(error.to_string()))?;
    let mut warnings: Vec<String> = Vec::new();
    for remark in root.log {
        let is_news = !warnings.contains(&remark.log_message);
        if is_news && matches!(remark.log_type.as_str(), "warn" | "error") {
            warnings.push(remark.log_message);
        }
    }
    let mut vgs = Vec::new();
    for entry in root.report {
        let mut rows = entry.vg.into_iter();
        match (rows.next(), rows.next()) {
            (Some(row), None) => vgs.push(vg(row, entry.pv, entry.lv, &entry.seg)?),
            (None, _) if entry.lv.is_empty() => {}
            _ => {
                return Err(ReportError::Shape(
                    "an entry with LVs but not with exactly one VG".into(),
                ));
            }
        }
    }
    Ok((vgs, warnings))
}

fn vg(row: VgRow, pvs: Vec<PvRow>, lvs: Vec<LvRow>, segs: &[SegRow]) -> Result<Vg, ReportError> {
    let name = row.vg_name;
    let segs: HashMap<&str, &SegRow> = segs.iter().map(|seg| (seg.lv_uuid.as_str(), seg)).collect();
    Ok(Vg {
        uuid: row.vg_uuid,
        size: Bytes(number("vg_size", &name, &row.vg_size)?),
        extent_size: Bytes(number("vg_extent_size", &name, &row.vg_extent_size)?),
        extent_count: number("vg_extent_count", &name, &row.vg_extent_count)?,
        free_count: number("vg_free_count", &name, &row.vg_free_count)?,
        tags: tags(&row.vg_tags),
        seqno: number("vg_seqno", &name, &row.vg_seqno)?,
        missing_pvs: number("vg_missing_pv_count", &name, &row.vg_missing_pv_count)?,
        exported: !row.vg_exported.is_empty(),
        system_id: row.vg_systemid,
        shared: !row.vg_clustered.is_empty() || !matches!(row.vg_lock_type.as_str(), "" | "none"),
        by_lvm: true,
        pvs: pvs.into_iter().map(pv).collect::<Result<_, _>>()?,
        lvs: lvs
            .into_iter()
            .map(|row| lv(row, &segs))
            .collect::<Result<_, _>>()?,
        name,
    })
}

fn pv(row: PvRow) -> Result<Pv, ReportError> {
    let name = row.pv_name;
    Ok(Pv {
        uuid: row.pv_uuid,
        extent_count: number("pv_pe_count", &name, &row.pv_pe_count)?,
        used_extents: number("pv_pe_alloc_count", &name, &row.pv_pe_alloc_count)?,
        missing: !row.pv_missing.is_empty(),
        duplicate: !row.pv_duplicate.is_empty(),
        device: name,
    })
}

fn lv(row: LvRow, segs: &HashMap<&str, &SegRow>) -> Result<Lv, ReportError> {
    let unbracketed = row
        .lv_name
        .strip_prefix('[')
        .and_then(|n| n.strip_suffix(']'));
    let hidden = unbracketed.is_some();
    let name = unbracketed.unwrap_or(&row.lv_name).to_owned();
    let bad = |field, value: &str| ReportError::Field {
        field,
        object: name.clone(),
        value: value.to_owned(),
    };
    let attr = LvAttr::parse(&row.lv_attr).ok_or_else(|| bad("lv_attr", &row.lv_attr))?;
    let seg = segs
        .get(row.lv_uuid.as_str())
        .ok_or_else(|| bad("segtype", ""))?;
    let thin_pool = if seg.segtype == "thin-pool" {
        Some(PoolFacts {
            chunk: Bytes(number("chunk_size", &name, &seg.chunk_size)?),
            zero: seg.zero == "zero",
            discards: seg.discards.clone(),
            error_when_full: row.lv_when_full == "error",
        })
    } else {
        None
    };
    let percent = |field, text: &str| match text {
        "" => Ok(None),
        text => Percent::parse(text)
            .map(Some)
            .ok_or_else(|| bad(field, text)),
    };
    let shown = Shown {
        attr,
        devno: row
            .lv_kernel_major
            .parse()
            .ok()
            .zip(row.lv_kernel_minor.parse().ok()),
        data: percent("data_percent", &row.data_percent)?,
        metadata: percent("metadata_percent", &row.metadata_percent)?,
    };
    Ok(Lv {
        hidden,
        path: row.lv_path,
        size: Bytes(number("lv_size", &name, &row.lv_size)?),
        origin_size: Bytes(number_or_zero("origin_size", &name, &row.origin_size)?),
        metadata_size: Bytes(number_or_zero(
            "lv_metadata_size",
            &name,
            &row.lv_metadata_size,
        )?),
        origin: row.origin.trim_matches(['[', ']']).to_owned(),
        pool: row.pool_lv.trim_matches(['[', ']']).to_owned(),
        tags: tags(&row.lv_tags),
        segtype: seg.segtype.clone(),
        transaction: number_or_zero("transaction_id", &name, &seg.transaction_id)?,
        thin_pool,
        mapping: None,
        shown: Some(shown),
        uuid: row.lv_uuid,
        attr,
        name,
    })
}

/// LVM joins tags with commas, and a tag may not contain one; no tag is an empty text.
fn tags(text: &str) -> Vec<String> {
    text.split(',')
        .filter(|tag| !tag.is_empty())
        .map(str::to_owned)
        .collect()
}

fn number(field: &'static str, object: &str, value: &str) -> Result<u64, ReportError> {
    value.parse().map_err(|_| ReportError::Field {
        field,
        object: object.to_owned(),
        value: value.to_owned(),
    })
}

fn number_or_zero(field: &'static str, object: &str, value: &str) -> Result<u64, ReportError> {
    if value.is_empty() {
        Ok(0)
    } else {
        number(field, object, value)
    }
}
