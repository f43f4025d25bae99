//! The journal's folder, and whose it has to be.

use std::path::PathBuf;

use tracing::info;

use super::{Journal, JournalError, Kin, Machine, claims_in, owner_in};
use crate::config::Config;
use crate::node;

/// See the module.
#[derive(Debug, Clone)]
pub struct Home {
    /// The folder.
    pub dir: PathBuf,
    /// The name of the node.
    pub node: String,
    /// The code by which a person said that it is this machine's.
    pub accepted: Option<String>,
}

impl Home {
    /// Opens the journal and attaches the files that stand in for disks, so that what looks for
    /// groups afterwards finds them.
    ///
    /// # Errors
    /// Why no disk is acted on.
    pub fn open(&self) -> Result<Journal, String> {
        let open = || -> Result<Journal, JournalError> {
            let machine = Machine::here(&self.node);
            machine.check(&self.dir, self.accepted.as_deref())?;
            let journal = Journal::open(&self.dir)?;
            // What says nothing of its machine yet says it from now on; not while another has it, or it is damaged.
            machine.write_down(&self.dir)?;
            Ok(journal)
        };
        let mut journal = open().map_err(|error| node::chain(&error))?;
        info!(owner = %journal.owner(), claims = journal.claims().count(), "the journal is open");
        crate::files::keep_made(&mut journal);
        Ok(journal)
    }

    /// The value of our tag `basalt.owner`; `None` before the journal was made: nothing is ours
    /// then. The journal need not be in order.
    ///
    /// # Errors
    /// When the id cannot be read.
    pub fn owner(&self) -> Result<Option<String>, JournalError> {
        owner_in(&self.dir)
    }

    /// Whether a disk of this class is to leave its group, for all that journal and requests say, or whether that
    /// cannot be told. The journal need not be open, since pools are cared for without it.
    pub fn may_lose_a_disk(&self, class: &str, config: &Config) -> bool {
        let Ok(claims) = claims_in(&self.dir) else {
            return true;
        };
        config.unheard
            || claims.values().filter(|c| c.class == class).any(|claim| {
                let mut all = config.removals.iter();
                claim.leaving.is_some()
                    || all.any(|r| r.names(&self.node, &claim.disk, &claim.pv_uuid))
            })
    }

    /// Why groups with our tag may be another machine's. What is in use here is cared for
    /// nevertheless; nothing is activated.
    pub fn doubt(&self) -> Option<String> {
        match Machine::here(&self.node).kin_of(&self.dir) {
            Ok(Kin::Same | Kin::Renamed) => None,
            Ok(Kin::Other) => {
                Some("the journal was made on another machine, or that cannot be told".to_owned())
            }
            Err(error) => Some(node::chain(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DiskRemovalRequest, RequireZeroed, Target};
    use crate::facts::DiskId;
    use crate::journal::{Claim, Leaving, Stage};
    use lvmd::units::Bytes;

    #[test]
    fn a_journal_that_cannot_be_had_stays_whose_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let home = |node: &str| Home {
            dir: dir.path().to_owned(),
            node: node.into(),
            accepted: Some(Machine::here(node).code()),
        };
        let open = home("n1").open().unwrap();
        let machine = || std::fs::read_to_string(dir.path().join("machine.json")).unwrap();
        let before = machine();
        assert!(home("n2").open().unwrap_err().contains("in use"));
        assert_eq!(machine(), before);
        drop(open);
        home("n2").open().unwrap();
        assert_ne!(machine(), before, "a person said so");
    }

    #[test]
    fn a_group_may_lose_a_disk_while_a_request_stands_or_one_is_leaving_or_nobody_can_tell() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home {
            dir: dir.path().to_owned(),
            node: "n1".into(),
            accepted: None,
        };
        let quiet = Config::default();
        assert!(home.may_lose_a_disk("fast", &quiet), "no journal to ask");
        let mut journal = Journal::open(dir.path()).unwrap();
        let disk = DiskId::from("naa.1".to_owned());
        let claim = Claim {
            pv_uuid: journal.pv_uuid(&disk, "fast"),
            disk,
            class: "fast".into(),
            volume_group: "fast".into(),
            vg_uuid: Some("vg".into()),
            size: Bytes(1 << 30),
            zeroes: RequireZeroed::Full,
            fingerprint: "f".into(),
            stage: Stage::Ready,
            leaving: None,
        };
        journal.record(claim.clone()).unwrap();
        assert!(!home.may_lose_a_disk("fast", &quiet));
        let asked = |node: &str, target| Config {
            removals: vec![DiskRemovalRequest {
                name: "out".into(),
                node: node.into(),
                target,
                lost: false,
                certain: false,
            }],
            ..Config::default()
        };
        let by_pv = || Target::Pv(claim.pv_uuid.clone());
        assert!(home.may_lose_a_disk("fast", &asked("n1", by_pv())));
        assert!(home.may_lose_a_disk("fast", &asked("n1", Target::Disk(claim.disk.clone()))));
        for config in [
            asked("n2", by_pv()),
            asked("n1", Target::Pv("another".into())),
        ] {
            assert!(!home.may_lose_a_disk("fast", &config));
        }
        assert!(!home.may_lose_a_disk("slow", &asked("n1", by_pv())));
        let unheard = Config {
            unheard: true,
            ..Config::default()
        };
        assert!(home.may_lose_a_disk("slow", &unheard));
        let leaving = Claim {
            leaving: Some(Leaving::Draining(3)),
            ..claim
        };
        journal.record(leaving).unwrap();
        assert!(
            home.may_lose_a_disk("fast", &quiet),
            "the request is gone, the pvmove not yet"
        );
        assert!(!home.may_lose_a_disk("slow", &quiet));
        std::fs::write(dir.path().join("claims/x.json"), "{").unwrap();
        assert!(home.may_lose_a_disk("slow", &quiet), "damaged");
    }
}
