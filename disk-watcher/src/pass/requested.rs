//! Which disk a DiskRemovalRequest keeps from being taken.

use tracing::warn;

use super::Watcher;
use super::found::id_of;
use crate::config::Config;
use crate::content::Reading;
use crate::facts::{DiskFacts, DiskId};
use crate::journal::Journal;
use crate::node;

impl<R> Watcher<R> {
    /// The name of the DiskRemovalRequest that names this disk.
    pub(super) fn removal_of<'a>(
        &self,
        config: &'a Config,
        facts: &DiskFacts,
        reading: Option<&Reading>,
    ) -> Option<&'a str> {
        let label = reading.and_then(|reading| reading.label.as_ref());
        let label = label.map(|label| label.pv_uuid.as_str());
        let journal = self.journal.as_ref()?;
        named(config, journal, &self.node_name, &id_of(facts)?, label)
    }

    /// Forgets which PVs disks had that left, once no request names them.
    pub(super) fn forget_left(&mut self, config: &Config) {
        // A request that is not known now may be known again later.
        if config.unheard || config.why_held().is_some() {
            return;
        }
        let Some(journal) = &mut self.journal else {
            return;
        };
        let node_name = &self.node_name;
        let is_asked = |uuid: &str, disk: &DiskId| {
            let mut all = config.removals.iter();
            all.any(|request| request.names(node_name, disk, uuid))
        };
        if let Err(error) = journal.keep_left(is_asked) {
            warn!(error = %node::chain(&error), "disks that left are not forgotten");
        }
    }
}

/// The request that names a disk, by its id or by the UUID of a PV that it has, had, or would get.
fn named<'a>(
    config: &'a Config,
    journal: &Journal,
    node_name: &str,
    id: &DiskId,
    label: Option<&str>,
) -> Option<&'a str> {
    let classes = config.classes.iter();
    let assigned = classes.map(|class| journal.pv_uuid(id, &class.name));
    let known = label.into_iter().chain(journal.pvs_of(id));
    let uuids: Vec<String> = known.map(str::to_owned).chain(assigned).collect();
    let request = config.removals.iter().find(|request| {
        let mut uuids = uuids.iter();
        uuids.any(|uuid| request.names(node_name, id, uuid))
    })?;
    Some(&request.name)
}

#[cfg(test)]
mod tests {
    use lvmd::units::Bytes;

    use super::*;
    use crate::config::RequireZeroed;
    use crate::journal::{Claim, Stage};

    #[test]
    fn a_disk_that_left_by_the_uuid_of_its_pv_is_not_taken_by_another_class() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        let disk = DiskId::from("naa.1".to_owned());
        let uuid = journal.pv_uuid(&disk, "gone");
        let claim = Claim {
            pv_uuid: uuid.clone(),
            disk: disk.clone(),
            class: "gone".into(),
            volume_group: "gone".into(),
            vg_uuid: None,
            size: Bytes(1 << 30),
            zeroes: RequireZeroed::Full,
            fingerprint: "f".into(),
            stage: Stage::Ready,
            leaving: None,
        };
        journal.record(claim).unwrap();
        let text = format!(
            "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {{name: other}}\nspec:\n  select: {{model: [x]}}\n  \
             volumeGroup: {{name: other}}\n---\napiVersion: basalt.storage/v1alpha1\nkind: DiskRemovalRequest\nmetadata: \
             {{name: out}}\nspec: {{node: n1, pvUUID: {uuid}, lost: true}}\n"
        );
        let config = Config::load(&text).unwrap();
        let out = |journal: &Journal| named(&config, journal, "n1", &disk, None).map(str::to_owned);
        assert_eq!(out(&journal).as_deref(), Some("out"), "while it is claimed");
        journal.let_go(&uuid).unwrap();
        assert_eq!(
            out(&journal).as_deref(),
            Some("out"),
            "and when it has left"
        );
        let another = DiskId::from("naa.2".to_owned());
        assert_eq!(named(&config, &journal, "n1", &another, None), None);
    }
}
