//! The rules of `spec.approved`.

use super::Check;
use crate::config::raw;
use crate::config::{Approval, FINGERPRINT_PREFIX};
use crate::facts::DiskId;

impl Check<'_> {
    pub(super) fn approved(&mut self, raw: Vec<raw::Approval>) -> Vec<Approval> {
        let mut approved = Vec::with_capacity(raw.len());
        for raw::Approval {
            node,
            disk_id,
            fingerprint,
        } in raw
        {
            let digest = fingerprint
                .strip_prefix(FINGERPRINT_PREFIX)
                .unwrap_or(&fingerprint);
            let is_digest = digest.len() == 64
                && digest
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if node.is_empty() || disk_id.is_empty() || !is_digest {
                self.fault(
                    "spec.approved",
                    format!(
                        "{{node: {node}, diskId: {disk_id}, fingerprint: {fingerprint}}} is no approval; \
                         copy the line that disk-watcher status prints for the disk"
                    ),
                );
                continue;
            }
            approved.push(Approval {
                node,
                disk_id: DiskId::from(disk_id),
                fingerprint: digest.to_owned(),
            });
        }
        approved
    }
}
