//! Whose journal it is. A machine that was cloned with its journal has the id that the groups of
//! the first one carry, and would take that one's disks for its own. So the journal says on which
//! machine it was made: systemd's machine-id, which Talos keeps with its STATE partition over
//! reboots and upgrades, and the name of the node, since a clone may have kept its machine-id.
//! Both are kept as digests.
//!
//! Where nobody says how the node is called it has the host's name. When it is given a name later, and machine-id and
//! host's name are what they were, nothing was renamed: the journal is that of this machine.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{JournalError, read_json, write_json};

const FILE: &str = "machine.json";

/// A machine, as the journal knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Machine {
    /// Of its machine-id; `None`: it has none, or the host is not seen.
    id: Option<String>,
    /// Of the name of the node.
    node: String,
    /// Of the host's name now, which the node has where nobody says another; `None`: not known.
    #[serde(skip)]
    host: Option<String>,
}

/// How a journal stands to this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kin {
    /// It was made here.
    Same,
    /// It was made on this machine under another name, or on a clone that kept its machine-id.
    Renamed,
    /// It was made on another machine, or that cannot be told.
    Other,
}

impl Machine {
    /// This machine. `id` is the text of its machine-id.
    pub fn new(id: Option<&str>, node: &str) -> Self {
        let is_id = |id: &&str| {
            id.len() == 32
                && id.bytes().all(|b| b.is_ascii_hexdigit())
                && id.bytes().any(|b| b != b'0')
        };
        Self {
            id: id.map(str::trim).filter(is_id).map(|id| digest("id", id)),
            node: digest("node", node),
            host: None,
        }
    }

    /// The same, where the host's name is known.
    fn called(self, host: Option<&str>) -> Self {
        Self {
            host: host.map(|host| digest("node", host)),
            ..self
        }
    }

    /// The machine we run on, seen through PID 1: a container has files of its own.
    pub fn here(node: &str) -> Self {
        let text = match crate::node::host_proof() {
            crate::facts::HostProof::Proven(_) => lasting_id(Path::new("/proc/1/root")),
            _ => None,
        };
        let host = nix::unistd::gethostname().ok();
        Self::new(text.as_deref(), node).called(host.as_deref().and_then(|host| host.to_str()))
    }

    /// What a person hands back to say that a journal belongs to this machine. It says so of no
    /// other one.
    pub fn code(&self) -> String {
        let both = format!("{} {}", self.id.as_deref().unwrap_or("-"), self.node);
        digest("code", &both)[..16].to_owned()
    }

    fn kin(&self, made: &Self) -> Kin {
        match (self.id == made.id, self.node == made.node) {
            (true, true) => Kin::Same,
            // It had the host's name, which is the same still, because it was given none.
            (true, false) if self.id.is_some() && self.host.as_ref() == Some(&made.node) => {
                Kin::Same
            }
            (true, false) if self.id.is_some() => Kin::Renamed,
            // It has got a machine-id since.
            (false, true) if made.id.is_none() => Kin::Same,
            _ => Kin::Other,
        }
    }

    /// How the journal in `dir` stands to this machine. One that says nothing, as those of
    /// earlier versions, was made here.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn kin_of(&self, dir: &Path) -> Result<Kin, JournalError> {
        let made: Option<Self> = read_json(&dir.join(FILE))?;
        Ok(made.map_or(Kin::Same, |made| self.kin(&made)))
    }

    /// Checks that the journal in `dir` is that of this machine, and changes nothing. `accepted` is the code that a
    /// person handed back.
    ///
    /// # Errors
    /// When it is not, or that cannot be told.
    pub fn check(&self, dir: &Path, accepted: Option<&str>) -> Result<(), JournalError> {
        let made: Option<Self> = read_json(&dir.join(FILE))?;
        let is_ours = made.as_ref().is_none_or(|made| self.kin(made) == Kin::Same);
        if !is_ours && accepted != Some(self.code().as_str()) {
            return Err(JournalError::OtherMachine {
                path: dir.to_owned(),
                code: self.code(),
            });
        }
        Ok(())
    }

    /// Writes down that the journal in `dir` is that of this machine, once [`Self::check`] said so and nobody else has it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_down(&self, dir: &Path) -> Result<(), JournalError> {
        let path = dir.join(FILE);
        let made: Option<Self> = read_json(&path)?;
        if made.is_some_and(|made| (made.id, made.node) == (self.id.clone(), self.node.clone())) {
            return Ok(());
        }
        write_json(&path, self)
    }
}

/// The text of the machine-id, unless it is made anew at each boot: where /etc cannot be written
/// systemd puts one that it made in /run over it (machine-id(5), First Boot Semantics).
fn lasting_id(root: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let file = |path: &str| {
        let file = std::fs::metadata(root.join(path)).ok()?;
        Some((file.dev(), file.ino()))
    };
    let path = "etc/machine-id";
    if file(path).is_some() && file(path) == file("run/machine-id") {
        return None;
    }
    std::fs::read_to_string(root.join(path)).ok()
}

fn digest(what: &str, text: &str) -> String {
    let digest = Sha256::digest(format!("basalt {what} 1 {text}"));
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef0123456789abcdef\n";
    const TWO: &str = "fedcba9876543210fedcba9876543210\n";

    /// As a journal is opened.
    fn taken(machine: &Machine, dir: &Path, accepted: Option<&str>) -> Result<(), JournalError> {
        machine.check(dir, accepted)?;
        machine.write_down(dir)
    }

    #[test]
    fn an_id_that_each_boot_makes_anew_is_none() {
        let root = tempfile::tempdir().unwrap();
        let path = |path: &str| root.path().join(path);
        for dir in ["etc", "run"] {
            std::fs::create_dir(path(dir)).unwrap();
        }
        std::fs::write(path("etc/machine-id"), ONE).unwrap();
        assert_eq!(lasting_id(root.path()).as_deref(), Some(ONE));
        std::fs::write(path("run/machine-id"), ONE).unwrap();
        assert_eq!(lasting_id(root.path()).as_deref(), Some(ONE));
        std::fs::remove_file(path("etc/machine-id")).unwrap();
        std::fs::hard_link(path("run/machine-id"), path("etc/machine-id")).unwrap();
        assert_eq!(lasting_id(root.path()), None);
    }

    #[test]
    fn a_journal_stays_on_its_machine_until_a_person_says_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let here = Machine::new(Some(ONE), "n1");
        assert_eq!(
            here.kin_of(dir.path()).unwrap(),
            Kin::Same,
            "it says nothing"
        );
        taken(&here, dir.path(), None).unwrap();
        taken(&here, dir.path(), None).unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(!text.contains(ONE.trim()), "only its digest: {text}");
        for (other, kin) in [
            (Machine::new(Some(TWO), "n1"), Kin::Other),
            (Machine::new(Some(TWO), "n2"), Kin::Other),
            (Machine::new(Some(ONE), "n2"), Kin::Renamed),
            (Machine::new(None, "n1"), Kin::Other),
        ] {
            assert_eq!(other.kin_of(dir.path()).unwrap(), kin, "{other:?}");
            let error = taken(&other, dir.path(), Some(&here.code())).unwrap_err();
            assert!(error.to_string().contains(&other.code()), "{error}");
            assert_eq!(
                here.kin_of(dir.path()).unwrap(),
                Kin::Same,
                "nothing changed"
            );
        }
        let other = Machine::new(Some(TWO), "n2");
        taken(&other, dir.path(), Some(&other.code())).unwrap();
        taken(&other, dir.path(), None).unwrap();
        assert!(taken(&here, dir.path(), None).is_err());
    }

    #[test]
    fn a_name_that_is_given_later_renames_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let guessed = Machine::new(Some(ONE), "host").called(Some("host"));
        taken(&guessed, dir.path(), None).unwrap();
        let given = |id, host| Machine::new(id, "n1").called(Some(host));
        for (other, kin) in [
            (given(Some(ONE), "clone"), Kin::Renamed),
            (given(Some(TWO), "host"), Kin::Other),
            (given(None, "host"), Kin::Other),
        ] {
            assert_eq!(other.kin_of(dir.path()).unwrap(), kin, "{other:?}");
            assert!(taken(&other, dir.path(), None).is_err());
        }
        let given = given(Some(ONE), "host");
        taken(&given, dir.path(), None).unwrap();
        taken(&given, dir.path(), None).unwrap();
        // Which name a host has says nothing of a journal that was made under a given one.
        assert_eq!(guessed.kin_of(dir.path()).unwrap(), Kin::Renamed);
    }

    #[test]
    fn a_machine_without_a_machine_id_is_told_by_its_name_and_may_get_one() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "uninitialized\n", "00000000000000000000000000000000\n"] {
            let none = Machine::new(Some(text), "n1");
            assert_eq!(none, Machine::new(None, "n1"), "{text:?}");
            taken(&none, dir.path(), None).unwrap();
        }
        let other = Machine::new(None, "n2");
        assert_eq!(other.kin_of(dir.path()).unwrap(), Kin::Other);
        let here = Machine::new(Some(ONE), "n1");
        taken(&here, dir.path(), None).unwrap();
        assert_eq!(
            Machine::new(None, "n1").kin_of(dir.path()).unwrap(),
            Kin::Other
        );
    }

    #[test]
    fn what_is_damaged_is_no_proof() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        let here = Machine::new(Some(ONE), "n1");
        assert!(here.kin_of(dir.path()).is_err());
        assert!(taken(&here, dir.path(), Some(&here.code())).is_err());
    }
}
