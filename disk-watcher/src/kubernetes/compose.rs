//! The configuration of a node out of its files and the cluster's objects. Pure.
//!
//! Files come first, then what is in force already, then what is new; nothing is ever merged.
//! An object that has the name or the group of one before it is refused, and of two new ones
//! that want the same both are. A version that is refused leaves the one before it in force.
//!
//! A class that is known from before only, or that left this node, is recalled: what it made is
//! cared for, and no disk is changed for it.

use std::collections::BTreeSet;
use std::time::Instant;

use super::written::{Kept, Kind, Written};
use crate::config::{Config, DiskClass, DiskLabels, Recalled, Standing};
use crate::journal::Held;
use crate::labels::Labels;
use crate::native::ObjectClaims;

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
    /// The labels of its NodeDisk objects.
    pub disk_labels: Option<DiskLabels>,
    /// The wipe requests for this node.
    pub wipes: Vec<Wipe>,
    /// What objects of other systems claim on it.
    pub owners: Option<ObjectClaims>,
}

impl Told {
    /// Whether it told all by which disks are taken and given back. Until then what was in
    /// force before may be out of date.
    pub fn is_complete(&self) -> bool {
        self.labels.is_some()
            && self.classes.is_some()
            && self.removals.is_some()
            && self.disk_labels.is_some()
    }
}

/// A wipe request.
#[derive(Debug, Clone, PartialEq)]
pub struct Wipe {
    /// As the watch told it last.
    pub object: Written,
    /// Until when the API server's word counts that it is still confirmed; `None`: it gave none.
    pub until: Option<Instant>,
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

/// Why an object is not used, or not as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A stable code: Invalid, Conflict or NotSelected.
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

/// Puts files and objects together. `kept`: what was in force before. `held`: the groups of the
/// journal; `None` while it cannot be read: then each may be held.
pub fn compose(file: &Config, told: &Told, kept: &Kept, held: Option<&Held>) -> Composed {
    let mut config = file.clone();
    config.unheard = !told.is_complete();
    let disk_labels = told.disk_labels.as_ref().unwrap_or(&kept.disk_labels);
    config.disk_labels.clone_from(disk_labels);
    let owners = told.owners.as_ref().or(kept.owners.as_ref()).cloned();
    config.owners = owners.clone().unwrap_or_else(ObjectClaims::unheard);
    if config.unheard {
        // What a label of before says may have been taken back.
        let classes = config.classes.iter_mut();
        for class in classes.filter(|class| class.select.disk_labels.is_some()) {
            class.recalled = Some(Recalled::Unheard);
        }
    }
    let mut composing = Composing {
        told,
        kept,
        held,
        composed: Composed {
            config,
            kept: Kept {
                disk_labels: disk_labels.clone(),
                owners,
                ..Kept::default()
            },
            verdicts: Vec::new(),
        },
    };
    composing.classes();
    composing.removals();
    composing.wipes();
    composing.composed
}

/// A class for this node that is to be judged.
struct Candidate<'a> {
    now: &'a Written,
    before: Option<&'a Written>,
    class: Result<DiskClass, String>,
}

struct Composing<'a> {
    told: &'a Told,
    kept: &'a Kept,
    held: Option<&'a Held>,
    composed: Composed,
}

impl Composing<'_> {
    fn classes(&mut self) {
        let (told, kept) = (self.told, self.kept);
        let (Some(objects), Some(labels)) = (&told.classes, &told.labels) else {
            return self.recall();
        };
        let mut candidates = Vec::new();
        for now in objects {
            let before = kept.classes.iter().find(|before| before.uid == now.uid);
            let class = match now.class() {
                Ok((selector, _)) if !selector.selects(labels) => {
                    self.left(now, before);
                    continue;
                }
                Ok((_, class)) => class,
                Err(why) => Err(why),
            };
            candidates.push(Candidate { now, before, class });
        }
        candidates.sort_by(|a, b| a.now.name.cmp(&b.now.name));
        let (old, new): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|c| c.before.is_some());
        let (same, changed): (Vec<_>, Vec<_>) =
            old.into_iter().partition(|c| c.before == Some(c.now));
        for candidate in same.iter().chain(&changed) {
            self.place(candidate);
        }
        // Who wants the group of another is no rival of who has a right to it.
        let mut all = self.busy();
        let rivals = new.iter().filter_map(|c| c.class.as_ref().ok());
        all.extend(rivals.filter(|class| self.taken(class).is_none()).cloned());
        let clashes = Config::clashes(&all);
        for candidate in &new {
            let refusal = match &candidate.class {
                Err(why) => Some(Refusal::invalid(why.clone())),
                Ok(class) => {
                    let clash = clashes.get(&class.name).cloned();
                    let clash = self.taken(class).or(clash);
                    if clash.is_none() {
                        self.accept(candidate.now, class.clone(), None);
                    }
                    clash.map(Refusal::conflict)
                }
            };
            self.say(Kind::Class, candidate.now, refusal);
        }
    }

    /// Until all is known those in force are recalled, without those that are gone for certain.
    /// Nobody is told: nobody asked.
    fn recall(&mut self) {
        let objects = self.told.classes.as_ref();
        for before in &self.kept.classes {
            let gone = objects.is_some_and(|all| !all.iter().any(|now| now.uid == before.uid));
            if let (false, Ok((_, Ok(class)))) = (gone, before.class())
                && self.clash(&class).is_none()
            {
                self.accept(before, class, None);
            }
        }
    }

    /// A class that does not select this node. Where it did and made a group, the care of that
    /// goes on within the bounds of then: labels get lost with no word about volumes.
    fn left(&mut self, now: &Written, before: Option<&Written>) {
        let Some(before) = before else { return };
        let Ok((_, Ok(class))) = before.class() else {
            return;
        };
        // A group that was adopted has no claims.
        let adopted = !class.existing.adopt_foreign_vg.is_empty();
        let made = (class.volume_group.name.clone(), class.name.clone());
        let made = self.held.is_none_or(|held| held.contains(&made));
        if !(made || adopted) || self.clash(&class).is_some() {
            return;
        }
        let why = Recalled::NotSelected;
        self.accept(before, class, Some(why));
        let refusal = Refusal {
            reason: why.reason(),
            message: why.to_string(),
        };
        self.say(Kind::Class, now, Some(refusal));
    }

    /// Places a class that is in force already, in its new version if that can be used.
    fn place(&mut self, candidate: &Candidate<'_>) {
        let refusal = match &candidate.class {
            Err(why) => Refusal::invalid(why.clone()),
            Ok(class) => match self.clash(class) {
                None => {
                    self.accept(candidate.now, class.clone(), None);
                    return self.say(Kind::Class, candidate.now, None);
                }
                Some(why) => Refusal::conflict(why),
            },
        };
        let before = candidate.before.filter(|before| *before != candidate.now);
        let class = before.and_then(|before| before.class().ok()?.1.ok());
        let refusal = match (before, class) {
            (Some(before), Some(class)) if self.clash(&class).is_none() => {
                self.accept(before, class, None);
                stays(refusal, before)
            }
            _ => refusal,
        };
        self.say(Kind::Class, candidate.now, Some(refusal));
    }

    /// Why a class cannot stand beside those that are placed.
    fn clash(&self, class: &DiskClass) -> Option<String> {
        let mut all = self.busy();
        all.push(class.clone());
        self.taken(class)
            .or_else(|| Config::clashes(&all).remove(&class.name))
    }

    /// The classes that are placed and do not give way.
    fn busy(&self) -> Vec<DiskClass> {
        let classes = self.composed.config.classes.iter();
        classes.filter(|class| !class.is_idle()).cloned().collect()
    }

    /// Why a class cannot have its group: disks were taken for it by another one.
    fn taken(&self, class: &DiskClass) -> Option<String> {
        let (name, group) = (&class.name, &class.volume_group.name);
        let held = self.held?;
        if held.contains(&(group.clone(), name.clone())) {
            return None;
        }
        let (_, other) = held.iter().find(|(g, c)| g == group && c != name)?;
        Some(format!(
            "spec.volumeGroup.name: {group} was made for class {other} on this node; write a class {other} to go on with it, or give {name} a group of its own"
        ))
    }

    fn accept(&mut self, object: &Written, class: DiskClass, recalled: Option<Recalled>) {
        let unheard = self.composed.config.unheard.then_some(Recalled::Unheard);
        self.composed.config.add(DiskClass {
            recalled: unheard.or(recalled),
            ..class
        });
        self.composed.kept.classes.push(object.clone());
    }

    fn removals(&mut self) {
        let (told, kept) = (self.told, self.kept);
        let taken: BTreeSet<String> = (self.composed.config.removals.iter())
            .map(|r| r.name.clone())
            .collect();
        for object in told.removals.as_ref().unwrap_or(&kept.removals) {
            if taken.contains(&object.name) {
                self.say(Kind::Removal, object, Some(in_file()));
                continue;
            }
            let before = kept.removals.iter().find(|r| r.uid == object.uid);
            let (used, refusal) = match (object.read(Kind::Removal), before) {
                (Ok(_), _) => (Some(object), None),
                (Err(why), Some(before)) => {
                    (Some(before), Some(stays(Refusal::invalid(why), before)))
                }
                (Err(why), None) => (None, Some(Refusal::invalid(why))),
            };
            if let Some((used, Ok(mut read))) = used.map(|used| (used, used.read(Kind::Removal))) {
                for removal in &mut read.removals {
                    removal.certain = told.is_complete();
                }
                self.composed.config.removals.extend(read.removals);
                self.composed.kept.removals.push(used.clone());
            }
            self.say(Kind::Removal, object, refusal);
        }
    }

    fn wipes(&mut self) {
        let taken: BTreeSet<String> = (self.composed.config.wipes.iter())
            .map(|r| r.name.clone())
            .collect();
        for Wipe { object, until } in &self.told.wipes {
            let refusal = match object.read(Kind::Wipe) {
                Err(why) => Some(Refusal::invalid(why)),
                Ok(_) if taken.contains(&object.name) => Some(in_file()),
                Ok(mut read) => {
                    for wipe in &mut read.wipes {
                        wipe.standing = Standing::Object {
                            uid: object.uid.clone(),
                            until: *until,
                        };
                    }
                    self.composed.config.wipes.extend(read.wipes);
                    None
                }
            };
            self.say(Kind::Wipe, object, refusal);
        }
    }

    fn say(&mut self, kind: Kind, object: &Written, refusal: Option<Refusal>) {
        self.composed.verdicts.push(Verdict {
            kind,
            name: object.name.clone(),
            generation: object.generation,
            refusal,
        });
    }
}

/// The refusal of a version while the one before it is used.
fn stays(refusal: Refusal, before: &Written) -> Refusal {
    let (message, version) = (refusal.message, before.generation);
    Refusal {
        message: format!("{message}; its version {version} stays in use"),
        ..refusal
    }
}

fn in_file() -> Refusal {
    Refusal::conflict(
        "metadata.name: a request in the files of the node has this name; give it another".into(),
    )
}

#[cfg(test)]
mod tests;
