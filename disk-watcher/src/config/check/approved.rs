//! The rules of `spec.approved` and `spec.existing`.

use super::Check;
use crate::config::{Approval, Existing, raw, vg_uuid};
use crate::facts::DiskId;

impl Check<'_> {
    pub(super) fn approved(&mut self, raw: Vec<raw::Approval>) -> Vec<Approval> {
        let mut approved = Vec::with_capacity(raw.len());
        for raw in raw {
            match Approval::new(&raw.node, DiskId::from(raw.disk_id), &raw.fingerprint) {
                Ok(approval) => approved.push(approval),
                Err(why) => self.fault("spec.approved", why),
            }
        }
        approved
    }

    pub(super) fn existing(&mut self, raw: raw::Existing) -> Existing {
        for uuid in &raw.adopt_foreign_vg {
            self.rule("spec.existing.adoptForeignVG", vg_uuid(uuid));
        }
        Existing {
            adopt_foreign_vg: raw.adopt_foreign_vg,
        }
    }
}
