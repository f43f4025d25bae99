//! The configuration of a node out of its files and the cluster's objects. Pure.
//!
//! Files come first, then what is in force already, then what is new; nothing is ever merged.
//! An object that has the name or the group of one before it is refused, and of two new ones
//! that want the same both are. A version that is refused leaves the one before it in force.

use std::collections::BTreeSet;

use super::node_selector::Labels;
use super::written::{Kept, Kind, Written};
use crate::config::{Config, DiskClass};

/// What the API server told. `None`: nothing yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// The uid of the Node.
    pub node_uid: Option<String>,
    /// Its labels.
    pub labels: Option<Labels>,
    /// All classes.
    pub classes: Option<Vec<Written>>,
    /// The removal requests for this node.
    pub removals: Option<Vec<Written>>,
    /// The wipe requests for this node; without their confirmation where the API server has
    /// not just told it.
    pub wipes: Vec<Written>,
}

/// What became of an object on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its version.
    pub generation: i64,
    /// Why it is not used.
    pub refusal: Option<Refusal>,
}

/// Why an object is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A stable code: Invalid or Conflict.
    pub reason: &'static str,
    /// The field, the rule, the way out.
    pub message: String,
}

impl Refusal {
    fn invalid(message: String) -> Self {
        Self {
            reason: "Invalid",
            message,
        }
    }

    fn conflict(message: String) -> Self {
        Self {
            reason: "Conflict",
            message,
        }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Composed {
    /// What the node does.
    pub config: Config,
    /// Which objects are in force.
    pub kept: Kept,
    /// What became of each object that is for this node.
    pub verdicts: Vec<Verdict>,
}

/// Puts files and objects together. `kept`: what was in force before.
pub fn compose(file: &Config, told: &Told, kept: &Kept) -> Composed {
    let mut composed = Composed {
        config: file.clone(),
        kept: Kept::default(),
        verdicts: Vec::new(),
    };
    composed.classes(told, kept);
    composed.removals(told, kept);
    composed.wipes(told);
    composed
}

/// A class for this node that is to be judged.
struct Candidate<'a> {
    now: &'a Written,
    before: Option<&'a Written>,
    class: Result<DiskClass, String>,
}

impl Composed {
    fn classes(&mut self, told: &Told, kept: &Kept) {
        let (Some(objects), Some(labels)) = (&told.classes, &told.labels) else {
            // Until all is known those in force stay, without those that are gone for certain.
            let gone = |uid: &str| match &told.classes {
                Some(objects) => !objects.iter().any(|object| object.uid == uid),
                None => false,
            };
            for before in kept.classes.iter().filter(|class| !gone(&class.uid)) {
                let candidate = Candidate {
                    now: before,
                    before: Some(before),
                    class: before.class().and_then(|(_, class)| class),
                };
                self.place(&candidate);
            }
            return;
        };
        let mut candidates = Vec::new();
        for now in objects {
            let class = match now.class() {
                Ok((selector, _)) if !selector.selects(labels) => continue,
                Ok((_, class)) => class,
                Err(why) => Err(why),
            };
            let before = kept.classes.iter().find(|before| before.uid == now.uid);
            candidates.push(Candidate { now, before, class });
        }
        candidates.sort_by(|a, b| a.now.name.cmp(&b.now.name));
        let (old, new): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|c| c.before.is_some());
        let (same, changed): (Vec<_>, Vec<_>) =
            old.into_iter().partition(|c| c.before == Some(c.now));
        for candidate in same.iter().chain(&changed) {
            self.place(candidate);
        }
        let classes: Vec<&DiskClass> = new.iter().filter_map(|c| c.class.as_ref().ok()).collect();
        let mut all = self.busy();
        all.extend(classes.iter().map(|class| (*class).clone()));
        let clashes = Config::clashes(&all);
        for candidate in &new {
            let clash = candidate.class.as_ref().ok();
            let clash = clash.and_then(|class| clashes.get(&class.name));
            let refusal = match (&candidate.class, clash) {
                (Ok(_), Some(why)) => Some(Refusal::conflict(why.clone())),
                (Ok(class), None) => {
                    self.accept(candidate.now, class.clone());
                    None
                }
                (Err(why), _) => Some(Refusal::invalid(why.clone())),
            };
            self.say(Kind::Class, candidate.now, refusal);
        }
    }

    /// Places a class that is in force already, in its new version if that can be used.
    fn place(&mut self, candidate: &Candidate<'_>) {
        let refusal = match &candidate.class {
            Err(why) => Refusal::invalid(why.clone()),
            Ok(class) => match self.clash(class) {
                None => {
                    self.accept(candidate.now, class.clone());
                    return self.say(Kind::Class, candidate.now, None);
                }
                Some(why) => Refusal::conflict(why),
            },
        };
        let before = candidate.before.filter(|before| *before != candidate.now);
        let class = before.and_then(|before| before.class().ok()?.1.ok());
        let message = match (before, class) {
            (Some(before), Some(class)) if self.clash(&class).is_none() => {
                self.accept(before, class);
                format!(
                    "{}; its version {} stays in use",
                    refusal.message, before.generation
                )
            }
            _ => refusal.message,
        };
        let refusal = Refusal { message, ..refusal };
        self.say(Kind::Class, candidate.now, Some(refusal));
    }

    /// Why a class cannot stand beside those that are placed.
    fn clash(&self, class: &DiskClass) -> Option<String> {
        let mut all = self.busy();
        all.push(class.clone());
        Config::clashes(&all).remove(&class.name)
    }

    /// The classes that are placed and do not give way.
    fn busy(&self) -> Vec<DiskClass> {
        let classes = self.config.classes.iter();
        classes.filter(|class| !class.is_idle()).cloned().collect()
    }

    fn accept(&mut self, object: &Written, class: DiskClass) {
        self.config.add(class);
        self.kept.classes.push(object.clone());
    }

    fn removals(&mut self, told: &Told, kept: &Kept) {
        let taken: BTreeSet<String> = self
            .config
            .removals
            .iter()
            .map(|r| r.name.clone())
            .collect();
        for object in told.removals.as_ref().unwrap_or(&kept.removals) {
            let refusal = match object.read(Kind::Removal) {
                Err(why) => Some(Refusal::invalid(why)),
                Ok(_) if taken.contains(&object.name) => Some(in_file()),
                Ok(read) => {
                    self.config.removals.extend(read.removals);
                    self.kept.removals.push(object.clone());
                    None
                }
            };
            self.say(Kind::Removal, object, refusal);
        }
    }

    fn wipes(&mut self, told: &Told) {
        let taken: BTreeSet<String> = self.config.wipes.iter().map(|r| r.name.clone()).collect();
        for object in &told.wipes {
            let refusal = match object.read(Kind::Wipe) {
                Err(why) => Some(Refusal::invalid(why)),
                Ok(_) if taken.contains(&object.name) => Some(in_file()),
                Ok(read) => {
                    self.config.wipes.extend(read.wipes);
                    None
                }
            };
            self.say(Kind::Wipe, object, refusal);
        }
    }

    fn say(&mut self, kind: Kind, object: &Written, refusal: Option<Refusal>) {
        self.verdicts.push(Verdict {
            kind,
            name: object.name.clone(),
            generation: object.generation,
            refusal,
        });
    }
}

fn in_file() -> Refusal {
    Refusal::conflict(
        "metadata.name: a request in the files of the node has this name; give it another".into(),
    )
}

#[cfg(test)]
mod tests;
